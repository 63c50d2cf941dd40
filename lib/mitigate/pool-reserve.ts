import type { StateOptions } from '../host/state-folder.ts';
import { GiB, MiB } from '../units.ts';
import type { PoolChange } from './pool-change.ts';
import {
  changeOf,
  DEMOTE,
  GROW,
  type PoolInternals,
  poolsKind,
  readTarget,
} from './pool-operations.ts';
import { type PlanOptions, type PlanStep, planReserve } from './pool-plan.ts';
import { type ReturnReport, returnReport } from './pool-return.ts';
import type { Pool } from './pool-status.ts';
import { begin, throwIfAborted } from './transaction/begin.ts';
import type { GuardianReport, Lease } from './transaction/guardian.ts';
import type { StepRecord } from './transaction/kind.ts';
import type { Transaction } from './transaction/transaction.ts';

export interface ReserveOptions extends PlanOptions, StateOptions, Lease {
  /**
   * Touch each new page once. Default true: in a virtual machine the first touch of a 1 GiB page
   * that was just reserved takes seconds, later ones 34-60 ms.
   */
  readonly touch?: boolean;
  /** Stops between two steps; what was added is given back and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal;
}

const toChange = (record: StepRecord): PoolChange => changeOf(record, record.observed);

/** Pages that were added to the pools, until {@link Reservation.release}. */
export class Reservation implements AsyncDisposable {
  /** Name of the journal, or null when the pools held enough already and nothing was changed. */
  readonly id: string | null;
  /** What was added. */
  readonly grown: readonly PoolChange[];
  /** Larger pages that were split for it. */
  readonly split: readonly PoolChange[];
  /** Who gives the pages back when this process dies; only `recover` where its pid is null. */
  readonly guardian: GuardianReport;
  /** When they go back whatever happens, or null. ISO 8601. */
  readonly expires: string | null;
  /** What else happened that a person wants to know, one sentence each. */
  readonly notes: readonly string[];
  readonly #transaction: Transaction;
  #releasing: Promise<ReturnReport> | undefined;

  /** Made by {@link reservePages}. */
  constructor(transaction: Transaction) {
    this.#transaction = transaction;
    this.id = transaction.id;
    this.grown = transaction.records.filter(({ op }) => op === GROW).map(toChange);
    this.split = transaction.records.filter(({ op }) => op === DEMOTE).map(toChange);
    this.guardian = transaction.guardian;
    this.expires = transaction.expires;
    this.notes = transaction.notes;
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
    try {
      const { undone, blocked, records } = await this.#transaction.undo();
      if (blocked.length > 0) this.#releasing = undefined;
      return returnReport(undone, records);
    } catch (error) {
      this.#releasing = undefined;
      throw error;
    }
  }

  /** Leaves the pages in the pools, beyond this process, until `pools.release()`. */
  async commit(): Promise<void> {
    await this.#transaction.commit();
  }

  /** {@link release}, unless committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transaction[Symbol.asyncDispose]();
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
  const made: { readonly step: PlanStep; readonly before: Pool }[] = [];
  const transaction = await begin({
    ...(options.root === undefined ? {} : { root: options.root }),
    ...(options.stateDir === undefined ? {} : { stateDir: options.stateDir }),
    kind: poolsKind({ root: options.root, compactions: options.compactions, ...internals }),
    lease: { ttlMs: options.ttlMs, guardian: options.guardian },
    locks: ['pools'],
    intent: 'reserve pages',
    signal: options.signal,
    onStep: internals.onStep,
    patienceMs: internals.patienceMs,
    prepare() {
      const plan = planReserve(options);
      if (plan.refusal !== null) throw plan.refusal;
      return plan.steps.flatMap((step) => {
        const { file, growth, demote } = step;
        if (growth > 0 || demote !== null) {
          made.push({ step, before: readTarget(file, options.root).pool });
        }
        return [
          ...(demote === null ? [] : [{ op: DEMOTE, target: demote.file, asked: demote.pages }]),
          ...(growth === 0 ? [] : [{ op: GROW, target: file, asked: growth }]),
        ];
      });
    },
  });
  try {
    for (const { step, before } of made) {
      throwIfAborted(options.signal);
      if (options.touch ?? true) await touchNewPages(step, before, options.root, internals);
    }
    throwIfAborted(options.signal);
    return new Reservation(transaction);
  } catch (error) {
    await transaction.undoAfter(error);
    throw error;
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
    gains.length === 0 ? [{ count: step.to - step.from }] : gains;
  for (const { node, count } of places) {
    if (count <= 0) continue;
    const numaNode = node === undefined ? {} : { numaNode: node };
    const region = await allocate({ bytes: count * step.pageBytes, pages, ...numaNode });
    internals.onStep?.('pool:touched');
    await region[Symbol.asyncDispose]();
  }
}
