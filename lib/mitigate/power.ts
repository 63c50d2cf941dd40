import type { WarpgaugeError } from '../errors.ts';
import type { StateOptions } from '../host/state-folder.ts';
import type { PowerApplyOptions, PowerChange } from './power/apply.ts';
import type { PowerGpu } from './power/device.ts';
import type { PowerPlan, PowerTarget } from './power/plan.ts';
import type { SettledTransaction, SettleOptions, TransactionReport } from './transaction/settle.ts';

export interface PowerStatus {
  readonly gpus: readonly PowerGpu[];
  /** Changes by warpgauge that were not undone. */
  readonly changes: readonly TransactionReport[];
}

/** A plan that can be carried out. */
export interface ApplicablePowerPlan extends PowerPlan {
  /** Why {@link apply} would be refused before the first change, or null. */
  readonly refusal: WarpgaugeError | null;
  /** See the errors of `PowerChange`; after each of them every GPU is as it was found. */
  apply(options?: PowerApplyOptions): Promise<PowerChange>;
}

/**
 * Power limit, clock locks and persistence of GPUs. They outlive the process that sets them: here they end with the block,
 * with the process or at a time, and what was found comes back (the requested and the current limit, not a default).
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * const plan = await mitigate.power.plan({ smClockMhz: { min: 345, max: 1200 } });
 * for (const { message } of plan.warnings) console.error(message);
 * await using change = await plan.apply({ ttlMs: 600_000 });
 * ```
 */
export interface Power {
  /** Every GPU with what it draws, its limits and what may be asked for. Needs no privilege. */
  status(options?: StateOptions & { readonly gpu?: string }): Promise<PowerStatus>;
  /**
   * What it takes to get to the settings of one or several GPUs; changes nothing and needs no privilege. Errors:
   * `ERR_INVALID_ARGUMENT` (beyond what the GPU takes), `ERR_NO_DEVICE`, `ERR_UNAVAILABLE`, `ERR_NO_DRIVER`.
   */
  plan(
    targets: PowerTarget | readonly PowerTarget[],
    options?: StateOptions,
  ): Promise<ApplicablePowerPlan>;
  /** Puts back what committed changes replaced. */
  release(options?: SettleOptions): Promise<readonly SettledTransaction[]>;
  /** Puts back what killed processes replaced. A second call does nothing. */
  recover(options?: SettleOptions): Promise<readonly SettledTransaction[]>;
}

async function settlePower(mode: 'recover' | 'release', options: SettleOptions = {}) {
  const { settle } = await import('./transaction/settle.ts');
  return await settle(mode, { ...options, action: 'power' });
}

// Each loads its part when it is called: `import 'warpgauge'` does not pay for it.
export const power: Power = {
  async status(options = {}) {
    const { readPowerGpus } = await import('./power/device.ts');
    const { listTransactions } = await import('./transaction/settle.ts');
    return {
      gpus: await readPowerGpus(options),
      changes: listTransactions({ ...options, action: 'power' }),
    };
  },
  async plan(targets, options = {}) {
    const { applyPower, observeAndPlan, refusalOf } = await import('./power/apply.ts');
    const list = Array.isArray(targets) ? (targets as readonly PowerTarget[]) : [targets];
    const plan = await observeAndPlan(list as readonly PowerTarget[], options);
    const apply = async (more: PowerApplyOptions = {}): Promise<PowerChange> =>
      await applyPower(plan, { ...options, ...more });
    // The plan as data, with its method out of sight of JSON.
    const applicable = { ...plan, refusal: refusalOf(plan) };
    return Object.defineProperty(applicable, 'apply', { value: apply }) as ApplicablePowerPlan;
  },
  release: (options) => settlePower('release', options),
  recover: (options) => settlePower('recover', options),
};
