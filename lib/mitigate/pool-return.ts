import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorRecord, WarpgaugeError } from '../errors.ts';
import { hostPath } from '../host/sysfs.ts';
import { formatBytes } from '../units.ts';
import {
  bootId,
  corruptJournal,
  isClosed,
  Journal,
  type JournalContents,
  type JournalIntent,
  listJournals,
  ownerAlive,
  pruneJournals,
  readJournal,
  type StepHook,
  stateFolder,
} from './journal.ts';
import { MachineLock } from './lock.ts';
import { echoCommand, permissionDenied } from './pool-plan.ts';
import { type Pool, parsePoolFile, persistentPages, readPool } from './pool-status.ts';

/** Pages added to or taken from one pool. */
export interface PoolChange {
  readonly pageBytes: number;
  readonly node: number | null;
  readonly pages: number;
}

/** `512 x 2 MiB pages on node 0`. */
export function describeChange(change: PoolChange): string {
  const node = change.node === null ? '' : ` on node ${change.node}`;
  return `${change.pages} x ${formatBytes(change.pageBytes)} pages${node}`;
}

/** What giving back achieved. */
export interface ReturnReport {
  readonly returned: readonly PoolChange[];
  /** Pages that are still in use; recover or a second release takes them later. */
  readonly remaining: readonly PoolChange[];
  /** Pages of ours that somebody else had already taken out of the pool. */
  readonly gone: readonly PoolChange[];
}

/** What one journal stands for. */
export type JournalState =
  /** Its process runs and holds the pages. */
  | 'held'
  /** Its pages are meant to stay until `pools.release`. */
  | 'committed'
  /** Its process is gone without giving back: work for `pools.recover`. */
  | 'abandoned'
  /** The machine was started anew: its pages are gone with that boot. */
  | 'other-boot'
  /** Its process lives, or lived, in another pid namespace: it cannot be judged from here. */
  | 'foreign'
  /** It was cut before its first line was whole: nothing had been changed. */
  | 'empty'
  | 'corrupt';

/** One journal that is not closed, and its growth as far as the journal knows. */
export interface JournalReport {
  readonly id: string | null;
  readonly path: string;
  readonly state: JournalState;
  readonly pid: number | null;
  readonly command: string | null;
  /** ISO 8601. */
  readonly started: string | null;
  readonly outstanding: readonly PoolChange[];
}

/** What recover or release did about one journal. */
export interface SettledJournal extends JournalReport, ReturnReport {
  readonly outcome: 'untouched' | 'returned' | 'partly-returned' | 'void' | 'failed';
  readonly error: ErrorRecord | null;
}

export interface SettleReport {
  /** Where the journals were looked for. */
  readonly stateDir: string;
  readonly journals: readonly SettledJournal[];
  /** Nothing that had to be given back is left. */
  readonly complete: boolean;
}

export interface StateOptions {
  /** Folder that stands for `/`. Default: `WARPGAUGE_ROOT`, else `/`. */
  readonly root?: string;
  /** Default: `WARPGAUGE_STATE_DIR`, else /var/lib/warpgauge as root, else ~/.local/state/warpgauge. */
  readonly stateDir?: string;
}

/** Seams for tests of crashes and of kernels that this machine is not. */
export interface PoolInternals {
  readonly onStep?: StepHook;
  /** In place of writing a file of the machine. */
  readonly write?: (path: string, text: string) => Promise<void>;
  /** How long pages in use are waited for. */
  readonly patienceMs?: number;
}

/**
 * Pages that io_uring had pinned come back 16-34 ms after their process ended (kernel 6.18); a large
 * process takes longer to die.
 */
const PATIENCE_MS = 2000;
const POLL_MS = 10;

/** Writes a pool's size on a thread of the pool: making pages may take seconds. */
export async function writePool(
  file: string,
  pages: number,
  options: { readonly root?: string | undefined; readonly internals: PoolInternals },
): Promise<void> {
  const { internals, root } = options;
  internals.onStep?.('pool:before-write');
  try {
    if (internals.write) await internals.write(file, `${pages}`);
    else await writeFile(hostPath(file, root), `${pages}`);
  } catch (error) {
    const { code, errno, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      throw permissionDenied(file, echoCommand(file, pages), error);
    }
    throw new WarpgaugeError('ERR_SYSCALL', `Writing ${pages} to ${file} failed: ${message}`, {
      source: file,
      cause: error,
      ...(errno === undefined ? {} : { status: -errno }),
    });
  }
  internals.onStep?.('pool:after-write');
}

/** The pool behind an nr_hugepages file and what that file means now. */
export function readTarget(
  file: string,
  root?: string,
): { readonly pool: Pool; readonly node: number | null; readonly persistent: number } {
  const parsed = parsePoolFile(file);
  const pool = parsed === null ? null : readPool(parsed.pageBytes, root);
  const persistent = pool === null ? null : persistentPages(pool, parsed?.node ?? null);
  if (parsed === null || pool === null || persistent === null) {
    throw new WarpgaugeError('ERR_SYSCALL', `The pool ${file} cannot be read`, { source: file });
  }
  return { pool, node: parsed.node, persistent };
}

