import type { StateOptions } from '../host/state-folder.ts';
import type { PlanOptions, ReservePlan } from './pool-plan.ts';
import type { Reservation, ReserveOptions } from './pool-reserve.ts';
import type { JournalReport, SettleReport } from './pool-return.ts';
import type { PoolStatus } from './pool-status.ts';

/** {@link PoolStatus} and what warpgauge itself has added. */
export interface PagesStatus extends PoolStatus {
  /** Journals of growth that was not given back. */
  readonly reservations: readonly JournalReport[];
}

/**
 * The huge page pools of this machine.
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * await using held = await mitigate.pools.reserve({ pages: [{ pageBytes: 2 ** 21, count: 512 }] });
 * await using region = await mitigate.allocate({ bytes: 2 ** 30, pages: '2m' });
 * // At the end of the block the region is unmapped and the pool is as large as others left it.
 * ```
 */
export interface Pools {
  /** Every size and node, cgroup limits, THP policy, memory, reservations. Needs no privilege. */
  status(options?: StateOptions): Promise<PagesStatus>;
  /** What {@link Pools.reserve} would do now. Needs no privilege and changes nothing. */
  plan(options: PlanOptions): Promise<ReservePlan>;
  /**
   * Grows the pools by what is missing, journals and verifies it. One reservation at a time on a
   * machine. Pages from overcommit do not count as available: they may fail at mmap.
   *
   * Errors: `ERR_PERMISSION`, `ERR_LOCKED`, `ERR_RESERVE_LIMIT`, `ERR_NO_MEMORY`, `ERR_NUMA_NODE`,
   * `ERR_PAGE_KIND_UNSUPPORTED`, `ERR_CGROUP_HUGETLB_MAX`, `ERR_CGROUP_HUGETLB_RSVD_MAX`,
   * `ERR_JOURNAL`, `ERR_INTERRUPTED`, and those of `mitigate.allocate` while touching. After each of
   * them the pools hold what they held before.
   */
  reserve(options: ReserveOptions): Promise<Reservation>;
  /** Gives back what committed reservations added. */
  release(options?: StateOptions): Promise<SettleReport>;
  /** Gives back what killed processes left. A second call does nothing. */
  recover(options?: StateOptions): Promise<SettleReport>;
}

// Each loads its part when it is called: `import 'warpgauge'` does not pay for journals that nobody writes.
export const pools: Pools = {
  async status(options = {}) {
    const { readPoolStatus } = await import('./pool-status.ts');
    const { listReservations } = await import('./pool-return.ts');
    return { ...readPoolStatus(options.root), reservations: listReservations(options) };
  },
  async plan(options) {
    return (await import('./pool-plan.ts')).planReserve(options);
  },
  async reserve(options) {
    return (await import('./pool-reserve.ts')).reservePages(options);
  },
  async release(options) {
    return (await import('./pool-return.ts')).settleJournals('release', options);
  },
  async recover(options) {
    return (await import('./pool-return.ts')).settleJournals('recover', options);
  },
};
