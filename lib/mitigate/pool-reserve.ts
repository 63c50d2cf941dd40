import { WarpgaugeError } from '../errors.ts';
import { formatBytes, GiB, MiB } from '../units.ts';
import { Journal, readJournal, stateFolder } from './journal.ts';
import { MachineLock } from './lock.ts';
import { type PlanOptions, type PlanStep, planReserve } from './pool-plan.ts';
import {
  describeChange,
  GROW,
  NOTHING,
  type PoolChange,
  type PoolInternals,
  type ReturnReport,
  readTarget,
  type StateOptions,
  settleAll,
  settleJournal,
  writePool,
} from './pool-return.ts';
import type { Pool } from './pool-status.ts';

export interface ReserveOptions extends PlanOptions, StateOptions {
  /**
   * Touch each new page once. Default true: in a virtual machine the first touch of a 1 GiB page
   * that was just reserved takes seconds, later ones 34-60 ms.
   */
  readonly touch?: boolean;
  /** Stops between two steps; what was added is given back and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal;
}

/** Pages that were added to the pools, until {@link Reservation.release}. */
export class Reservation implements AsyncDisposable {
  /** Name of the journal, or null when the pools held enough already and nothing was changed. */
  readonly id: string | null;
  /** What was added. */
  readonly grown: readonly PoolChange[];
  /** What else happened that a person wants to know, one sentence each. */
  readonly notes: readonly string[];
  readonly #path: string | null;
  readonly #lock: MachineLock;
  readonly #root: string | undefined;
  readonly #internals: PoolInternals;
  #state: 'held' | 'committed' | 'returned' = 'held';
  #releasing: Promise<ReturnReport> | undefined;

  /** Made by {@link reservePages}. */
  constructor(made: {
    readonly journal: Journal | null;
    readonly grown: readonly PoolChange[];
    readonly notes: readonly string[];
    readonly lock: MachineLock;
    readonly root: string | undefined;
    readonly internals: PoolInternals;
  }) {
    this.id = made.journal?.header.id ?? null;
    this.#path = made.journal?.path ?? null;
    this.grown = made.grown;
    this.notes = made.notes;
    this.#lock = made.lock;
    this.#root = made.root;
    this.#internals = made.internals;
  }

  /**
   * Gives back exactly what was added: the present size of each pool less our growth, so that what
   * others changed meanwhile stays. Pages in use are waited for up to 2 s, then left and reported as
   * `remaining`; a later call tries again. Idempotent.
   */
  release(): Promise<ReturnReport> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<ReturnReport> {
    if (this.#state === 'committed') {
      throw new WarpgaugeError('ERR_CLOSED', 'This reservation was committed', {
        fix: 'warpgauge pages release',
      });
    }
    try {
      const report =
        this.#path === null
          ? NOTHING
          : await settleJournal(this.#path, 'released', {
              root: this.#root,
              internals: this.#internals,
            });
      if (report.remaining.length > 0) {
        this.#releasing = undefined;
        return report;
      }
      this.#state = 'returned';
      await this.#lock.release();
      return report;
    } catch (error) {
      this.#releasing = undefined;
      throw error;
    }
  }

