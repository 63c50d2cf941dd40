import { loadAddon } from './addon-loader.ts';
import { WarpgaugeError } from './errors.ts';

export { guardianExecutable, injectionLibraryPath } from './addon-loader.ts';

/** What the kernel mapped behind a range, bytes by page size; see native/memory/page_proof.h. */
export interface NativePageProof {
  readonly bytes4k: number;
  readonly bytesThp: number;
  readonly bytes2m: number;
  readonly bytes1g: number;
  readonly bytesOther: number;
  readonly bytesZero: number;
  readonly bytesAbsent: number;
  readonly method: string;
}

/** A mapped, populated and proven region; `buffer` is an external ArrayBuffer, the first of `windows`. */
export interface NativeRegion {
  readonly buffer: ArrayBuffer;
  /**
   * Usually one, over all `bytes`. Node 20 makes no buffer above 4 GiB: there a larger region has windows of
   * 4 GiB (the last one shorter) that start every `windowStride` bytes.
   */
  readonly windows: readonly ArrayBuffer[];
  readonly windowStride: number;
  readonly address: bigint;
  readonly mappedBytes: number;
  /** null while nothing is populated. */
  readonly proof: NativePageProof | null;
  /** Minor faults that population took, the independent cross-check of the proof. */
  readonly populateFaults: number | null;
  readonly numaNodes: readonly number[];
  readonly fd: number;
  /** Number of the region in this process, from 1, never reused. */
  readonly id: number;
}

export interface NativeRegionOptions {
  readonly bytes: number;
  readonly pages: '4k' | 'thp' | '2m' | '1g';
  /** -1: the thread's own policy. */
  readonly numaNode: number;
  readonly lock: boolean;
  readonly shared: boolean;
  readonly populate: boolean;
  /** 0: chosen by size and CPU count. */
  readonly threads: number;
}

/** One request to the copying child; complete and valid, native has no defaults. */
export interface NativeSampleSpec {
  readonly op: 'HtoD' | 'DtoH' | 'vectorAdd' | 'touch' | 'populate' | 'pin';
  readonly pin: 'none' | 'register' | 'hostalloc';
  readonly state: 'cold' | 'warm';
  readonly kind: '4k' | '4k-split' | 'thp' | '2m' | '1g' | 'driver';
  readonly bytes: number;
  /** Unique to (cell, sample): the seed of the data pattern. */
  readonly patternSeed: number;
  /** Node the buffer is bound to; -1: the thread's own policy. */
  readonly numaNode: number;
  /** Allocate, touch and free the same kind and size before a cold sample. */
  readonly condition: boolean;
  /** Write the buffer before a warm copy. Off only in tests of the zero-page guard. */
  readonly fill: boolean;
  /** Walk this many bytes before the timed region; 0: leave the cache as it is. */
  readonly flushBytes: number;
  /** Test hooks, see CopyFault in native/copy/backend.h: -1 and 0 mean none. */
  readonly dropPage: number;
  readonly stretch: number;
  /** Have CUPTI watch the timed copies too; CUDA backend only. From the first such sample on CUPTI stays in the process. */
  readonly witness: boolean;
}

/** Raw readings of one sample: native measures, TypeScript judges. All times in ns. */
export interface NativeSample {
  readonly timeNs: number;
  readonly hostNs: number;
  readonly eventNs: number | null;
  readonly userNs: number;
  readonly sysNs: number;
  readonly faultsPerf: number | null;
  readonly faultsPerfScope: 'user+kernel' | 'user' | null;
  readonly faultsPerfWhy: string | null;
  readonly minfltThread: number;
  readonly majfltThread: number;
  readonly minfltProc: number;
  readonly pinsApprox: number | null;
  readonly dtlbMiss: number | null;
  readonly dtlbWhy: string | null;
  readonly stealNs: number | null;
  readonly vcsw: number;
  readonly ivcsw: number;
  readonly compactStall: number | null;
  readonly allocstall: number | null;
  readonly thpFaultAlloc: number | null;
  readonly thpFaultFallback: number | null;
  readonly gpuBefore: NativeGpuState | null;
  readonly gpuAfter: NativeGpuState | null;
  readonly phases: Readonly<Record<string, number>>;
  readonly pageBefore: NativePageProof | null;
  readonly pageAfter: NativePageProof | null;
  readonly numaNodes: readonly number[];
  readonly verified: boolean;
  readonly verifiedBy: 'compare' | 'replay' | 'readback' | null;
  /** Offset of the first wrong byte; -1 when the data is right or was not checked. */
  readonly firstBadOffset: number;
  /** What CUPTI saw of the timed copies; null unless asked for, or with `cuptiWhy`. */
  readonly cupti: NativeWitness | null;
  readonly cuptiWhy: string | null;
}

