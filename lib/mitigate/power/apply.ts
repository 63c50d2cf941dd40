import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import type { StateOptions } from '../../host/state-folder.ts';
import { hasSysAdmin } from '../mig/permission.ts';
import { refuseLeased } from '../refuse-leased.ts';
import { begin } from '../transaction/begin.ts';
import type { GuardianReport, Lease } from '../transaction/guardian.ts';
import type { StepHook } from '../transaction/journal.ts';
import type { StepRecord } from '../transaction/kind.ts';
import { listTransactions } from '../transaction/settle.ts';
import type { Transaction } from '../transaction/transaction.ts';
import { readPowerGpus } from './device.ts';
import { type DriftOptions, DriftWatch, type PowerDrift, readDrift } from './drift.ts';
import { type LimitState, type LockObserved, powerKind } from './operations.ts';
import {
  knownLocks,
  locksAgain,
  type PowerPlan,
  type PowerSetting,
  type PowerStep,
  type PowerTarget,
  type PowerWarning,
  plannedSteps,
  planPower,
} from './plan.ts';
import type { PowerVerified } from './verified.ts';

export interface PowerApplyOptions extends StateOptions, Lease {
  /** Stops between two steps; what was done is undone and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal;
}

/** Seams for tests. */
export interface PowerApplyInternals {
  readonly onStep?: StepHook;
}

/** What reading said of one setting after it was made. */
export interface VerifiedSetting {
  readonly gpu: string;
  readonly setting: PowerSetting;
  readonly state: PowerVerified;
  /** Why it is not `in_effect`, one sentence; else null. */
  readonly reason: string | null;
}

/** Reads the GPUs and the journals, and plans. */
export async function observeAndPlan(
  targets: readonly PowerTarget[],
  options: StateOptions,
): Promise<PowerPlan> {
  const [gpu, more] = targets.flatMap((target) => target.gpu ?? []);
  const only = targets.length === 1 && gpu !== undefined && more === undefined ? { gpu } : {};
  const gpus = await readPowerGpus({ ...options, ...only });
  return planPower(targets, gpus, knownLocks(listTransactions({ ...options, action: 'power' })));
}

/** Why this process may not carry a plan out, before the driver is asked; null: nothing known speaks against it. */
export function refusalOf(plan: PowerPlan): WarpgaugeError | null {
  if (plan.steps.length === 0 || hasSysAdmin()) return null;
  return new WarpgaugeError(
    'ERR_PERMISSION',
    'Changing power and clocks of a GPU needs CAP_SYS_ADMIN',
    {
      capability: 'CAP_SYS_ADMIN',
      fix: 'Run it as root',
    },
  );
}

/**
 * Carries a plan out, on all its GPUs or on none: after any failure each is as it was found, or the error says what could
 * not be put back.
 *
 * Errors: `ERR_PERMISSION` with `capability`, `ERR_STALE_PLAN`, `ERR_REFUSED` (the driver says yes and it is not so; the
 * setting was made for a time that is not over), `ERR_UNAVAILABLE`, `ERR_LOCKED` with `holders`, `ERR_NVML`, `ERR_JOURNAL`, `ERR_INTERRUPTED`.
 */
export async function applyPower(
  plan: PowerPlan,
  options: PowerApplyOptions & PowerApplyInternals = {},
): Promise<PowerChange> {
  const { ttlMs, guardian, ...rest } = options;
  const refusal = refusalOf(plan);
  if (refusal !== null) throw refusal;
  let steps: readonly PowerStep[] = [];
  const transaction = await begin({
    ...rest,
    kind: powerKind({ root: options.root }),
    locks: plan.targets.map(({ gpu }) => `gpu-${gpu}`),
    intent: `power: ${describeTargets(plan)}`,
    lease: { ttlMs, guardian },
    async prepare() {
      const now = await observeAndPlan(plan.targets, options);
      const changed = now.observed.find(
        (one, index) => JSON.stringify(one) !== JSON.stringify(plan.observed[index]),
      );
      // The same plan a second time: nothing is left to do but to set locks again that no clock shows.
      const again = now.steps.every(locksAgain);
      if (changed !== undefined && !again) {
        throw new WarpgaugeError(
          'ERR_STALE_PLAN',
          `${changed.gpu} is not what it was when the plan was made`,
          { source: changed.gpu, fix: 'Make a new plan' },
        );
      }
      steps = again ? now.steps : plan.steps;
      const planned = plannedSteps(steps);
      for (const { gpu } of plan.targets) {
        const own = planned.filter(({ target }) => target === gpu);
        const what = `${gpu} has settings`;
        refuseLeased({ action: 'power', device: `gpu-${gpu}`, what, steps: own }, options);
      }
      return planned;
    },
  });
  return new PowerChange(transaction, plan, steps, options.root);
}

function describeTargets({ steps }: PowerPlan): string {
  return steps.map(({ setting, to }) => `${setting} ${JSON.stringify(to)}`).join(', ');
}

/** Settings that were made; {@link undo} or the end of the block puts back what was found. */
export class PowerChange implements AsyncDisposable {
  /** Name of the journal, or null when all was set so already. */
  readonly id: string | null;
  readonly changed: readonly PowerStep[];
  /** What reading said of each, at once after it was made. */
  readonly verified: readonly VerifiedSetting[];
  readonly warnings: readonly PowerWarning[];
  /** What else happened that a person wants to know, one sentence each. */
  readonly notes: readonly string[];
  /** Who undoes it when this process dies. */
  readonly guardian: GuardianReport;
  /** When it is undone whatever happens, ISO 8601, or null. */
  readonly expires: string | null;
  readonly #transaction: Transaction;
  readonly #root: string | undefined;
  readonly #watches = new Set<DriftWatch>();

