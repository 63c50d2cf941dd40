import type { ErrorRecord } from '../../errors.ts';
import type { StateOptions } from '../../host/state-folder.ts';
import type { PageRequest } from '../pool-plan.ts';
import type { PowerTarget } from '../power/plan.ts';
import type { ThpSettings } from '../thp.ts';

/** One setting to try. Several changes are applied in the order below; none of them is the machine as it is. */
export interface SweepSetting {
  /** Unique; rows and the front are named by it. */
  readonly name: string;
  /** As for `mitigate.thp.set`. */
  readonly thp?: ThpSettings;
  /** As for `mitigate.pools.reserve`. */
  readonly pools?: readonly PageRequest[];
  /** As for `mitigate.power.plan`. */
  readonly power?: PowerTarget | readonly PowerTarget[];
  /** Any other change that undoes itself when it is disposed. */
  readonly apply?: () => Promise<AsyncDisposable> | AsyncDisposable;
}

/** What a workload is told. */
export interface SweepRun {
  readonly setting: string;
  /** From 0. */
  readonly repetition: number;
  /** true: its result is dropped. */
  readonly warmup: boolean;
  /** Aborts when the sweep is to end. */
  readonly signal: AbortSignal;
}

/** Units of work that were done; with `seconds` where the workload has timed the part that counts by itself. */
export type SweepWork = number | { readonly units: number; readonly seconds: number };

export interface SweepOptions extends StateOptions {
  readonly settings: readonly SweepSetting[];
  /** Does a piece of work: the same under every setting, and long enough (energy counters move each 100 ms). */
  readonly workload: (run: SweepRun) => SweepWork | Promise<SweepWork>;
  /** What a unit of work is, for people: `tokens`, `GB`. Default `units`. */
  readonly unit?: string;
  /** Times that each setting is applied and measured. Default 3. */
  readonly repetitions?: number;
  /** Runs of the workload after each application whose results are dropped. Default 0. */
  readonly warmups?: number;
  /** UUIDs of the GPUs whose energy counts; `[]`: none. Default: all of the machine. */
  readonly gpus?: readonly string[];
  /** Whether a guardian puts each setting back when this process is killed. Default true. */
  readonly guardian?: boolean;
  /** Ends the sweep: the setting that is applied is put back and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal;
  /** Told after each run that counts. */
  readonly onRun?: (run: SweepRunResult) => void;
}

/** One run that counts. */
export interface SweepRunResult {
  readonly setting: string;
  readonly repetition: number;
  readonly units: number;
  /** Time of the workload: its own, else CLOCK_MONOTONIC around it. */
  readonly seconds: number;
  /** Energy of the GPUs meanwhile, by nvmlDeviceGetTotalEnergyConsumption; null: `joulesReason` says why. */
  readonly joules: number | null;
  readonly joulesReason: string | null;
}

/** A number over the runs of one setting. */
export interface SweepSpread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface SweepSettingResult {
  readonly name: string;
  readonly status: 'measured' | 'unavailable';
  /** Why it could not be applied here; null where it was. */
  readonly error: ErrorRecord | null;
  readonly runs: number;
  readonly unitsPerSecond: SweepSpread | null;
  readonly joulesPerUnit: SweepSpread | null;
  /** No other setting is better in one respect and at least as good in the other, by the medians. */
  readonly onFront: boolean;
}

export interface SweepResult {
  readonly unit: string;
  readonly repetitions: number;
  /** In the order in which they ran. */
  readonly runs: readonly SweepRunResult[];
  readonly settings: readonly SweepSettingResult[];
  /** Names of the settings on the Pareto front, the most throughput first. */
  readonly front: readonly string[];
  /** Without energy of every setting the front is that of throughput alone. */
  readonly frontBy: 'throughput_and_energy' | 'throughput';
  /** Why energy is not part of the front, or null. */
  readonly energyReason: string | null;
  /** The GPUs whose energy was read. */
  readonly gpus: readonly string[];
  /** The energy is that of a simulated driver. */
  readonly simulated: boolean;
}