/** Memcpy activity records of one timed operation. */
export interface NativeWitness {
  /** Sum of their durations, ns. */
  readonly copyNs: number;
  readonly records: number;
  readonly bytesHtoD: number;
  readonly bytesDtoH: number;
  /** Kinds of the host memory, in CUPTI's words: pageable, pinned, managed ... */
  readonly memory: readonly string[];
}

export interface NativeGpuState {
  readonly smMhz: number | null;
  readonly memoryMhz: number | null;
  readonly pcieGen: number | null;
  readonly pcieWidth: number | null;
  readonly replays: number | null;
  readonly throttle: number | null;
}

export interface NativeBackendOptions {
  readonly backend: 'host' | 'cuda';
  readonly device: number;
  /** Override paths of the driver libraries; empty: search. */
  readonly cudaPath: string;
  readonly nvmlPath: string;
}

export interface NativeBackendInfo {
  readonly backend: 'host' | 'cuda';
  readonly stagingBytes: number;
  readonly llcBytes: number;
  readonly device: {
    readonly name: string;
    readonly uuid: string;
    readonly pciAddress: string;
    readonly computeCapability: string;
    readonly driver: string;
    readonly cuda: string;
    readonly memoryBytes: number;
    readonly numaNode: number;
    readonly pageableAccess: boolean | null;
    readonly hostPageTables: boolean | null;
    readonly simulated: boolean;
  } | null;
}

/**
 * What NVML says once of one GPU. `values` has the same names on every machine (native/gpu/nvml/facts.cc); a null has
 * its fixed reason in `reasons`.
 */
export interface NativeGpu {
  readonly values: Readonly<Record<string, string | number | boolean | null>>;
  readonly reasons: Readonly<Record<string, string>>;
  readonly instances: readonly NativeMigInstance[];
}

export interface NativeMigInstance {
  readonly uuid: string;
  readonly gpuInstance: number | null;
  readonly computeInstance: number | null;
  readonly memoryBytes: number | null;
  readonly multiprocessors: number | null;
}

export interface NativeGpuSystem {
  /** The libnvidia-ml that answered. */
  readonly library: string;
  readonly driverVersion: string | null;
  readonly nvmlVersion: string | null;
  /** Highest CUDA version of the driver, "13.0". */
  readonly cudaVersion: string | null;
  readonly simulated: boolean;
  readonly gpus: readonly NativeGpu[];
}

/** A kind of compute instance inside one GPU instance; `starts` is empty where the library cannot say. */
export interface NativeMigComputeProfile {
  readonly number: number;
  readonly id: number;
  readonly slices: number;
  readonly count: number;
  readonly starts: readonly number[];
}

export interface NativeMigProfile {
  readonly number: number;
  readonly id: number;
  readonly name: string | null;
  readonly slices: number;
  /** 0 and no starts: the placements could not be read. */
  readonly memorySlices: number;
  readonly count: number;
  readonly starts: readonly number[];
  readonly memoryMib: number | null;
  readonly multiprocessors: number | null;
  readonly copyEngines: number | null;
  readonly decoders: number | null;
  readonly encoders: number | null;
  readonly jpegs: number | null;
  readonly ofas: number | null;
}

