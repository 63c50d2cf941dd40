/**
 * The words and the result of the memcpy benchmark: one place for every field name of the JSON document
 * `warpgauge/memcpy/1` (schemas/memcpy-1.schema.json says the same to other programs).
 *
 * Units: `bytes` in bytes, `_ns` in nanoseconds, GB/s is 1e9 bytes per second. What could not be read is
 * `null` beside a field that says why.
 */
import type { ErrorRecord } from '../../errors.ts';
import type { PreflightLine } from '../../host/preflight.ts';
import { PAGE_KINDS, type PageKind } from '../../page-kinds.ts';

export type { PreflightLine };

export { PAGE_KINDS, type PageKind };
/** What a cell can be backed by: `4k-split` is the physical-layout control, `driver` is cuMemHostAlloc. */
export type CellKind = PageKind | '4k-split' | 'driver';

export const DIRECTIONS = ['HtoD', 'DtoH', 'vectorAdd'] as const;
export type Direction = (typeof DIRECTIONS)[number];
export const STATES = ['cold', 'warm'] as const;
/** Whether the host buffer (vectorAdd: vector C) was written before the timed region. */
export type PageState = (typeof STATES)[number];
export const PINS = ['none', 'register', 'hostalloc'] as const;
export type Pin = (typeof PINS)[number];
export const CACHES = ['flushed', 'hot'] as const;
export type CacheState = (typeof CACHES)[number];
export type BackendName = 'host' | 'cuda';

/** The coordinates of one cell of the experiment. */
export interface CellKey {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly kind: CellKind;
  readonly bytes: number;
}

/** What the kernel mapped behind the buffer, as `PAGEMAP_SCAN` (or smaps) tells, sizes from smaps/fstatfs. */
export interface PageProof {
  /** Bytes of the buffer by page size in KiB, e.g. `{"2048": 67108864}`; untouched bytes are in none. */
  readonly verified_bytes_by_kb: Readonly<Record<string, number>>;
  readonly zero_page_bytes: number;
  readonly absent_bytes: number;
  /** NUMA nodes the pages lie on; empty where the kernel does not tell. */
  readonly node: readonly number[];
  readonly method: string;
}

/** Time of each phase of one sample; `null` for phases the cell does not have. */
export interface Phases {
  readonly map: number | null;
  /** Populating and filling the buffer (warm cells, and the sources A and B of vectorAdd). */
  readonly fault: number | null;
  readonly condition: number | null;
  readonly flush: number | null;
  readonly register: number | null;
  /** The copy; for vectorAdd the four below. */
  readonly copy: number | null;
  readonly copy_a: number | null;
  readonly copy_b: number | null;
  readonly kernel: number | null;
  readonly copy_c: number | null;
  readonly verify: number | null;
  readonly unregister: number | null;
  readonly unmap: number | null;
}

/** Every phase, in the order in which they happen. */
export const PHASES: readonly (keyof Phases)[] = [
  'condition',
  'map',
  'fault',
  'register',
  'flush',
  'copy',
  'copy_a',
  'copy_b',
  'kernel',
  'copy_c',
  'verify',
  'unregister',
  'unmap',
];

/** GPU state read from NVML around one sample. */
export interface GpuReading {
  readonly sm_mhz: number | null;
  readonly memory_mhz: number | null;
  readonly pcie_gen: number | null;
  readonly pcie_width: number | null;
  /** Replays counted by the link during the sample. */
  readonly replays: number | null;
  /** Clock event (throttle) reason bits after the sample, without GPU idle. */
  readonly throttle: number | null;
}

/** One timed operation on its own new mapping. Never deleted, also when invalid. */
export interface Sample {
  readonly block: number;
  /** Position in the order of the whole run. */
  readonly seq: number;
  /** Which run (child process) of `--runs N`, from 0. */
  readonly run: number;
  /** CLOCK_MONOTONIC at the start of the timed region, ns. */
  readonly time_ns: number;
  /** Host clock around the headline operation, stream synchronization included. */
  readonly t_host_ns: number;
  /** CUDA events around the same; null on the host backend. */
  readonly t_event_ns: number | null;
  /** CPU time of the timed region; null below 20 ms, because the kernel samples it by ticks. */
  readonly user_ns: number | null;
  readonly sys_ns: number | null;
  /** perf software page-faults of the copying thread; null with `faults_perf_why`. */
  readonly faults_perf: number | null;
  readonly faults_perf_scope: 'user+kernel' | 'user' | null;
  readonly faults_perf_why: string | null;
  /** getrusage(RUSAGE_THREAD): sees faults in pinning and population too. */
  readonly minflt_thread: number;
  readonly majflt: number;
  readonly minflt_proc: number;
  /** System-wide nr_foll_pin_acquired, batched per CPU: approximate. Units of 4 KB. */
  readonly pins_approx: number | null;
  readonly dtlb_miss: number | null;
  readonly dtlb_why: string | null;
  /** Time the hypervisor took from the CPU, ns (10 ms ticks). */
  readonly steal_ns: number | null;
  readonly vcsw: number;
  readonly ivcsw: number;
  readonly vm: {
    readonly compact_stall: number | null;
    readonly allocstall: number | null;
    readonly thp_fault_alloc: number | null;
    readonly thp_fault_fallback: number | null;
  };
  readonly gpu: GpuReading | null;
  readonly phases_ns: Phases;
  readonly page_before: PageProof | null;
  readonly page_after: PageProof | null;
  readonly verified: boolean;
  /** `compare`: host buffer read back; `replay`: untimed pass of the same loop; `readback`: device read back. */
  readonly verified_by: 'compare' | 'replay' | 'readback' | null;
  readonly valid: boolean;
  readonly why_invalid: string | null;
}

