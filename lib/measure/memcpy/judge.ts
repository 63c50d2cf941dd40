/** Turns raw readings of the copying child into a sample, and says whether it may count. */
import type { NativePageProof, NativeSample } from '../../addon.ts';
import { formatBytes } from '../../units.ts';
import {
  type BackendName,
  type CellKind,
  type GpuReading,
  PAGE_BYTES,
  type PageProof,
  PHASES,
  type Phases,
  type Sample,
} from './types.ts';

/** getrusage times are sampled at the timer tick (4 ms at 250 Hz): below this they are mostly rounding. */
const MIN_CPU_TIME_NS = 20e6;

/** Clock event reasons that mean slower than asked: SW thermal, HW slowdown, HW thermal, HW power brake. */
const THROTTLE_BITS = 0x20 | 0x08 | 0x40 | 0x80;
/** GPU idle is no throttling. */
const GPU_IDLE_BIT = 0x01;

/** Faults of a cold sample may differ from bytes/page by this share (requirement R4), at least by 2. */
const COLD_FAULT_TOLERANCE = 0.02;
const WARM_FAULT_LIMIT = 2;

/** What was asked of the child, as far as judging needs it. */
export interface SampleContext {
  readonly op: 'HtoD' | 'DtoH' | 'vectorAdd' | 'touch' | 'populate' | 'pin';
  readonly kind: CellKind;
  readonly bytes: number;
  readonly cold: boolean;
  /** true when the timed region is the registration. */
  readonly registers: boolean;
  /** true when pinning faulted the pages in before the timed region began. */
  readonly faultedByPinning: boolean;
  readonly backend: BackendName;
  readonly block: number;
  readonly seq: number;
  readonly run: number;
}

function phasesOf(raw: NativeSample): Phases {
  return Object.fromEntries(
    PHASES.map((name) => [name, raw.phases[name] ?? null]),
  ) as unknown as Phases;
}

function proofOf(raw: NativePageProof | null, nodes: readonly number[]): PageProof | null {
  if (raw === null) return null;
  const sizes: [string, number][] = [
    ['4', raw.bytes4k],
    ['2048', raw.bytesThp + raw.bytes2m],
    ['1048576', raw.bytes1g],
    ['other', raw.bytesOther],
  ];
  return {
    verified_bytes_by_kb: Object.fromEntries(sizes.filter(([, bytes]) => bytes > 0)),
    zero_page_bytes: raw.bytesZero,
    absent_bytes: raw.bytesAbsent,
    node: nodes,
    method: raw.method,
  };
}

function gpuOf(raw: NativeSample): GpuReading | null {
  const { gpuBefore: before, gpuAfter: after } = raw;
  if (before === null || after === null) return null;
  return {
    sm_mhz: after.smMhz,
    memory_mhz: after.memoryMhz,
    pcie_gen: after.pcieGen,
    pcie_width: after.pcieWidth,
    replays:
      before.replays === null || after.replays === null ? null : after.replays - before.replays,
    throttle: after.throttle === null ? null : after.throttle & ~GPU_IDLE_BIT,
  };
}

/** Bytes of `proof` that are on pages of `kind`: how it is mapped and, for hugetlb, which size. */
function provenBytes(proof: NativePageProof, kind: CellKind): number {
  switch (kind) {
    case '4k':
    case '4k-split':
      return proof.bytes4k;
    case 'thp':
      return proof.bytesThp;
    case '2m':
      return proof.bytes2m;
    case '1g':
      return proof.bytes1g;
    case 'driver':
      return 0;
  }
}

/** Minor faults that the timed region must show; null where the states do not tell. */
export function expectedFaults(
  context: Pick<SampleContext, 'op' | 'kind' | 'bytes' | 'cold' | 'faultedByPinning'>,
): number | null {
  const page = PAGE_BYTES[context.kind];
  if (page === null || context.op === 'vectorAdd') return null;
  if (context.op === 'pin' || !context.cold || context.faultedByPinning) return 0;
  return Math.ceil(context.bytes / page);
}