/** Operations in the journal: pages that we added, gave back, and found taken by others. */
export const GROW = 'pool.grow';
const SHRINK = 'pool.shrink';
const GONE = 'pool.gone';

const clamp = (value: number, most: number): number => Math.max(0, Math.min(value, most));

/**
 * Gives back what a journal says its owner added, and journals that. The caller holds the lock.
 *
 * New size = present size - our growth. Never an older absolute value: others may have changed the
 * pool since. Never below the pages in use: the kernel would turn those into surplus pages.
 */
export async function settleJournal(
  path: string,
  reason: string,
  options: {
    readonly root?: string | undefined;
    readonly internals?: PoolInternals | undefined;
  } = {},
): Promise<ReturnReport> {
  const { root, internals = {} } = options;
  const contents = readJournal(path);
  if (contents.corrupt !== null || contents.header === null) throw corruptJournal(contents);
  const returned: PoolChange[] = [];
  const remaining: PoolChange[] = [];
  const gone: PoolChange[] = [];
  if (isClosed(contents)) return { returned, remaining, gone };
  const journal = Journal.reopen(contents, internals.onStep);
  try {
    const { added: balanceByFile, unknown, nextStep } = balance(contents);
    // Killed between intent and done: the write happened whole or not at all, and holding the lock
    // nobody else of us has written since. What the pool gained over the value read before the write,
    // at most what was asked, is ours.
    for (const intent of unknown) {
      const change = readTarget(intent.target, root).persistent - (intent.prior as number);
      const observed = clamp(intent.op === GROW ? change : -change, intent.asked as number);
      journal.append({ type: 'done', step: intent.step, observed, decidedBy: 'reading' });
      addUp(balanceByFile, intent, observed);
    }
    let step = nextStep;
    for (const [file, added] of balanceByFile) {
      const { pageBytes, node } = parsePoolFile(file) as { pageBytes: number; node: number | null };
      const note = (list: PoolChange[], pages: number): void => {
        if (pages > 0) list.push({ pageBytes, node, pages });
      };
      // A pool smaller than our growth lost the rest of it to somebody else. That must be written
      // down: pages that appear there later are not ours.
      const { persistent } = readTarget(file, root);
      const lost = Math.max(0, added - persistent);
      if (lost > 0) {
        journal.append({
          type: 'intent',
          step,
          op: GONE,
          target: file,
          prior: persistent,
          asked: lost,
        });
        journal.append({ type: 'done', step: step++, observed: lost });
      }
      const ours = Math.max(0, added - lost);
      const pages = await waitUntilFree(file, ours, { root, internals });
      const given =
        pages === 0 ? 0 : await shrinkPool(journal, step++, file, pages, { root, internals });
      note(gone, lost);
      note(returned, given);
      note(remaining, ours - given);
    }
    if (remaining.length === 0) journal.append({ type: 'rolledback', reason });
  } finally {
    journal.close();
  }
  return { returned, remaining, gone };
}

/** What a journal adds up to by file, and the intents of which it does not know the end. */
function balance(contents: JournalContents): {
  readonly added: Map<string, number>;
  readonly unknown: readonly JournalIntent[];
  readonly nextStep: number;
} {
  const open = new Map<number, JournalIntent>();
  const added = new Map<string, number>();
  let nextStep = 0;
  for (const entry of contents.entries) {
    if (entry.type === 'intent') {
      open.set(entry.step, entry);
      nextStep = Math.max(nextStep, entry.step + 1);
    } else if (entry.type === 'done') {
      const intent = open.get(entry.step);
      if (intent === undefined) continue;
      open.delete(entry.step);
      addUp(added, intent, entry.observed as number);
    }
  }
  return { added, unknown: [...open.values()], nextStep };
}

function addUp(added: Map<string, number>, { op, target }: JournalIntent, pages: number): void {
  added.set(target, (added.get(target) ?? 0) + (op === GROW ? pages : -pages));
}

/** Waits until `wanted` pages can be taken from a pool, with patience; resolves to how many can. */
async function waitUntilFree(
  file: string,
  wanted: number,
  { root, internals }: { readonly root: string | undefined; readonly internals: PoolInternals },
): Promise<number> {
  const deadline = performance.now() + (internals.patienceMs ?? PATIENCE_MS);
  for (;;) {
    const { pool, node, persistent } = readTarget(file, root);
    const own = pool.nodes.find((each) => each.node === node);
    // Pages that may be in use beyond the persistent ones are surplus already; taking a persistent
    // page then would only make one more.
    const spare = clamp(pool.free - pool.reserved - pool.surplus, own?.free ?? pool.free);
    const takeable = clamp(spare, Math.min(persistent, wanted));
    if (takeable === wanted || performance.now() >= deadline) return takeable;
    await sleep(POLL_MS);
  }
}