export interface CellStats {
  /** Valid samples. */
  readonly n: number;
  readonly n_invalid: number;
  readonly median_ns: number;
  readonly median_gbps: number;
  /** Median absolute deviation over the median. */
  readonly mad_rel: number;
  readonly q1_ns: number;
  readonly q3_ns: number;
  readonly min_ns: number;
  readonly max_ns: number;
  /** 95 % bootstrap CI of the median throughput, GB/s; null below 3 valid samples. */
  readonly ci95_gbps: readonly [number, number] | null;
  /** `seq` of samples with modified z > 3.5. Kept in all statistics. */
  readonly outliers: readonly number[];
  /** Samples slower than 3x the median. */
  readonly n_above_3x: number;
  readonly bimodal: boolean;
}

/**
 * What CUPTI saw of a cell's copies: a third timer, and a check of the memory kind. Taken after all blocks, in copies that
 * count for nothing else, because CUPTI in the process would be a part of what is timed.
 */
export interface CuptiWitness {
  /** Operations watched. */
  readonly n: number;
  /** Durations of an operation's memcpy records, summed; ns, median over the operations, as all below. */
  readonly copy_ns: number;
  /** Host clock around the same operations. */
  readonly host_ns: number;
  /** CUDA events around the same. */
  readonly event_ns: number | null;
  /** Memcpy records of one operation. */
  readonly records: number;
  /** Bytes in them. */
  readonly bytes: number;
  /** Kinds of the host memory: `pageable`, `pinned`, `managed`. */
  readonly memory: readonly string[];
  /** Whether bytes and memory are what the cell is about. */
  readonly agrees: boolean;
  readonly disagreement: string | null;
}

export type CellStatus = 'ok' | 'unavailable' | 'failed';

export interface Cell extends CellKey {
  readonly id: string;
  /** Which operation `t_host_ns` and the statistics are about. */
  readonly metric: 'copy' | 'register' | 'total';
  /** false: the cell has no meaning (see `reason`) and is one summary line in text output. */
  readonly legal: boolean;
  readonly status: CellStatus;
  readonly reason: string | null;
  readonly fix: string | null;
  readonly error: ErrorRecord | null;
  readonly page: {
    readonly requested_kb: number | null;
    readonly verified_bytes_by_kb: Readonly<Record<string, number>> | null;
    readonly zero_page_bytes: number | null;
    readonly node: readonly number[];
    readonly method: string | null;
    readonly phys_run_pages: number | null;
    readonly phys_run_why: string | null;
  };
  readonly samples: readonly Sample[];
  readonly stats: CellStats | null;
  /** Median of each phase over the valid samples. */
  readonly phases_ns: Phases | null;
  /** What the counters say the cell went through, e.g. `faults-in-pinning`. */
  readonly labels: readonly string[];
  /** null with the reason in `cupti_why`; both are absent in results of versions before 0.2. */
  readonly cupti: CuptiWitness | null;
  readonly cupti_why: string | null;
}

/** What a fault (touch) or a population costs, measured in the same blocks on other mappings. */
export interface Calibration {
  readonly id: string;
  /** `touch`: one byte written per 4 KB by user code; `populate`: MADV_POPULATE_WRITE; `pin`: registration of a warm buffer. */
  readonly op: 'touch' | 'populate' | 'pin';
  readonly kind: CellKind;
  readonly bytes: number;
  readonly status: CellStatus;
  readonly reason: string | null;
  readonly samples: readonly Sample[];
  readonly stats: CellStats | null;
}

export type Verdict = 'FASTER' | 'SLOWER' | 'SAME' | 'AMBIGUOUS' | 'none';
export type Cause =
  | 'faults'
  | 'page-zeroing'
  | 'faults-in-pinning'
  | 'pinning'
  | 'physical-layout'
  | 'translation'
  | 'link-bound'
  | 'unexplained';