export interface NativeMigGpuInstance {
  readonly id: number;
  readonly profile: number;
  readonly start: number;
  readonly size: number;
  readonly compute: readonly {
    readonly id: number;
    readonly profile: number;
    readonly slices: number;
    readonly start: number | null;
    readonly uuid: string | null;
    readonly pids: readonly number[];
  }[];
  readonly computeProfiles: readonly NativeMigComputeProfile[];
}

/** How a GPU is divided, and what it can be divided into; see native/gpu/nvml/mig_reading.h. The codes are NVML's. */
export interface NativeMigGpu {
  readonly uuid: string;
  readonly name: string;
  readonly pciAddress: string;
  readonly mode: boolean | null;
  readonly pending: boolean | null;
  readonly withoutReset: boolean | null;
  readonly modeCode: number;
  readonly profilesCode: number;
  readonly instancesCode: number;
  readonly pids: readonly number[];
  readonly profiles: readonly NativeMigProfile[];
  readonly instances: readonly NativeMigGpuInstance[];
}

export interface NativeMigSystem {
  readonly library: string;
  readonly driverVersion: string | null;
  readonly simulated: boolean;
  readonly gpus: readonly NativeMigGpu[];
}

/** One call that changes a GPU; complete, native has no defaults: what a kind does not need is 0. */
export interface NativeMigChange {
  readonly kind:
    | 'set-mode'
    | 'create-instance'
    | 'destroy-instance'
    | 'create-compute'
    | 'destroy-compute';
  readonly gpu: string;
  readonly enabled: boolean;
  readonly profile: number;
  readonly start: number;
  readonly size: number;
  readonly instance: number;
  readonly compute: number;
}

export interface NativeMigChangeResult {
  /** Of set-mode: not 0 when the mode is pending; NVML's code of why. */
  readonly activation: number;
  readonly created: number | null;
  readonly uuid: string | null;
}

/** A number of the driver; null with NVML's code where there is none. */
export interface NativePowerValue {
  readonly value: number | null;
  readonly code: number;
}

/** Power, clocks and persistence of a GPU; see native/gpu/nvml/power_reading.h. */
export interface NativePowerGpu {
  readonly uuid: string;
  readonly name: string;
  readonly pciAddress: string;
  /** 0 or 1. */
  readonly persistence: NativePowerValue;
  readonly limitRequestedMw: NativePowerValue;
  readonly limitEnforcedMw: NativePowerValue;
  readonly limitDefaultMw: NativePowerValue;
  readonly limitMinMw: NativePowerValue;
  readonly limitMaxMw: NativePowerValue;
  readonly drawMw: NativePowerValue;
  readonly energyMj: NativePowerValue;
  readonly smClockMhz: NativePowerValue;
  readonly memoryClockMhz: NativePowerValue;
  readonly smClockMaxMhz: NativePowerValue;
  readonly memoryClockMaxMhz: NativePowerValue;
  readonly eventReasons: NativePowerValue;
  readonly utilizationPercent: NativePowerValue;
  /** NVML's code of asking for supported clocks; 0 also where they were not asked for. */
  readonly supportedCode: number;
  readonly supportedMemoryMhz: readonly number[];
  readonly supportedSmMhz: readonly number[];
}

export interface NativePowerSystem {
  readonly library: string;
  readonly driverVersion: string | null;
  readonly simulated: boolean;
  readonly gpus: readonly NativePowerGpu[];
}

/** One call that changes a GPU; complete: what a kind does not need is 0. */
export interface NativePowerChange {
  readonly kind:
    | 'power-limit'
    | 'lock-sm'
    | 'reset-sm'
    | 'lock-memory'
    | 'reset-memory'
    | 'persistence';
  readonly gpu: string;
  readonly limitMw: number;
  readonly lowMhz: number;
  readonly highMhz: number;
  readonly enabled: boolean;
}