function whyInvalid(raw: NativeSample, context: SampleContext): string | null {
  if (!raw.verified) {
    const page = Math.floor(raw.firstBadOffset / 4096);
    return `data mismatch at offset ${raw.firstBadOffset} (4 KB page ${page} of ${formatBytes(context.bytes)})`;
  }
  if (context.kind !== 'driver') {
    const page = context.kind === '4k-split' ? 2 * 1024 ** 2 : (PAGE_BYTES[context.kind] ?? 4096);
    const wanted = Math.ceil(context.bytes / page) * page;
    const after = raw.pageAfter;
    if (after === null || provenBytes(after, context.kind) < wanted) {
      return `page size not proven after the copy: ${after === null ? 0 : provenBytes(after, context.kind)} of ${wanted} bytes are on ${context.kind} pages`;
    }
    if (after.bytesZero > 0) return `${after.bytesZero} bytes are the shared zero page`;
  }
  if ((raw.compactStall ?? 0) > 0)
    return `the kernel compacted memory during the sample (compact_stall +${raw.compactStall})`;
  if ((raw.allocstall ?? 0) > 0)
    return `the kernel reclaimed memory during the sample (allocstall +${raw.allocstall})`;
  if (context.kind === 'thp' && (raw.thpFaultFallback ?? 0) > 0) {
    return `a huge page was refused during the sample (thp_fault_fallback +${raw.thpFaultFallback})`;
  }
  // A GPU driver allocates for itself on the same thread: exact counts hold for the host proxy alone.
  const expected = context.backend === 'host' ? expectedFaults(context) : null;
  if (expected !== null) {
    const allowed =
      expected === 0 ? WARM_FAULT_LIMIT : Math.max(2, expected * COLD_FAULT_TOLERANCE);
    if (Math.abs(raw.minfltThread - expected) > allowed) {
      return `${raw.minfltThread} page faults where ${expected} were expected`;
    }
  }
  const throttle = raw.gpuAfter?.throttle ?? 0;
  if ((throttle & THROTTLE_BITS) !== 0)
    return `the GPU was throttled (reasons 0x${throttle.toString(16)})`;
  return null;
}

/** One sample of the document. Invalid ones stay, with the reason. */
export function toSample(raw: NativeSample, context: SampleContext): Sample {
  const why = whyInvalid(raw, context);
  const longEnough = raw.hostNs >= MIN_CPU_TIME_NS;
  return {
    block: context.block,
    seq: context.seq,
    run: context.run,
    time_ns: raw.timeNs,
    t_host_ns: raw.hostNs,
    t_event_ns: raw.eventNs,
    user_ns: longEnough ? raw.userNs : null,
    sys_ns: longEnough ? raw.sysNs : null,
    faults_perf: raw.faultsPerf,
    faults_perf_scope: raw.faultsPerfScope,
    faults_perf_why: raw.faultsPerfWhy,
    minflt_thread: raw.minfltThread,
    majflt: raw.majfltThread,
    minflt_proc: raw.minfltProc,
    pins_approx: raw.pinsApprox,
    dtlb_miss: raw.dtlbMiss,
    dtlb_why: raw.dtlbWhy,
    steal_ns: raw.stealNs,
    vcsw: raw.vcsw,
    ivcsw: raw.ivcsw,
    vm: {
      compact_stall: raw.compactStall,
      allocstall: raw.allocstall,
      thp_fault_alloc: raw.thpFaultAlloc,
      thp_fault_fallback: raw.thpFaultFallback,
    },
    gpu: gpuOf(raw),
    phases_ns: phasesOf(raw),
    page_before: proofOf(raw.pageBefore, raw.numaNodes),
    page_after: proofOf(raw.pageAfter, raw.numaNodes),
    verified: raw.verified,
    verified_by: raw.verifiedBy,
    valid: why === null,
    why_invalid: why,
  };
}
