export type { PageKind } from '../page-kinds.ts';
export { type AllocateOptions, allocate } from './allocate.ts';
export type { HeldMig, MigApplied, MigApplyOptions, MigDevice } from './mig/apply.ts';
export type { MigAssertion } from './mig/assert.ts';
export type { MigGpu, MigInstanceStatus } from './mig/device.ts';
export type {
  BlockingInterval,
  MigBlocker,
  MigConsent,
  MigObservation,
  MigPlan,
  MigStep,
  ObservedCompute,
  ObservedInstance,
  PlannedInstance,
} from './mig/plan-types.ts';
export type {
  MigComputeProfile,
  MigProfile,
  MigProfileSet,
  MigProfileSource,
} from './mig/profiles.ts';
export type { ComputePlacement, MigWant } from './mig/want.ts';
export {
  type ApplicableMigPlan,
  type Mig,
  type MigAssertOptions,
  type MigFileOptions,
  type MigPlanOptions,
  type MigTarget,
  mig,
} from './mig.ts';
export { type Numa, type NumaBinding, type NumaBindOptions, numa } from './numa.ts';
export type { GpuPlace, NumaNode, NumaStatus } from './numa-topology.ts';
export { type GrantedPages, PageRegion } from './page-region.ts';
export type { PoolChange } from './pool-change.ts';
export type { PersistentPools } from './pool-persistent.ts';
export type { PageRequest, PlanOptions, PlanStep, ReservePlan } from './pool-plan.ts';
export type { Reservation, ReserveOptions } from './pool-reserve.ts';
export type {
  JournalReport,
  ReturnReport,
  SettledJournal,
  SettleReport,
} from './pool-return.ts';
export type { PoolEntry, PoolStatus } from './pool-status.ts';
export { type PagesStatus, type Pools, pools } from './pools.ts';
export type { PowerApplyOptions, PowerChange, VerifiedSetting } from './power/apply.ts';
export type { ClockRange, PowerGpu } from './power/device.ts';
export type { DriftOptions, PowerDrift } from './power/drift.ts';
export type {
  PowerObservation,
  PowerPlan,
  PowerSetting,
  PowerStep,
  PowerTarget,
  PowerWarning,
} from './power/plan.ts';
export type { PowerVerified } from './power/verified.ts';
export { type ApplicablePowerPlan, type Power, type PowerStatus, power } from './power.ts';
export type { ProcessMemory } from './process-memory.ts';
export { run } from './run.ts';
export type { RunOptions, RunPages, RunResult } from './run-placed.ts';
export type {
  SweepOptions,
  SweepResult,
  SweepRun,
  SweepRunResult,
  SweepSetting,
  SweepSettingResult,
  SweepSpread,
  SweepWork,
} from './sweep/types.ts';
export { sweep } from './sweep.ts';
export {
  type Thp,
  type ThpAdvice,
  type ThpChange,
  type ThpPlan,
  type ThpPlanStep,
  type ThpSetOptions,
  type ThpSettings,
  type ThpStatus,
  thp,
} from './thp.ts';
export type { GuardianReport, Lease } from './transaction/guardian.ts';
export type { SettledTransaction, TransactionReport } from './transaction/settle.ts';