  /** Leaves the pages in the pools, beyond this process, until `pools.release()`. */
  async commit(): Promise<void> {
    if (this.#state !== 'held') {
      throw new WarpgaugeError('ERR_CLOSED', `This reservation was ${this.#state}`);
    }
    this.#state = 'committed';
    if (this.#path !== null) {
      const journal = Journal.reopen(readJournal(this.#path), this.#internals.onStep);
      journal.append({ type: 'commit' });
      journal.close();
    }
    await this.#lock.release();
  }

  /** {@link release}, unless committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state !== 'committed') await this.release();
  }
}

/**
 * Grows the pools by just what is missing and holds the machine's lock for page pools until the
 * reservation is released or committed: pages that one caller asked for are free until it maps them,
 * and a second caller would count them as its own.
 */
export async function reservePages(
  options: ReserveOptions,
  internals: PoolInternals = {},
): Promise<Reservation> {
  // Who may not write at all learns that first, whoever holds the lock.
  const first = planReserve(options);
  if (first.refusal?.code === 'ERR_PERMISSION') throw first.refusal;
  const lock = await MachineLock.acquire('page pools', options);
  let journal: Journal | null = null;
  try {
    // What a killed run left must go first: its pages look free, and an intent of which the end is
    // unknown can be decided only while nobody has written since.
    const notes = await recoverFirst(options, internals);
    const plan = planReserve(options);
    if (plan.refusal !== null) throw plan.refusal;
    const grown: PoolChange[] = [];
    const made: { readonly step: PlanStep; readonly before: Pool }[] = [];
    if (plan.growthBytes > 0) {
      journal = Journal.create({
        stateDir: stateFolder(options),
        action: 'pools',
        root: options.root,
        onStep: internals.onStep,
      });
      for (const [index, step] of plan.steps.entries()) {
        if (step.growth === 0) continue;
        throwIfAborted(options.signal);
        const before = readTarget(step.file, options.root).pool;
        await growPool(journal, index, step, options, internals);
        grown.push({ pageBytes: step.pageBytes, node: step.node, pages: step.growth });
        made.push({ step, before });
      }
      journal.close();
    }
    for (const { step, before } of made) {
      throwIfAborted(options.signal);
      if (options.touch ?? true) await touchNewPages(step, before, options.root, internals);
    }
    throwIfAborted(options.signal);
    return new Reservation({ journal, grown, notes, lock, root: options.root, internals });
  } catch (error) {
    if (journal !== null) await giveBackAfter(error, journal, options, internals);
    await lock.release();
    throw error;
  }
}

async function recoverFirst(options: ReserveOptions, internals: PoolInternals): Promise<string[]> {
  // No patience here: pages that a dead run's children still use stay recorded for later.
  const report = await settleAll('recover', options, { ...internals, patienceMs: 0 });
  return report.journals.flatMap((journal) => {
    const pages = journal.returned.map(describeChange).join(', ');
    if (pages !== '') return [`Gave back ${pages} that pid ${journal.pid} had left`];
    return journal.error === null ? [] : [`${journal.error.message}. ${journal.error.fix ?? ''}`];
  });
}

async function growPool(
  journal: Journal,
  index: number,
  step: PlanStep,
  options: ReserveOptions,
  internals: PoolInternals,
): Promise<void> {
  const { root } = options;
  const { file, growth } = step;
  const prior = readTarget(file, root).persistent;
  journal.append({
    type: 'intent',
    step: index,
    op: GROW,
    target: file,
    prior,
    asked: growth,
  });
  const gained = (): number =>
    Math.max(0, Math.min(readTarget(file, root).persistent - prior, growth));
  // The write succeeds also when the kernel found fewer pages: only reading back tells.
  await writePool(file, prior + growth, { root, internals });
  let observed = gained();
  if (observed < growth) {
    await compactMemory(root, internals);
    await writePool(file, prior + growth, { root, internals });
    observed = gained();
  }
  journal.append({ type: 'done', step: index, observed });
  if (observed < growth) {
    throw new WarpgaugeError(
      'ERR_NO_MEMORY',
      `The kernel made ${observed} of ${growth} more ${formatBytes(step.pageBytes)} pages (${step.available} were available, ${step.count} are needed), also after compaction`,
      {
        source: file,
        fix:
          step.pageBytes >= GiB
            ? `Reserve them at boot: kernel arguments hugepagesz=${step.pageBytes / GiB}G hugepages=${step.to}`
            : `End programs that use memory, then: ${step.command}`,
      },
    );
  }
}

/** Moves used pages together once, so that free memory becomes contiguous. Fails silently: it only helps. */
async function compactMemory(root: string | undefined, internals: PoolInternals): Promise<void> {
  try {
    await writePool('/proc/sys/vm/compact_memory', 1, { root, internals });
  } catch {
    // Not root, or a kernel without compaction: the second write then finds what the first one did.
  }
}

/** Page kinds that `mitigate.allocate` knows. */
const KIND_OF: ReadonlyMap<number, '2m' | '1g'> = new Map([
  [2 * MiB, '2m'],
  [GiB, '1g'],
]);

/**
 * Touches the pages that are new on each node. The kernel hands out the page that was freed (or made)
 * last first, so a mapping of exactly so many pages gets exactly these.
 */
async function touchNewPages(
  step: PlanStep,
  before: Pool,
  root: string | undefined,
  internals: PoolInternals,
): Promise<void> {
  const pages = KIND_OF.get(step.pageBytes);
  if (pages === undefined) return;
  internals.onStep?.('pool:before-touch');
  const { allocate } = await import('./allocate.ts');
  const { pool } = readTarget(step.file, root);
  const gains = pool.nodes.map(({ node, total }) => ({
    node,
    count: total - (before.nodes.find((each) => each.node === node)?.total ?? 0),
  }));
  const places: readonly { readonly node?: number; readonly count: number }[] =
    gains.length === 0 ? [{ count: step.growth }] : gains;
  for (const { node, count } of places) {
    if (count <= 0) continue;
    const numaNode = node === undefined ? {} : { numaNode: node };
    const region = await allocate({ bytes: count * step.pageBytes, pages, ...numaNode });
    internals.onStep?.('pool:touched');
    await region[Symbol.asyncDispose]();
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new WarpgaugeError('ERR_INTERRUPTED', 'Reserving pages was interrupted', {
    cause: signal.reason,
  });
}

/** After a failure: gives back what was added. What cannot be given back is added to the error's text. */
async function giveBackAfter(
  error: unknown,
  journal: Journal,
  options: ReserveOptions,
  internals: PoolInternals,
): Promise<void> {
  journal.close();
  let left: string;
  try {
    const { remaining } = await settleJournal(journal.path, 'failed', {
      root: options.root,
      internals,
    });
    left = remaining.map(describeChange).join(', ');
  } catch (second) {
    left = `what was added (${(second as Error).message})`;
  }
  if (left !== '' && error instanceof Error) {
    error.message += `; left behind: ${left}: run warpgauge pages recover`;
  }
}
