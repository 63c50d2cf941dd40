export type { PageKind } from '../page-kinds.ts';
export { type AllocateOptions, allocate } from './allocate.ts';
export { type GrantedPages, PageRegion } from './page-region.ts';
export type { PoolChange } from './pool-change.ts';
export type { PageRequest, PlanStep, ReservePlan } from './pool-plan.ts';
export type { Reservation, ReserveOptions } from './pool-reserve.ts';
export type {
  JournalReport,
  ReturnReport,
  SettledJournal,
  SettleReport,
} from './pool-return.ts';
export type { PoolEntry, PoolStatus } from './pool-status.ts';
export { type PagesStatus, type Pools, pools } from './pools.ts';