async function shrinkPool(
  journal: Journal,
  step: number,
  file: string,
  pages: number,
  options: { readonly root: string | undefined; readonly internals: PoolInternals },
): Promise<number> {
  // Read right before the write: the shorter this window, the less of another's change can be lost.
  const prior = readTarget(file, options.root).persistent;
  const asked = clamp(pages, prior);
  journal.append({ type: 'intent', step, op: SHRINK, target: file, prior, asked });
  await writePool(file, prior - asked, options);
  const observed = clamp(prior - readTarget(file, options.root).persistent, asked);
  journal.append({ type: 'done', step, observed });
  return observed;
}

/** All journals of pools that are not closed, with what they stand for. */
export function listReservations(options: StateOptions = {}): JournalReport[] {
  return openJournals(options).map((contents) => report(contents, options.root));
}

function openJournals(options: StateOptions): JournalContents[] {
  return listJournals(stateFolder(options), 'pools')
    .map(readJournal)
    .filter((contents) => !isClosed(contents));
}

function report(contents: JournalContents, root?: string): JournalReport {
  const { header, path } = contents;
  const outstanding: PoolChange[] = [];
  for (const [file, pages] of balance(contents).added) {
    const parsed = parsePoolFile(file);
    if (parsed !== null && pages > 0) outstanding.push({ ...parsed, pages });
  }
  return {
    id: header?.id ?? null,
    path,
    state: journalState(contents, root),
    pid: header?.pid ?? null,
    command: header?.argv.join(' ') ?? null,
    started: header?.started ?? null,
    outstanding,
  };
}

function journalState(contents: JournalContents, root?: string): JournalState {
  const { header } = contents;
  if (contents.corrupt !== null) return 'corrupt';
  if (header === null) return 'empty';
  if (header.bootId !== bootId(root)) return 'other-boot';
  if (contents.entries.some((entry) => entry.type === 'commit')) return 'committed';
  const alive = ownerAlive(header);
  if (alive === null) return 'foreign';
  return alive ? 'held' : 'abandoned';
}

/** A return that had nothing to give. */
export const NOTHING: ReturnReport = Object.freeze({ returned: [], remaining: [], gone: [] });

/** What `pools.recover` and `pools.release` act upon. */
const ACTS_ON = {
  recover: new Set<JournalState>(['abandoned', 'other-boot', 'empty']),
  release: new Set<JournalState>(['committed']),
} as const;

/** Gives back what dead processes left (`recover`), or what `reserve` left on purpose (`release`). */
export async function settleJournals(
  mode: 'recover' | 'release',
  options: StateOptions = {},
  internals: PoolInternals = {},
): Promise<SettleReport> {
  const isWork = (contents: JournalContents): boolean =>
    ACTS_ON[mode].has(journalState(contents, options.root));
  // Without work there is nothing to lock for: recover on a quiet machine never disturbs a run.
  if (!openJournals(options).some(isWork)) return settleAll(mode, options, internals);
  await using _lock = await MachineLock.acquire('page pools', options);
  return await settleAll(mode, options, internals);
}

/** {@link settleJournals} for a caller that already holds the lock. */
export async function settleAll(
  mode: 'recover' | 'release',
  options: StateOptions,
  internals: PoolInternals,
): Promise<SettleReport> {
  const journals: SettledJournal[] = [];
  // The newest first: that walks the changes back in the order in which they were made.
  for (const contents of openJournals(options).reverse()) {
    const before = report(contents, options.root);
    journals.push(
      ACTS_ON[mode].has(before.state)
        ? await settleOne(before, contents, mode, options, internals)
        : {
            ...before,
            outcome: before.state === 'corrupt' ? 'failed' : 'untouched',
            ...NOTHING,
            error: before.state === 'corrupt' ? corruptJournal(contents).toJSON() : null,
          },
    );
  }
  pruneJournals(listJournals(stateFolder(options), 'pools').map(readJournal));
  const complete = journals.every(
    ({ outcome }) => !['partly-returned', 'failed'].includes(outcome),
  );
  return { stateDir: stateFolder(options), journals, complete };
}

async function settleOne(
  before: JournalReport,
  contents: JournalContents,
  mode: 'recover' | 'release',
  options: StateOptions,
  internals: PoolInternals,
): Promise<SettledJournal> {
  const nothing = { ...NOTHING, error: null };
  try {
    if (before.state === 'empty') {
      rmSync(contents.path, { force: true });
      return { ...before, outcome: 'void', ...nothing };
    }
    if (before.state === 'other-boot') {
      const journal = Journal.reopen(contents, internals.onStep);
      journal.append({ type: 'rolledback', reason: 'void: the machine was started anew' });
      journal.close();
      return { ...before, outcome: 'void', ...nothing };
    }
    const given = await settleJournal(contents.path, mode, { root: options.root, internals });
    const outcome = given.remaining.length === 0 ? 'returned' : 'partly-returned';
    return { ...before, outcome, ...given, error: null };
  } catch (error) {
    if (!(error instanceof WarpgaugeError)) throw error;
    return { ...before, ...nothing, outcome: 'failed', error: error.toJSON() };
  }
}