/** The clocks of this machine at one instant; see native/core/clock_anchor.h. */
export interface NativeClockAnchor {
  readonly monotonicNs: bigint;
  readonly realtimeNs: bigint;
  readonly boottimeNs: bigint;
  /** The three belong to one instant up to half of this. */
  readonly bracketNs: number;
  /** Of adjtimex: 0 synchronized, 1-4 a leap second, 5 not synchronized; null: the call is forbidden, see `error`. */
  readonly state: number | null;
  readonly error: number | null;
  readonly maxErrorNs: number | null;
}

/** One source as native code opens it. */
export interface NativeSourceRequest {
  readonly name: string;
  readonly instance: string;
  /** Prefix of every /proc, /sys and /dev path; empty on a real machine. */
  readonly root: string;
  readonly intervalNs: number;
  /** A source that cannot be opened for any reason is a state, not a failure. */
  readonly optional: boolean;
  readonly options: Readonly<Record<string, string>>;
}

export interface NativeSamplerOptions {
  readonly sources: readonly NativeSourceRequest[];
  readonly batchNs: number;
  readonly maxUndeliveredBytes: number;
  /** Open also when the machine has none of the sources, because there are others besides. */
  readonly mayLackAll: boolean;
}

/** A column as native/core/table.h describes it. */
export interface NativeColumn {
  readonly name: string;
  readonly type: 'time' | 'u64' | 'i64' | 'f64' | 'u32' | 'i32' | 'u8' | 'bool' | 'name' | 'nameId';
  readonly kind: 'key' | 'gauge' | 'counter' | 'state';
  readonly unit: string;
  readonly source: string;
  readonly nullable: boolean;
  readonly reason: string;
  readonly window: string;
}

/** A table of an opened sampler; its index in the list is the `table` of all other calls. */
export interface NativeTable {
  readonly name: string;
  readonly source: string;
  readonly kind: 'sample' | 'event' | 'span';
  readonly grain: string;
  readonly intervalNs: number;
  readonly simulated: boolean;
  /** The table of names that its ids point into; empty where it has none. Tables of one source may share it. */
  readonly names: string;
  readonly columns: readonly NativeColumn[];
}

/** A slab: `buffer` holds all columns for `capacity` rows, laid out as samplerLayout says. */
export interface NativeBatch {
  readonly table: number;
  readonly rows: number;
  readonly capacity: number;
  /** Ticks run and deadlines missed of this table, from its start to the last whole tick in this slab. */
  readonly ticks: number;
  readonly missed: number;
  readonly buffer: ArrayBuffer;
  /** Slabs and rows of this table lost since the slab before this one. */
  readonly droppedBatches: number;
  readonly droppedRows: number;
}

export interface NativeState {
  /** UTC, ns. */
  readonly time: bigint;
  readonly source: string;
  readonly table: string;
  readonly key: string;
  readonly field: string;
  readonly state: string;
  readonly reason: string;
  readonly code: number;
}

export interface NativeCost {
  readonly name: string;
  readonly calls: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
  readonly totalNs: number;
  readonly histogram: readonly { readonly upToNs: number; readonly calls: number }[];
}

export interface NativeSamplerStats {
  readonly tables: readonly {
    readonly rows: number;
    readonly ticks: number;
    readonly missed: number;
    readonly droppedBatches: number;
    readonly droppedRows: number;
    readonly costs: readonly NativeCost[];
  }[];
  readonly cpuNs: number;
  readonly undeliveredBytes: number;
  readonly memoryBytes: number;
  readonly deliveredBytes: number;
  readonly elapsedNs: number;
}

/** What traced processes are asked for, and the memory they share; see native/gpu/cupti/trace_buffer.h. */
export interface NativeTraceOptions {
  readonly bytes: number;
  /** Bits 1 << kind of native/gpu/cupti/trace_record.h. */
  readonly kinds: number;
  /** 0 none, 1 the copy calls, 2 all. */
  readonly api: number;
  readonly flushMs: number;
  /** Whether processes trace from their start on. */
  readonly tracing: boolean;
  /** Folder for processes that cannot open the memory; empty: none. */
  readonly dir: string;
}

