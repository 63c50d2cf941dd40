/** Made-up cells for the tests and tables of the statistics: what is put in is known, so what must come out is. */
import { createRandom, type Random } from '#lib/measure/memcpy/random';
import type {
  BackendName,
  Calibration,
  Cell,
  CellKind,
  Direction,
  PageState,
  Phases,
  Pin,
  Sample,
} from '#lib/measure/memcpy/types';
import { cellId, PAGE_BYTES } from '#lib/measure/memcpy/types';

export type { BackendName };
export const MiB: number = 2 ** 20;
export const GiB: number = 2 ** 30;

const NO_PHASES: Phases = {
  map: null,
  fault: null,
  condition: null,
  flush: null,
  register: null,
  copy: null,
  copy_a: null,
  copy_b: null,
  kernel: null,
  copy_c: null,
  verify: null,
  unregister: null,
  unmap: null,
};

export type SampleParts = Partial<Omit<Sample, 'phases_ns'>> & { phases_ns?: Partial<Phases> };

export function sample(parts: SampleParts): Sample {
  const { phases_ns, ...rest } = parts;
  return {
    block: 0,
    seq: 0,
    run: 0,
    time_ns: 0,
    t_host_ns: 1e6,
    t_event_ns: null,
    user_ns: null,
    sys_ns: null,
    faults_perf: 0,
    faults_perf_scope: 'user+kernel',
    faults_perf_why: null,
    minflt_thread: 0,
    majflt: 0,
    minflt_proc: 0,
    pins_approx: 0,
    dtlb_miss: null,
    dtlb_why: 'ENOENT: no dTLB events in this guest',
    steal_ns: 0,
    vcsw: 0,
    ivcsw: 0,
    vm: { compact_stall: 0, allocstall: 0, thp_fault_alloc: 0, thp_fault_fallback: 0 },
    gpu: null,
    page_before: null,
    page_after: null,
    verified: true,
    verified_by: 'compare',
    valid: true,
    why_invalid: null,
    ...rest,
    phases_ns: { ...NO_PHASES, ...phases_ns },
  };
}

/** Samples of blocks 0 ... n-1 of one run with these times. */
export function samples(times: readonly number[], parts: SampleParts = {}): Sample[] {
  return times.map((t_host_ns, block) => sample({ block, seq: block, t_host_ns, ...parts }));
}

export interface CellParts {
  readonly dir?: Direction;
  readonly pin?: Pin;
  readonly state?: PageState;
  readonly kind?: CellKind;
  readonly bytes?: number;
  readonly metric?: Cell['metric'];
  readonly status?: Cell['status'];
  readonly reason?: string | null;
  readonly id?: string;
}

export function cell(parts: CellParts, of: readonly Sample[]): Cell {
  const key = {
    dir: parts.dir ?? 'DtoH',
    pin: parts.pin ?? 'none',
    state: parts.state ?? 'cold',
    kind: parts.kind ?? '4k',
    bytes: parts.bytes ?? 64 * MiB,
  } as const;
  return {
    ...key,
    id: parts.id ?? cellId(key),
    metric: parts.metric ?? 'copy',
    legal: true,
    status: parts.status ?? 'ok',
    reason: parts.reason ?? null,
    fix: null,
    error: null,
    page: {
      requested_kb: (PAGE_BYTES[key.kind] ?? 0) / 1024,
      verified_bytes_by_kb: null,
      zero_page_bytes: 0,
      node: [],
      method: 'PAGEMAP_SCAN',
      phys_run_pages: null,
      phys_run_why: 'needs root',
    },
    samples: of,
    stats: null,
    phases_ns: null,
    labels: [],
    cupti: null,
    cupti_why: 'the host proxy does not use the GPU',
  };
}

export function calibration(
  op: Calibration['op'],
  kind: CellKind,
  bytes: number,
  of: readonly Sample[],
): Calibration {
  const id = `${op}/${kind}/${bytes}`;
  return { id, op, kind, bytes, status: 'ok', reason: null, samples: of, stats: null };
}

export function faultsOf(kind: CellKind, bytes: number): number {
  return Math.ceil(bytes / (PAGE_BYTES[kind] ?? 4096));
}

/** What disturbs the times of an experiment. Shares are standard deviations of the logarithm. */
export interface Noise {
  readonly sigma: number;
  /** Chance of a sample that is slower by an exponential amount of mean `outlierSize`, and only slower. */
  readonly outliers?: number;
  readonly outlierSize?: number;
  /** What all cells of a block share: a slope over the run, a random walk, a step after 40 %. */
  readonly slope?: number;
  readonly walk?: number;
  readonly step?: number;
}

export const NOISES: Readonly<Record<string, Noise>> = {
  'lognormal 5 %': { sigma: 0.05 },
  'lognormal 10 %': { sigma: 0.1 },
  '5 %, one-sided outliers': { sigma: 0.05, outliers: 0.08, outlierSize: 0.4 },
  '5 %, outliers, drift 15 %': {
    sigma: 0.05,
    outliers: 0.05,
    outlierSize: 0.4,
    slope: 0.15,
    walk: 0.03,
  },
  '5 %, outliers, step 15 %': { sigma: 0.05, outliers: 0.05, outlierSize: 0.4, step: 0.15 },
};

/** Times of several series measured in the same blocks: `[series][block]`; `means` are their true medians. */
export function noisyTimes(
  means: readonly number[],
  blocks: number,
  noise: Noise,
  random: Random,
): number[][] {
  const gauss = gaussian(random);
  const series = means.map(() => [] as number[]);
  let walk = 0;
  for (let block = 0; block < blocks; block++) {
    walk += (noise.walk ?? 0) * gauss();
    const step = block >= 0.4 * blocks ? (noise.step ?? 0) : 0;
    const shared = walk + step + ((noise.slope ?? 0) * block) / blocks;
    means.forEach((mean, k) => {
      let log = shared + noise.sigma * gauss();
      if (random.next() < (noise.outliers ?? 0)) {
        log -= Math.log(1 - random.next()) * (noise.outlierSize ?? 0);
      }
      series[k]?.push(mean * Math.exp(log));
    });
  }
  return series;
}

export function gaussian(random: Random): () => number {
  let spare: number | null = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
    const angle = 2 * Math.PI * random.next();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/**
 * Sixteen comparisons as in a full family: five groups of thp, 2m and 1g against one 4k cell, and one more. All
 * cells take `factor` times 1 ms, except that the first pair's `b` is faster by `speedup`.
 */
export function syntheticFamily(
  seed: number | string,
  blocks: number,
  noise: Noise,
  speedup = 1,
): { a: Cell; b: Cell }[] {
  const random = createRandom(seed);
  const means = Array.from({ length: 22 }, (_, i) => (i === 1 ? 1e6 / speedup : 1e6));
  const times = noisyTimes(means, blocks, noise, random);
  const pairs: { a: Cell; b: Cell }[] = [];
  for (let group = 0; group < 6; group++) {
    const bytes = (group + 1) * MiB;
    const of = (slot: number) => samples(times[group * 4 + slot] ?? []);
    const a = cell({ state: 'warm', bytes }, of(0));
    for (const [i, kind] of (['thp', '2m', '1g'] as const).entries()) {
      if (pairs.length < 16) pairs.push({ a, b: cell({ state: 'warm', bytes, kind }, of(i + 1)) });
    }
  }
  return pairs;
}
