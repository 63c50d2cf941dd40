import { type PlanOptions, planReserve, type ReservePlan } from './pool-plan.ts';
import { type Reservation, type ReserveOptions, reservePages } from './pool-reserve.ts';
import {
  type JournalReport,
  listReservations,
  type SettleReport,
  type StateOptions,
  settleJournals,
} from './pool-return.ts';
import { type PoolStatus, readPoolStatus } from './pool-status.ts';

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

export const pools: Pools = {
  status: async (options = {}) => ({
    ...readPoolStatus(options.root),
    reservations: listReservations(options),
  }),
  plan: async (options) => planReserve(options),
  reserve: async (options) => reservePages(options),
  release: async (options) => settleJournals('release', options),
  recover: async (options) => settleJournals('recover', options),
};