export interface NativeTrace {
  readonly id: number;
  /** Descriptor of the memory: traced processes open /proc/PID/fd/FD. */
  readonly fd: number;
  readonly lanes: number;
  /** Records that a lane holds. */
  readonly laneRecords: number;
}

/** The native functions, exactly as C++ exports them. Only files of lib/ that name it in their header use it. */
export interface Binding {
  setErrorClass(errorClass: typeof WarpgaugeError): void;
  /** CLOCK_MONOTONIC in ns. */
  monotonicNs(): bigint;
  /** What to add to CLOCK_MONOTONIC to get UTC, ns; one number for the whole process. */
  utcOffsetNs(): bigint;

  // native/addon/clock_addon.cc
  readClockAnchor(): NativeClockAnchor;

  // native/addon/region_addon.cc
  allocateRegion(options: NativeRegionOptions): Promise<NativeRegion>;
  /** Detaches every window of the region that `buffer` belongs to and unmaps it. Idempotent. */
  releaseRegion(buffer: ArrayBuffer): void;
  proveRegion(buffer: ArrayBuffer): NativePageProof;

  // native/addon/copy_addon.cc: used by the copying child only; blocks the calling thread
  openBackend(options: NativeBackendOptions): NativeBackendInfo;
  runSample(spec: NativeSampleSpec): NativeSample;
  /** Pins the calling thread, asks for SIGKILL when the parent dies and checks that it is still `parentPid`. */
  enterChild(options: { readonly parentPid: number; readonly cpu: number }): void;

  // native/addon/gpu_addon.cc
  /**
   * The GPUs by NVML, each asked once; `path` overrides the search for libnvidia-ml when not empty, `root` is put
   * before /sys. Rejects with ERR_NO_DRIVER, ERR_LIBRARY_MISSING or ERR_NVML where there is nothing to ask. Takes as
   * long as the driver does: a caller that must go on sets its own time limit.
   */
  readGpus(path: string, root: string): Promise<NativeGpuSystem>;

  // native/addon/machine_addon.cc: system calls that Node has not
  /** flock, exclusive and without waiting: null when the lock is ours now, else errno (EWOULDBLOCK: another has it). */
  lockFile(fd: number): number | null;
  /** CPUs on which thread `tid` may run; 0 is the calling thread. */
  threadAffinity(tid: number): number[];
  setThreadAffinity(tid: number, cpus: readonly number[]): void;
  /** Of the calling thread; modes of native/memory/placement.h. */
  memoryPolicy(): { readonly mode: number; readonly nodes: readonly number[] };
  setMemoryPolicy(mode: number, nodes: readonly number[]): void;
  /** For this process and its children from here on. */
  setThpDisabled(disabled: boolean): void;
  /** Binds a region to a node and moves its pages there. */
  moveRegion(buffer: ArrayBuffer, node: number): void;
  /** Where at most `most` pages of a region lie; node -1: not there. */
  regionNodes(
    buffer: ArrayBuffer,
    most: number,
  ): readonly (readonly [node: number, pages: number])[];
  adviseRegion(buffer: ArrayBuffer, advice: number): void;

  // native/addon/mig_addon.cc: both initialize NVML for their own length and hold nothing in between
  /** All GPUs, or the one of `uuid`, as they are divided now. Errors as for readGpus. Changes nothing. */
  readMig(path: string, root: string, uuid: string): Promise<NativeMigSystem>;
  /**
   * One call of the driver that changes a GPU. Only the transaction of lib/mitigate/mig calls it, with the user's
   * consent and its intent on disk. Rejects with NVML's code as `status`.
   */
  changeMig(path: string, change: NativeMigChange): Promise<NativeMigChangeResult>;

  // native/addon/power_addon.cc: as those of MIG
  /** Needs no privilege and changes nothing. `clocks`: supported clocks too. */
  readPower(path: string, root: string, uuid: string, clocks: boolean): Promise<NativePowerSystem>;
  /** One call of the driver that changes a GPU. Only the transaction of lib/mitigate/power calls it. */
  changePower(path: string, change: NativePowerChange): Promise<void>;

