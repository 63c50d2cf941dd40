import type { MigPlan } from './mig/plan-types.ts';
import type { MigProfileSet } from './mig/profiles.ts';
import type { MigWant } from './mig/want.ts';

/** Which profiles to plan with: exactly one of them. */
export interface MigTarget {
  /** `H100-80`, ...: the offline table of a board, {@link MIG_BOARDS}. */
  readonly board?: string;
}

export interface MigPlanOptions extends MigTarget {
  /** MIG devices by profile name: the whole layout that is wanted. Empty: no instances. */
  readonly instances: MigWant;
  /** false: MIG is switched off. Default true. */
  readonly enabled?: boolean;
}

/**
 * MIG: partitions of a GPU.
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * const plan = await mitigate.mig.plan({ board: 'H100-80', instances: { '3g.40gb': 1, '1g.10gb': 2 } });
 * if (!plan.feasible) console.error(plan.blockedBy);
 * ```
 */
export interface Mig {
  /** The profiles of a board. */
  profiles(target: MigTarget): Promise<MigProfileSet>;
  /** What it takes to get to a layout; changes nothing and needs no privilege. */
  plan(options: MigPlanOptions): Promise<MigPlan>;
}

// Each loads its part when it is called: `import 'warpgauge'` does not pay for tables that nobody reads.
export const mig: Mig = {
  async profiles({ board }) {
    const { offlineProfiles } = await import('./mig/boards.ts');
    return offlineProfiles(board ?? '');
  },
  async plan({ instances, enabled = true, ...target }) {
    const { planMig } = await import('./mig/plan.ts');
    return planMig({ profiles: await mig.profiles(target), want: instances, enabled });
  },
};
