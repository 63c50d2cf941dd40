import { rmSync, statSync } from 'node:fs';
import { loadBinding } from '../../addon.ts';
import { type ErrorRecord, WarpgaugeError } from '../../errors.ts';
import { bootId, type StateOptions, stateFolder } from '../../host/state-folder.ts';
import {
  corruptJournal,
  isClosed,
  type JournalContents,
  listJournals,
  ownerAlive,
  pruneJournals,
  readJournal,
} from './journal.ts';
import type { ActionKind, StepRecord } from './kind.ts';
import { kindByName } from './kinds.ts';
import { acquireDevice, DeviceLock } from './lock.ts';
import { changes, readRecords, undoneOf } from './records.ts';
import { type Blocked, type UndoOptions, undoJournal } from './undo.ts';

/** What one journal stands for. */
export type TransactionState =
  /** Its process runs and holds the change. */
  | 'held'
  /** The change is meant to stay until `release`. */
  | 'committed'
  /** Its process is gone without undoing, or gave it up and its locks with it: work for `recover`. */
  | 'abandoned'
  /** Its time is over and nobody has undone it: work for `recover`. */
  | 'expired'
  /** The machine was started anew, and the change is gone with that boot. */
  | 'other-boot'
  /** Its process lives, or lived, in another pid namespace: it cannot be judged from here. */
  | 'foreign'
  /** It was cut before its first line was whole: nothing had been changed. */
  | 'empty'
  | 'corrupt';

/** One journal that is not closed. */
export interface TransactionReport {
  readonly id: string | null;
  readonly path: string;
  readonly action: string | null;
  readonly state: TransactionState;
  readonly pid: number | null;
  readonly command: string | null;
  /** ISO 8601. */
  readonly started: string | null;
  /** Process that undoes it when its owner dies or its time is over; null: nobody but `recover`. */
  readonly guardian: number | null;
  /** All steps of the journal. */
  readonly records: readonly StepRecord[];
  /** Those that changed something of which not all was taken back by its own undoing. */
  readonly outstanding: readonly StepRecord[];
}

/** What recover or release did about one journal. */
export interface SettledTransaction extends TransactionReport {
  readonly outcome: 'untouched' | 'undone' | 'partly-undone' | 'void' | 'failed';
  readonly undone: readonly StepRecord[];
  readonly blocked: readonly Blocked[];
  readonly error: ErrorRecord | null;
}

export interface SettleOptions extends StateOptions {
  /** Kind of changes; default: all. */
  readonly action?: string;
  /** In place of the registered kinds. */
  readonly kind?: ActionKind;
  readonly onStep?: UndoOptions['onStep'];
  readonly patienceMs?: number | undefined;
}

/** All journals that are not closed, oldest first. */
export function listTransactions(options: SettleOptions = {}): TransactionReport[] {
  return openJournals(options).map((contents) => reportOf(contents, options.root));
}

function openJournals(options: SettleOptions): JournalContents[] {
  return listJournals(stateFolder(options), options.kind?.name ?? options.action)
    .map(readJournal)
    .filter((contents) => !isClosed(contents));
}

function reportOf(contents: JournalContents, root?: string): TransactionReport {
  const { header, path, entries } = contents;
  const { records } = readRecords(contents);
  const lease = entries.findLast((entry) => entry.type === 'lease');
  return {
    id: header?.id ?? null,
    path,
    action: header?.action ?? null,
    state: stateOf(contents, root),
    pid: header?.pid ?? null,
    command: header?.argv.join(' ') ?? null,
    started: header?.started ?? null,
    guardian: lease?.guardian ?? null,
    records,
    outstanding: changes(records).filter(({ step }) => undoneOf(records, step).length === 0),
  };
}

const uptimeMs = (): number => Number(loadBinding().readClockAnchor().boottimeNs) / 1e6;

function expiryOf({ entries }: JournalContents): number | null {
  return entries.findLast((entry) => entry.type === 'lease')?.expires ?? null;
}

function stateOf(contents: JournalContents, root?: string): TransactionState {
  const { header } = contents;
  if (contents.corrupt !== null) return 'corrupt';
  if (header === null) return 'empty';
  if (header.bootId !== bootId(root)) return 'other-boot';
  const expires = expiryOf(contents);
  const over = expires !== null && uptimeMs() >= expires;
  if (isCommitted(contents)) return over ? 'expired' : 'committed';
  const alive = ownerAlive(header);
  if (alive === null) return over ? 'expired' : 'foreign';
  if (alive) return over ? 'expired' : 'held';
  return 'abandoned';
}

function isCommitted({ entries }: JournalContents): boolean {
  return entries.some((entry) => entry.type === 'commit');
}

type Mode = 'recover' | 'release';

/** What `recover` and `release` act upon. */
const ACTS_ON: Readonly<Record<Mode, ReadonlySet<TransactionState>>> = {
  recover: new Set<TransactionState>(['abandoned', 'expired', 'other-boot', 'empty']),
  release: new Set<TransactionState>(['committed', 'expired']),
};

/**
 * Undoes what dead processes left (`recover`), or what was left on purpose (`release`): the newest first, each under the
 * locks of its devices. A device that is locked is reported (`ERR_LOCKED`), the others are settled. A second call does
 * nothing.
 */
export async function settle(
  mode: Mode,
  options: SettleOptions = {},
): Promise<SettledTransaction[]> {
  const settled: SettledTransaction[] = [];
  const journals = openJournals(options).reverse();
  for (const [index, contents] of journals.entries()) {
    const before = reportOf(contents, options.root);
    const older = journals.slice(index + 1);
    settled.push(await settleOne(before, contents, { mode, older, heldDevices: [] }, options));
  }
  prune(options);
  return settled;
}