  // native/addon/sampler_addon.cc: an id is a sampler of this environment, until it is released
  /**
   * Starts to open sources in the background. `onReady` is called when that has ended, when there are batches to
   * take and when a state changed; coalesced.
   */
  openSampler(options: NativeSamplerOptions, onReady: () => void): number;
  /** null while sources are being opened; throws why opening failed. */
  openedSampler(id: number): readonly NativeTable[] | null;
  /** CLOCK_MONOTONIC of tick 0. `durationNs` 0: until it is stopped. */
  startSampler(id: number, durationNs: number): bigint;
  /** Takes up to `most` batches, oldest first. */
  drainSampler(id: number, most: number): NativeBatch[];
  /** Gives the memory behind an ArrayBuffer back at once: views of it are empty from then on. */
  detachBuffer(buffer: ArrayBuffer): void;
  /** Two numbers per column: where its values and its validity bitmap begin; -1 for no bitmap. */
  samplerLayout(id: number, table: number, capacity: number): readonly number[];
  /** Names of a `name` or `nameId` column by code, from code `from`. */
  samplerNames(id: number, table: number, column: number, from: number): string[];
  samplerStates(id: number, from: number): NativeState[];
  /** The rows of the last whole tick; null before the first. */
  samplerLatest(id: number, table: number): NativeBatch | null;
  /** Cumulative counts of the codes 0 to keys - 1 of the first key column of an event table. */
  samplerEventCounts(id: number, table: number, keys: number): bigint[];
  /** null while sources are being opened. */
  samplerStats(id: number): NativeSamplerStats | null;
  pauseSampler(id: number, paused: boolean): void;
  /** Asks for what there is to be handed over, soon. */
  flushSampler(id: number): void;
  /** Whether the sampler keeps the process alive. */
  holdSampler(id: number, hold: boolean): void;
  /** Ends the threads, within a second even if a driver hangs; what was measured can be drained. Idempotent. */
  stopSampler(id: number): void;
  /** Stops and forgets. */
  releaseSampler(id: number): void;

  // native/addon/trace_addon.cc: an id is a trace of this environment, until it is released
  createTrace(options: NativeTraceOptions): NativeTrace;
  setTracing(id: number, tracing: boolean): void;
  /** A source that reads it keeps it until it is stopped. */
  releaseTrace(id: number): void;

  // native/addon/probe_addon.cc: for doctor; opens and closes, changes nothing
  /** dlopen only: never calls an init function. Path of the library, or the loader's reason as an error. */
  probeLibrary(names: readonly string[]): { readonly path: string } | { readonly reason: string };
  /** Opens one perf event for this thread: null when it works, else errno. */
  probePerfEvent(type: number, config: number, excludeKernel: boolean): number | null;
  /** io_uring_setup and close: null when it works, else errno. */
  probeIoUring(): number | null;
  /** PAGEMAP_SCAN on one page of our own: null when it works, else errno. */
  probePagemapScan(): number | null;
  /** MADV_POPULATE_WRITE on one page of our own: null when it works, else errno. */
  probePopulateWrite(): number | null;
  /** prctl(PR_GET_THP_DISABLE): 0 enabled, 1 disabled, 3 disabled except advised; negative errno. */
  thpDisabled(): number;
  /** Version of the C library in use, such as "2.36"; null where it is not glibc. */
  libcVersion(): string | null;
}

let loaded: Binding | undefined;

function isBinding(value: unknown): boolean {
  return typeof (value as Partial<Binding> | null)?.setErrorClass === 'function';
}

/** Loads the addon on first use; the error names every place that was tried and the fix. */
export function loadBinding(): Binding {
  if (loaded === undefined) {
    loaded = loadAddon(isBinding) as Binding;
    loaded.setErrorClass(WarpgaugeError);
  }
  return loaded;
}
