import { constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { WarpgaugeError } from '../errors.ts';
import { hostPath, readText } from '../host/sysfs.ts';
import { formatBytes, GiB } from '../units.ts';
import { describeChange, type PoolChange } from './pool-change.ts';
import { echoCommand, permissionDenied } from './pool-plan.ts';
import { type Pool, parsePoolFile, persistentPages, poolFile, readPool } from './pool-status.ts';
import type { JournalValue, StepHook } from './transaction/journal.ts';
import type { ActionKind, Operation, Step, StepRecord } from './transaction/kind.ts';

/** Seams for tests of crashes and of kernels that this machine is not. */
export interface PoolInternals {
  readonly onStep?: StepHook;
  /** In place of writing a file of the machine. */
  readonly write?: (path: string, text: string) => Promise<void>;
  /** How long pages in use are waited for. */
  readonly patienceMs?: number;
}

export interface PoolsKindOptions extends PoolInternals {
  readonly root?: string | undefined;
  /** How often memory is compacted and the write repeated when the kernel found too few pages. Default 1. */
  readonly compactions?: number | undefined;
}

/** Operations on a pool's file: pages that we added, gave back, and found taken by others. */
export const GROW = 'pool.grow';
export const SHRINK = 'pool.shrink';
export const GONE = 'pool.gone';
/** On the `demote` file of a larger pool: pages that were split into smaller ones. */
export const DEMOTE = 'pool.demote';

const POLL_MS = 10;

const clamp = (value: number, most: number): number => Math.max(0, Math.min(value, most));

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

/** The change of a pool that a step makes or made; `pages` null: as many as the step asked for. */
export function changeOf(step: Step, pages: JournalValue = step.asked): PoolChange {
  const parsed = parsePoolFile(step.target) as { pageBytes: number; node: number | null };
  return { ...parsed, pages: pages as number };
}

/** How the pools of huge pages are changed: in numbers of pages added to or taken from what is there, never to a size. */
export function poolsKind(options: PoolsKindOptions = {}): ActionKind {
  const { root } = options;
  const read = (file: string): number => readTarget(file, root).persistent;
  /** Pages by which a pool moved, at most what was asked; null: none. */
  const moved = (step: Step, by: number): number | null => clamp(by, step.asked as number) || null;
  const grow: Operation = {
    describe: (step) => `add ${describeChange(changeOf(step))}`,
    read,
    async set(step, prior) {
      const wanted = (prior as number) + (step.asked as number);
      // The write succeeds also when the kernel found fewer pages: only reading back tells.
      await writePool(step.target, wanted, options);
      for (let left = options.compactions ?? 1; left > 0 && read(step.target) < wanted; left--) {
        await compactMemory(options);
        await writePool(step.target, wanted, options);
      }
    },
    effect: (step, prior, now) => moved(step, (now as number) - (prior as number)),
    verify(step, prior, effect) {
      const gained = (effect ?? 0) as number;
      return gained === step.asked ? null : tooFew(step, prior as number, gained);
    },
    async undo(record, undone, patience) {
      const file = record.target;
      const ours = outstandingPages(record, undone);
      if (ours === 0) return null;
      // A pool smaller than our growth lost the rest of it to somebody else. That must be written down: pages that
      // appear there later are not ours.
      const lost = ours - read(file);
      if (lost > 0) return { op: GONE, target: file, asked: lost };
      const pages = await waitUntilFree(file, ours, patience.deadline, root);
      if (pages > 0) return { op: SHRINK, target: file, asked: pages };
      return {
        blocked: new WarpgaugeError(
          'ERR_IN_USE',
          `${describeChange(changeOf(record, ours))} are still in use`,
          { source: file, fix: 'End the programs that use them, then: warpgauge pages recover' },
        ),
      };
    },
  };
  const shrink: Operation = {
    describe: (step) => `give back ${describeChange(changeOf(step))}`,
    read,
    async set(step, prior) {
      await writePool(
        step.target,
        Math.max(0, (prior as number) - (step.asked as number)),
        options,
      );
    },
    effect: (step, prior, now) => moved(step, (prior as number) - (now as number)),
    verify: (step, _prior, effect) =>
      effect === step.asked
        ? null
        : new WarpgaugeError(
            'ERR_IN_USE',
            `The kernel took back ${effect ?? 0} of ${describeChange(changeOf(step))}`,
            { source: step.target },
          ),
    undo: () => null, // only ever undoes a growth
  };
  const demote: Operation = {
    describe: (step) => `split ${describeChange(changeOf(step))}`,
    read,
    set: (step) => writePool(step.target, step.asked as number, options),
    effect: (step, prior, now) => moved(step, (prior as number) - (now as number)),
    verify: (step, _prior, effect) =>
      effect === step.asked
        ? null
        : new WarpgaugeError(
            'ERR_REFUSED',
            `The kernel split ${effect ?? 0} of ${describeChange(changeOf(step))}`,
            { source: step.target },
          ),
    async undo(record, undone, patience) {
      // First the small pages go, then a large one is made of the memory.
      const { small, large, ratio } = splitOf(record, root);
      const movedBack = (file: string): number =>
        undone.reduce(
          (sum, { target, observed }) => sum + (target === file ? (observed as number) : 0),
          0,
        );
      const pages = record.observed as number;
      const left = { ...record, target: small, observed: pages * ratio };
      const first = await grow.undo(
        left,
        undone.filter(({ target }) => target === small),
        patience,
      );
      if (first !== null) return first;
      const missing = pages - movedBack(large);
      return missing > 0 ? { op: GROW, target: large, asked: missing } : null;
    },
  };
  const gone: Operation = {
    describe: (step) => `note as taken by others ${describeChange(changeOf(step))}`,
    read,
    set() {},
    effect: (step) => step.asked,
    verify: () => null,
    undo: () => null,
  };
  return {
    name: 'pools',
    command: 'pages',
    operations: { [GROW]: grow, [SHRINK]: shrink, [GONE]: gone, [DEMOTE]: demote },
  };
}

/** The pools that a splitting takes from and gives to, and how many small pages a large one makes. */
export function splitOf(
  step: Step,
  root?: string,
): { readonly small: string; readonly large: string; readonly ratio: number } {
  const { pageBytes, node } = changeOf(step);
  const size = readText(step.target.replace(/demote$/, 'demote_size'), root);
  const smallBytes = Number(/^(\d+)kB$/.exec(size ?? '')?.[1]) * 1024;
  if (!(smallBytes > 0)) {
    throw new WarpgaugeError('ERR_SYSCALL', `What ${step.target} splits into cannot be read`, {
      source: step.target,
    });
  }
  return {
    small: poolFile(smallBytes, node ?? undefined),
    large: poolFile(pageBytes, node ?? undefined),
    ratio: pageBytes / smallBytes,
  };
}

/** Pages of a growth that are neither given back nor gone. */
export function outstandingPages(record: StepRecord, undone: readonly StepRecord[]): number {
  const back = undone.reduce((sum, { observed }) => sum + (observed as number), 0);
  return Math.max(0, (record.observed as number) - back);
}

function tooFew(step: Step, prior: number, gained: number): WarpgaugeError {
  const { pageBytes } = changeOf(step);
  const wanted = prior + (step.asked as number);
  return new WarpgaugeError(
    'ERR_NO_MEMORY',
    `The kernel made ${gained} of ${step.asked} more ${formatBytes(pageBytes)} pages, also after compaction`,
    {
      source: step.target,
      fix:
        pageBytes >= GiB
          ? `Reserve them at boot: kernel arguments hugepagesz=${pageBytes / GiB}G hugepages=${wanted}`
          : `End programs that use memory, then: ${echoCommand(step.target, wanted)}`,
    },
  );
}

/** Writes a pool's size on a thread of the pool: making pages may take seconds. */
async function writePool(file: string, pages: number, options: PoolsKindOptions): Promise<void> {
  options.onStep?.('pool:before-write');
  try {
    if (options.write) await options.write(file, `${pages}`);
    // As echo writes it, into a file that exists: none is ever made.
    else await writeFile(hostPath(file, options.root), `${pages}\n`, { flag: constants.O_WRONLY });
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
  options.onStep?.('pool:after-write');
}

/** Moves used pages together once, so that free memory becomes contiguous. Fails silently: it only helps. */
async function compactMemory(options: PoolsKindOptions): Promise<void> {
  try {
    await writePool('/proc/sys/vm/compact_memory', 1, options);
  } catch {
    // Not root, or a kernel without compaction: the next write then finds what the one before did.
  }
}

/** Waits until `wanted` pages can be taken from a pool, with patience; resolves to how many can. */
async function waitUntilFree(
  file: string,
  wanted: number,
  deadline: number,
  root: string | undefined,
): Promise<number> {
  for (;;) {
    const { pool, node, persistent } = readTarget(file, root);
    const own = pool.nodes.find((each) => each.node === node);
    // Pages that may be in use beyond the persistent ones are surplus already; taking a persistent page then would
    // only make one more.
    const spare = clamp(pool.free - pool.reserved - pool.surplus, own?.free ?? pool.free);
    const takeable = clamp(spare, Math.min(persistent, wanted));
    if (takeable === wanted || performance.now() >= deadline) return takeable;
    await sleep(POLL_MS);
  }
}