/**
 * {@link settle} for a caller that holds the locks of `devices`: what dead processes left on these, and on others beside
 * them where nobody holds their locks.
 */
export async function recoverUnder(
  devices: readonly string[],
  kind: ActionKind,
  options: UndoOptions,
): Promise<SettledTransaction[]> {
  const { stateDir, patienceMs } = options;
  const settling: SettleOptions = {
    kind,
    stateDir,
    patienceMs,
    ...(options.root === undefined ? {} : { root: options.root }),
    ...(options.onStep === undefined ? {} : { onStep: options.onStep }),
  };
  const settled: SettledTransaction[] = [];
  for (const contents of openJournals(settling).reverse()) {
    const concerned = contents.header?.locks.some((device) => devices.includes(device)) ?? true;
    if (!concerned) continue;
    const before = reportOf(contents, options.root);
    const how = { mode: 'recover', older: [], heldDevices: devices } as const;
    settled.push(await settleOne(before, contents, how, settling));
  }
  prune(settling);
  return settled;
}

interface Settling {
  readonly mode: Mode;
  /** Journals before this one, which are settled after it. */
  readonly older: readonly JournalContents[];
  /** Devices whose locks the caller holds. */
  readonly heldDevices: readonly string[];
}

async function settleOne(
  found: TransactionReport,
  contents: JournalContents,
  { mode, older, heldDevices }: Settling,
  options: SettleOptions,
): Promise<SettledTransaction> {
  const before = isGivenUp(found, contents, heldDevices, options)
    ? ({ ...found, state: 'abandoned' } as const)
    : found;
  const nothing = { ...before, undone: [], blocked: [], error: null };
  if (before.state === 'corrupt') {
    return { ...nothing, outcome: 'failed', error: corruptJournal(contents).toJSON() };
  }
  if (!ACTS_ON[mode].has(before.state) && !isInTheWay(before, contents, older, options.root)) {
    return { ...nothing, outcome: 'untouched' };
  }
  const locks: DeviceLock[] = [];
  try {
    const { header } = contents;
    if (header === null) {
      rmSync(contents.path, { force: true });
      return { ...nothing, outcome: 'void' };
    }
    for (const device of header.locks) {
      if (heldDevices.includes(device)) continue;
      // Begins as the intent of the change did: whoever let go of the device for it does so for its undoing.
      const intent = `${header.action}: ${mode} of ${header.id}`;
      try {
        locks.push(await acquireDevice(device, intent, { root: options.root }));
      } catch (error) {
        // An owner that is stopped when its time is over keeps others away with its lock, and the lock of the journal
        // keeps it away itself, should it wake up.
        if (before.state !== 'expired' || !isHeldBy(error, header.pid)) throw error;
      }
    }
    const kind =
      options.kind ??
      (await kindByName(header.action, {
        root: options.root,
        patienceMs: options.patienceMs,
      }));
    const { undone, blocked, records } = await undoJournal(
      contents.path,
      kind,
      before.state === 'other-boot' ? 'void: the machine was started anew' : mode,
      {
        stateDir: stateFolder(options),
        root: options.root,
        onStep: options.onStep,
        patienceMs: options.patienceMs,
      },
    );
    const isVoid = before.state === 'other-boot' && undone.length === 0 && blocked.length === 0;
    const outcome = isVoid ? 'void' : blocked.length === 0 ? 'undone' : 'partly-undone';
    return { ...before, records, outcome, undone, blocked, error: null };
  } catch (error) {
    if (!(error instanceof WarpgaugeError)) throw error;
    return { ...nothing, outcome: 'failed', error: error.toJSON() };
  } finally {
    for (const lock of locks) lock.release();
  }
}

/**
 * Whether a change that its living process seems to hold is nobody's: after an undoing that failed the process goes on
 * without the locks. Told only as root, whose locks lie in one place for all processes.
 */
function isGivenUp(
  { state, pid }: TransactionReport,
  { header, path }: JournalContents,
  heldDevices: readonly string[],
  { root }: SettleOptions,
): boolean {
  if (state !== 'held' || header === null || process.getuid?.() !== 0) return false;
  if (ownerOf(`/proc/${pid}`) !== 0) return false;
  const isFree = header.locks.every((device) => {
    if (heldDevices.includes(device)) return true;
    try {
      DeviceLock.acquire(device, `look: ${header.id}`, { root }).release();
      return true;
    } catch {
      return false;
    }
  });
  if (!isFree || header.locks.length === 0) return false;
  // It may have ended or committed the change between our reading and the locks.
  const now = readJournal(path);
  return !isClosed(now) && stateOf(now, root) === 'held';
}

/** Whether `release` has to take this back first: it is younger than what is to be released, on the same device. */
function isInTheWay(
  { state }: TransactionReport,
  { header }: JournalContents,
  older: readonly JournalContents[],
  root: string | undefined,
): boolean {
  if (state !== 'abandoned') return false;
  return older.some(
    (one) =>
      ACTS_ON.release.has(stateOf(one, root)) &&
      one.header?.locks.some((device) => header?.locks.includes(device)),
  );
}

function ownerOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.uid ?? null;
}

function isHeldBy(error: unknown, pid: number): boolean {
  return error instanceof WarpgaugeError && error.holders?.[0]?.pid === pid;
}

/** Old journals go, so that a machine that runs us daily does not fill up. */
function prune(options: SettleOptions): void {
  const action = options.kind?.name ?? options.action;
  pruneJournals(listJournals(stateFolder(options), action).map(readJournal));
}