/** `b` (a larger page kind) against `a` (4k), paired by block. A speed-up above 1 means `b` is faster. */
export interface Comparison {
  readonly a: string;
  readonly b: string;
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly bytes: number;
  readonly kind: CellKind;
  readonly metric: Cell['metric'];
  readonly n_pairs: number;
  readonly speedup: number;
  /** Null below 3 pairs in a run, where no interval is worth its name. */
  readonly ci95: readonly [number, number] | null;
  /** Interval corrected for the verdict family; null outside the family. */
  readonly ci_adjusted: readonly [number, number] | null;
  readonly in_family: boolean;
  readonly method: string;
  readonly resamples: number;
  /** Only members of the family carry a verdict; others are `none`. */
  readonly verdict: Verdict;
  readonly verdict_reason: string | null;
  /** A warm verdict against 4k from one run holds for this moment's physical layout only. */
  readonly this_moment_only: boolean;
  /** Speed-up per run of `--runs N`. */
  readonly run_speedups: readonly number[];
  /** Speed-up of register + copy + unregister, where pin = register; else null. */
  readonly total_speedup: number | null;
  readonly cause: Cause | null;
  /** Share of the time gap that `cause` explains. */
  readonly share: number | null;
  readonly share_ci95: readonly [number, number] | null;
  readonly share_method: string | null;
  /** One sentence with the numbers: "262144 -> 512 faults; …". */
  readonly explanation: string | null;
}

/** t = a + b·bytes + c·faults per kind, where states and sizes identify it. */
export interface CostModel {
  readonly kind: CellKind;
  readonly dir: Direction;
  readonly pin: Pin;
  readonly ns_per_fault: number | null;
  readonly gbps: number | null;
  readonly r2: number | null;
  readonly why: string | null;
}

/** The size from which `kind` beats 4k; null with a reason where the sizes measured do not bracket it. */
export interface BreakEven {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly kind: CellKind;
  readonly bytes: number | null;
  readonly why: string | null;
}

export interface Answer {
  readonly dir: Direction;
  readonly text: string;
  /** Code or command that gets the gain; null when there is nothing to gain. */
  readonly how: string | null;
}

/** The device behind the copies. */
export interface DeviceInfo {
  readonly name: string;
  readonly uuid: string | null;
  readonly pci_address: string | null;
  readonly compute_capability: string | null;
  readonly driver: string | null;
  readonly cuda: string | null;
  readonly memory_bytes: number | null;
  readonly pcie_gen: number | null;
  readonly pcie_width: number | null;
  /** Raw one-direction link rate, GB/s, from generation and width. */
  readonly ceiling_gbps: number | null;
  readonly numa_node: number | null;
  readonly pageable_access: boolean | null;
  readonly host_page_tables: boolean | null;
  /** true when the driver library calls itself "Simulated". */
  readonly simulated: boolean;
}

/** The whole result of `measure.memcpy()` and of `bench memcpy --json`. */
export interface MemcpyDocument {
  readonly schema: 'warpgauge/memcpy/1';
  readonly tool: {
    readonly version: string;
    readonly git: string | null;
    readonly dirty: boolean | null;
  };
  readonly argv: readonly string[];
  readonly seed: number;
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly duration_ns: number;
  readonly backend: BackendName;
  /** true on the host backend: the copies stand in for the driver's, no device took part. */
  readonly proxy: boolean;
  readonly complete: boolean;
  readonly interrupted: boolean;
  readonly device: DeviceInfo | null;
  readonly numa_node: number | null;
  readonly cpu: number | null;
  readonly env: Readonly<Record<string, unknown>>;
  readonly preflight: readonly PreflightLine[];
  readonly design: {
    readonly blocks: number;
    readonly blocks_asked: number | null;
    readonly budget_ns: number | null;
    readonly stopped_by: 'blocks' | 'budget' | 'ci-target' | 'interrupt' | 'error';
    readonly runs: number;
    readonly order: 'randomised-complete-block';
    readonly conditioning: boolean;
    /** Samples of each direction, pin, state and kind that were thrown away before the first block. */
    readonly warmup: number;
    readonly fill: boolean;
    readonly cache: CacheState;
    readonly staging_bytes: number;
    readonly flush_bytes: number;
    readonly unit: 'GB=1e9';
    readonly ci_target: number;
    readonly illegal_cells: number;
  };
  readonly reserved: readonly ReservedPool[];
  readonly n_invalid: number;
  readonly cells: readonly Cell[];
  readonly calibrations: readonly Calibration[];
  /** Ids `a -> b` of the comparisons whose intervals are corrected together. */
  readonly family: readonly string[];
  readonly comparisons: readonly Comparison[];
  readonly model: readonly CostModel[];
  readonly break_even: readonly BreakEven[];
  readonly answers: readonly Answer[];
  readonly reproduce: string;
  readonly warnings: readonly string[];
}

/** A pool that `--reserve` grew, and what came back. */
export interface ReservedPool {
  readonly page_bytes: number;
  readonly node: number | null;
  readonly pages: number;
  readonly returned: number | null;
}

/** `dtoh/none/cold/2m/67108864` */
export function cellId(key: CellKey): string {
  return `${key.dir.toLowerCase()}/${key.pin}/${key.state}/${key.kind}/${key.bytes}`;
}

/** Bytes of one page of a kind; `4k-split` is mapped by 4 KB entries, `driver` is not ours to know. */
export const PAGE_BYTES: Readonly<Record<CellKind, number | null>> = {
  '4k': 4096,
  '4k-split': 4096,
  thp: 2 * 1024 ** 2,
  '2m': 2 * 1024 ** 2,
  '1g': 1024 ** 3,
  driver: null,
};