  /** Made by {@link applyPower}. */
  constructor(
    transaction: Transaction,
    plan: PowerPlan,
    changed: readonly PowerStep[],
    root: string | undefined,
  ) {
    this.#transaction = transaction;
    this.#root = root;
    this.id = transaction.id;
    this.changed = changed;
    this.verified = changed.map((step, index) =>
      verifiedOf(step, transaction.records[index] as StepRecord),
    );
    this.warnings = plan.warnings;
    this.notes = transaction.notes;
    this.guardian = transaction.guardian;
    this.expires = transaction.expires;
  }

  /** What is no longer as it was set, now; empty: all is, as far as the driver tells. */
  async drift(): Promise<readonly PowerDrift[]> {
    return await readDrift(this.changed, this.#root);
  }

  /**
   * Calls `listener` when a setting is no longer what was set, within one reading, and again only when that changes. Ends
   * with {@link undo}, or with the function that it gives. What the listener throws is an `uncaughtException` like that of
   * any callback: it ends a process that does not listen to these, and the watch goes on in one that does.
   */
  onDrift(listener: (drift: PowerDrift) => void, options: DriftOptions = {}): () => void {
    const { intervalMs } = options;
    if (intervalMs !== undefined && !(Number.isFinite(intervalMs) && intervalMs > 0)) {
      throw invalidArgument('intervalMs', 'a number of milliseconds above 0', intervalMs);
    }
    const watch = new DriftWatch(this.changed, listener, { ...options, root: this.#root });
    this.#watches.add(watch);
    return () => {
      watch.close();
      this.#watches.delete(watch);
    };
  }

  /** Puts back what was found; throws what is in the way, and a later call tries again. Idempotent. */
  async undo(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    const { blocked } = await this.#transaction.undo();
    if (blocked[0] !== undefined) throw blocked[0].error;
  }

  /** Leaves the settings, beyond this process, until `power.release()`. */
  async commit(): Promise<void> {
    await this.#transaction.commit();
  }

  /** {@link undo}, unless committed. What cannot be put back is thrown. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#transaction.committed) await this.undo();
  }
}

function verifiedOf(step: PowerStep, record: StepRecord): VerifiedSetting {
  const { gpu, setting } = step;
  if (setting === 'persistence') return { gpu, setting, state: 'in_effect', reason: null };
  if (setting === 'power_limit') {
    const { current } = (record.observed ?? record.prior) as unknown as LimitState;
    return current / 1000 === step.to
      ? { gpu, setting, state: 'in_effect', reason: null }
      : {
          gpu,
          setting,
          state: 'limited',
          reason: `an out-of-band limit of ${current / 1000} W is lower and holds`,
        };
  }
  const { verified, mhz, limitedBy } = record.observed as unknown as LockObserved;
  const reason =
    verified === 'in_effect'
      ? null
      : verified === 'limited'
        ? `${mhz} MHz: ${limitedBy.join(', ')} holds it below`
        : mhz === null
          ? 'the clock cannot be read'
          : 'the GPU is idle: no driver tells a lock, only a clock under load does';
  return { gpu, setting, state: verified, reason };
}
