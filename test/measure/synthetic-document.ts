import {
  type BackendName,
  type Cell,
  type CellKey,
  type CellKind,
  type CellStats,
  type Comparison,
  cellId,
  type MemcpyDocument,
  PAGE_BYTES,
  type PageKind,
  type PageProof,
  type Phases,
  type Sample,
  type Verdict,
} from '#lib/measure/memcpy/types';

/**
 * A made-up result of the memcpy benchmark: every number comes from a seeded generator and a small cost
 * model, none from a machine. Tests of views, schema and statistics read it; `env.synthetic` marks it.
 */
export interface SyntheticOptions {
  readonly seed?: number;
  readonly blocks?: number;
  readonly backend?: BackendName;
  readonly sizes?: readonly number[];
  readonly kinds?: readonly PageKind[];
  /** Relative noise of a sample. */
  readonly noise?: number;
}

const KiB = 1024;
const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** Deterministic uniform numbers in [0, 1): mulberry32. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WARM_GBPS: Readonly<Record<CellKind, number>> = {
  '4k': 20,
  '4k-split': 23.2,
  thp: 24.4,
  '2m': 24.3,
  '1g': 23.9,
  driver: 52,
};
const FAULT_NS: Readonly<Record<CellKind, number>> = {
  '4k': 1450,
  '4k-split': 0,
  thp: 92_000,
  '2m': 83_000,
  '1g': 34e6,
  driver: 0,
};

function faultsOf(key: CellKey): number {
  const page = PAGE_BYTES[key.kind];
  return key.state === 'cold' && page !== null ? Math.ceil(key.bytes / page) : 0;
}

function timeOf(key: CellKey, gauss: number, noise: number): number {
  const copy = 900 + key.bytes / WARM_GBPS[key.kind];
  return Math.round((copy + faultsOf(key) * FAULT_NS[key.kind]) * Math.exp(noise * gauss));
}

function phases(part: Partial<Phases>): Phases {
  return {
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
    ...part,
  };
}

function proofOf(key: CellKey, written: boolean): PageProof {
  const page = PAGE_BYTES[key.kind] ?? 4096;
  const mapped = Math.ceil(key.bytes / page) * page;
  return {
    verified_bytes_by_kb: written ? { [String(page / KiB)]: mapped } : {},
    zero_page_bytes: 0,
    absent_bytes: written ? 0 : mapped,
    node: [0],
    method: 'PAGEMAP_SCAN + smaps',
  };
}

export function syntheticSample(
  key: CellKey,
  place: {
    block: number;
    seq: number;
    gauss: number;
    noise: number;
    timeNs: number;
    device: boolean;
  },
): Sample {
  const faults = faultsOf(key);
  const time = timeOf(key, place.gauss, place.noise);
  const long = time >= 20e6;
  const faultTime = Math.min(time, faults * FAULT_NS[key.kind]);
  const pinned = key.pin === 'register';
  const bytes = key.bytes;
  const transfer: Partial<Phases> =
    key.dir === 'vectorAdd'
      ? { copy_a: bytes / 24, copy_b: bytes / 24, kernel: bytes / 1600, copy_c: time }
      : { copy: time };
  const pinNs = pinned ? bytes / (PAGE_BYTES[key.kind] === 4096 ? 60 : 700) : null;
  const measured =
    key.state === 'cold' && key.dir === 'HtoD' ? { register: time, copy: null } : transfer;
  return {
    block: place.block,
    seq: place.seq,
    run: 0,
    time_ns: place.timeNs,
    t_host_ns: time,
    t_event_ns: place.device ? time - 1200 : null,
    user_ns: long ? time - faultTime : null,
    sys_ns: long ? faultTime : null,
    faults_perf: pinned && key.state === 'cold' ? 0 : faults,
    faults_perf_scope: 'user+kernel',
    faults_perf_why: null,
    minflt_thread: faults,
    majflt: 0,
    minflt_proc: faults + 1,
    pins_approx: pinned ? Math.ceil(bytes / 4096) : 0,
    dtlb_miss: null,
    dtlb_why: 'ENOENT',
    steal_ns: 0,
    vcsw: 1,
    ivcsw: place.block % 3,
    vm: {
      compact_stall: 0,
      allocstall: 0,
      thp_fault_alloc: key.kind === 'thp' ? faults : 0,
      thp_fault_fallback: 0,
    },
    gpu: place.device
      ? { sm_mhz: 1980, memory_mhz: 3201, pcie_gen: 5, pcie_width: 16, replays: 0, throttle: 0 }
      : null,
    phases_ns: phases({
      map: 4200,
      fault:
        key.state === 'warm'
          ? Math.ceil(bytes / (PAGE_BYTES[key.kind] ?? 4096)) * (FAULT_NS[key.kind] || 1450)
          : 0,
      condition: key.state === 'cold' ? bytes / 4 : null,
      flush: 3.1e6,
      ...measured,
      register: measured.register ?? pinNs,
      unregister: pinNs === null ? null : pinNs / 3,
      verify: bytes / 18,
      unmap: Math.max(3000, bytes / (PAGE_BYTES[key.kind] === 4096 ? 20 : 450)),
    }),
    page_before: proofOf(key, key.state === 'warm'),
    page_after: proofOf(key, true),
    verified: true,
    verified_by: key.dir === 'HtoD' ? 'replay' : 'compare',
    valid: true,
    why_invalid: null,
  };
}

function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}

/** Plain descriptive statistics, enough to look real; the library's own are tested elsewhere. */
export function syntheticStats(bytes: number, samples: readonly Sample[]): CellStats | null {
  const times = samples
    .filter((sample) => sample.valid)
    .map((sample) => sample.t_host_ns)
    .sort((a, b) => a - b);
  if (times.length === 0) return null;
  const median = quantile(times, 0.5);
  const mad = quantile(
    times.map((time) => Math.abs(time - median)).sort((a, b) => a - b),
    0.5,
  );
  return {
    n: times.length,
    n_invalid: samples.length - times.length,
    median_ns: median,
    median_gbps: bytes / median,
    mad_rel: mad / median,
    q1_ns: quantile(times, 0.25),
    q3_ns: quantile(times, 0.75),
    min_ns: quantile(times, 0),
    max_ns: quantile(times, 1),
    ci95_gbps: [bytes / quantile(times, 0.8), bytes / quantile(times, 0.2)],
    outliers: [],
    n_above_3x: times.filter((time) => time > 3 * median).length,
    bimodal: false,
  };
}

function medianPhases(samples: readonly Sample[]): Phases {
  const first = samples[0]?.phases_ns ?? phases({});
  const pairs = Object.keys(first).map((name) => {
    const values = samples
      .map((sample) => sample.phases_ns[name as keyof Phases])
      .filter((value) => value !== null)
      .sort((a, b) => a - b);
    return [name, values.length === 0 ? null : quantile(values, 0.5)] as const;
  });
  return phases(Object.fromEntries(pairs));
}

export function emptyCell(key: CellKey, part: Partial<Cell> = {}): Cell {
  const page = PAGE_BYTES[key.kind];
  return {
    ...key,
    id: cellId(key),
    metric:
      key.state === 'cold' && key.dir === 'HtoD'
        ? 'register'
        : key.dir === 'vectorAdd'
          ? 'total'
          : 'copy',
    legal: true,
    status: 'unavailable',
    reason: null,
    fix: null,
    error: null,
    page: {
      requested_kb: page === null ? null : page / KiB,
      verified_bytes_by_kb: null,
      zero_page_bytes: null,
      node: [],
      method: null,
      phys_run_pages: null,
      phys_run_why: 'not measured',
    },
    samples: [],
    stats: null,
    phases_ns: null,
    labels: [],
    cupti: null,
    cupti_why: 'the host proxy does not use the GPU',
    ...part,
  };
}

/** The legal cells of the plan, without samples. */
export function syntheticKeys(options: SyntheticOptions = {}): CellKey[] {
  const sizes = options.sizes ?? [64 * KiB, MiB, 16 * MiB, 64 * MiB];
  const kinds = options.kinds ?? (['4k', 'thp', '2m', '1g'] as const);
  const keys: CellKey[] = [];
  for (const bytes of sizes) {
    for (const kind of [...kinds, ...(kinds.includes('4k') ? (['4k-split'] as const) : [])]) {
      const split = kind === '4k-split';
      keys.push({ dir: 'HtoD', pin: 'none', state: 'warm', kind, bytes });
      keys.push({ dir: 'DtoH', pin: 'none', state: 'warm', kind, bytes });
      if (!split) keys.push({ dir: 'DtoH', pin: 'none', state: 'cold', kind, bytes });
      if (!split && bytes === 64 * MiB) {
        keys.push({ dir: 'HtoD', pin: 'register', state: 'cold', kind, bytes });
        keys.push({ dir: 'DtoH', pin: 'register', state: 'warm', kind, bytes });
      }
    }
  }
  if (options.sizes === undefined) {
    for (const kind of kinds)
      keys.push({ dir: 'DtoH', pin: 'none', state: 'cold', kind, bytes: GiB });
  }
  return keys;
}

/** Cells with raw samples in randomised complete blocks; the last one of 1 MiB warm thp is invalid. */
export function syntheticCells(options: SyntheticOptions = {}): Cell[] {
  const random = generator(options.seed ?? 42);
  const gauss = (): number =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const keys = syntheticKeys(options);
  const samples = new Map<string, Sample[]>(keys.map((key) => [cellId(key), []]));
  let seq = 0;
  let now = 7_200e9;
  for (let block = 0; block < (options.blocks ?? 10); block++) {
    const order = keys.map((key) => ({ key, at: random() })).sort((a, b) => a.at - b.at);
    for (const { key } of order) {
      const sample = syntheticSample(key, {
        block,
        seq: seq++,
        gauss: gauss(),
        noise: options.noise ?? 0.03,
        timeNs: now,
        device: options.backend === 'cuda',
      });
      now += sample.t_host_ns * 3 + 4e6;
      const spoiled =
        block === 3 && key.kind === 'thp' && key.state === 'warm' && key.bytes === MiB;
      samples.get(cellId(key))?.push(
        spoiled
          ? {
              ...sample,
              valid: false,
              why_invalid: 'pages changed during the copy: 512 KiB were no longer 2 MiB',
            }
          : sample,
      );
    }
  }
  return keys.map((key) => {
    const own = samples.get(cellId(key)) ?? [];
    const cold = key.state === 'cold';
    const proof = proofOf(key, true);
    return emptyCell(key, {
      status: 'ok',
      page: {
        requested_kb: (PAGE_BYTES[key.kind] ?? 0) / KiB,
        verified_bytes_by_kb: proof.verified_bytes_by_kb,
        zero_page_bytes: 0,
        node: [0],
        method: proof.method,
        phys_run_pages: key.kind === '4k' ? 1.7 : null,
        phys_run_why: key.kind === '4k' ? null : 'one page is one run',
      },
      samples: own,
      stats: syntheticStats(key.bytes, own),
      phases_ns: medianPhases(own),
      labels: cold ? [key.pin === 'register' ? 'faults-in-pinning' : 'faults'] : [],
      cupti: null,
      cupti_why: 'the host proxy does not use the GPU',
    });
  });
}

function comparisonsOf(cells: readonly Cell[]): Comparison[] {
  const byId = new Map(cells.map((cell) => [cell.id, cell]));
  return cells.flatMap((cell): Comparison[] => {
    const base = byId.get(cellId({ ...cell, kind: '4k' }));
    if (cell.kind === '4k' || !base?.stats || !cell.stats) return [];
    const speedup = base.stats.median_ns / cell.stats.median_ns;
    const ci: readonly [number, number] = [speedup * 0.97, speedup * 1.035];
    const adjusted: readonly [number, number] = [speedup * 0.95, speedup * 1.06];
    const inFamily =
      cell.bytes >= 16 * MiB &&
      cell.kind !== '4k-split' &&
      cell.pin === 'none' &&
      cell.bytes !== GiB;
    const verdict: Verdict = !inFamily
      ? 'none'
      : adjusted[0] > 1
        ? 'FASTER'
        : adjusted[1] < 1
          ? 'SLOWER'
          : 'AMBIGUOUS';
    const before = base.samples[0]?.minflt_thread ?? 0;
    const after = cell.samples[0]?.minflt_thread ?? 0;
    const decided = verdict === 'FASTER' || verdict === 'SLOWER';
    const cold = cell.state === 'cold';
    return [
      {
        a: base.id,
        b: cell.id,
        dir: cell.dir,
        pin: cell.pin,
        state: cell.state,
        bytes: cell.bytes,
        kind: cell.kind,
        metric: cell.metric,
        n_pairs: cell.stats.n,
        speedup,
        ci95: ci,
        ci_adjusted: inFamily ? adjusted : null,
        in_family: inFamily,
        method: 'paired-bootstrap-median',
        resamples: 10_000,
        verdict,
        verdict_reason: inFamily ? null : 'not in the verdict family',
        this_moment_only: decided && !cold,
        run_speedups: [speedup],
        total_speedup: cell.pin === 'register' ? speedup * 1.1 : null,
        cause: decided
          ? cold
            ? speedup > 1
              ? 'faults'
              : 'page-zeroing'
            : 'physical-layout'
          : null,
        share: decided ? 0.83 : null,
        share_ci95: decided ? [0.78, 0.9] : null,
        share_method: decided ? (cold ? 'touch-calibration' : '4k-split') : null,
        explanation: decided
          ? cold
            ? `${before} -> ${after} faults of ${before === 0 ? 0 : 1450} ns`
            : 'no faults, no pins; against 4k-split 1.05x'
          : null,
      },
    ];
  });
}

/** The whole document. */
export function syntheticDocument(options: SyntheticOptions = {}): MemcpyDocument {
  const cuda = options.backend === 'cuda';
  const measured = syntheticCells(options);
  const comparisons = comparisonsOf(measured);
  const unavailable: Cell[] = [
    ...(['HtoD', 'DtoH'] as const).map((dir) =>
      emptyCell(
        { dir, pin: 'hostalloc', state: 'warm', kind: 'driver', bytes: 64 * MiB },
        {
          reason: 'cuMemHostAlloc needs a CUDA device',
          fix: 'run on a machine with a CUDA device',
        },
      ),
    ),
    emptyCell(
      { dir: 'vectorAdd', pin: 'none', state: 'cold', kind: '4k', bytes: 64 * MiB },
      {
        reason: 'vectorAdd needs a CUDA device',
        fix: 'run on a machine with a CUDA device',
      },
    ),
    ...(['4k', 'thp'] as const).map((kind) =>
      emptyCell(
        { dir: 'DtoH', pin: 'register', state: 'cold', kind, bytes: 64 * MiB },
        {
          status: 'failed',
          reason: 'io_uring refused the registration',
          fix: 'ulimit -l unlimited',
          error: {
            code: 'ERR_IO_URING',
            message: 'io_uring_register: Cannot allocate memory',
            fix: 'ulimit -l unlimited',
            source: 'io_uring_register',
            status: 12,
          },
        },
      ),
    ),
    ...[64 * KiB, MiB].map((bytes) =>
      emptyCell(
        { dir: 'HtoD', pin: 'none', state: 'cold', kind: '2m', bytes },
        {
          legal: false,
          reason: 'an unwritten source reads the zero page, so a cold HtoD copy measures nothing',
        },
      ),
    ),
  ];
  const samples = measured.flatMap((cell) => cell.samples);
  return {
    schema: 'warpgauge/memcpy/1',
    tool: { version: '0.0.0-synthetic', git: null, dirty: null },
    argv: ['bench', 'memcpy', '--backend', cuda ? 'cuda' : 'host', '--reserve'],
    seed: options.seed ?? 42,
    started: '2001-02-03T04:05:06.789Z',
    duration_ns: 58_300_000_000,
    backend: cuda ? 'cuda' : 'host',
    proxy: !cuda,
    complete: true,
    interrupted: false,
    device: cuda
      ? {
          name: 'Simulated GPU',
          uuid: 'GPU-00000000-0000-0000-0000-000000000000',
          pci_address: '0000:17:00.0',
          compute_capability: '9.0',
          driver: '580.00',
          cuda: '13.0',
          memory_bytes: 141 * GiB,
          pcie_gen: 5,
          pcie_width: 16,
          ceiling_gbps: 63.02,
          numa_node: 0,
          pageable_access: false,
          host_page_tables: false,
          simulated: true,
        }
      : null,
    numa_node: 0,
    cpu: 1,
    env: {
      synthetic: true,
      kernel: '6.0.0-synthetic',
      hypervisor: 'kvm',
      page_reporting: true,
      cpu: { model: 'Synthetic CPU', governor: null, llc_bytes: 33_554_432 },
    },
    preflight: [
      { check: 'load', level: 'OK', value: '0.11', effect: null, fix: null },
      { check: 'steal', level: 'OK', value: '0 %', effect: null, fix: null },
      { check: 'memory', level: 'OK', value: '20.1 GiB available', effect: null, fix: null },
      {
        check: 'page reporting',
        level: 'WARN',
        value: 'free pages go back to the hypervisor',
        effect:
          'the first touch of memory that lay idle can cost 20 times more; every cold sample is conditioned first',
        fix: null,
      },
      {
        check: 'hugetlb 1g',
        level: 'NO',
        value: '0 pages',
        effect: '1g cells are unavailable',
        fix: "sudo sh -c 'echo 2 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages'",
      },
    ],
    design: {
      blocks: options.blocks ?? 10,
      blocks_asked: null,
      budget_ns: 60e9,
      stopped_by: 'budget',
      runs: 1,
      order: 'randomised-complete-block',
      conditioning: true,
      warmup: 1,
      fill: true,
      cache: 'flushed',
      staging_bytes: 4 * MiB,
      flush_bytes: 64 * MiB,
      unit: 'GB=1e9',
      ci_target: 0.05,
      illegal_cells: 2,
    },
    reserved: [{ page_bytes: 2 * MiB, node: null, pages: 512, returned: 512 }],
    n_invalid: samples.filter((sample) => !sample.valid).length,
    cells: [...measured, ...unavailable],
    calibrations: measured.slice(0, 1).map((cell) => ({
      id: `touch/4k/${16 * MiB}`,
      op: 'touch',
      kind: '4k',
      bytes: 16 * MiB,
      status: 'ok',
      reason: null,
      samples: cell.samples,
      stats: syntheticStats(16 * MiB, cell.samples),
    })),
    family: comparisons.filter((one) => one.in_family).map((one) => `${one.a} -> ${one.b}`),
    comparisons,
    model: (['4k', 'thp', '2m', '1g'] as const).map((kind) => ({
      kind,
      dir: 'DtoH',
      pin: 'none',
      ns_per_fault: kind === '1g' ? null : FAULT_NS[kind],
      gbps: kind === '1g' ? null : WARM_GBPS[kind],
      r2: kind === '1g' ? null : 0.998,
      why: kind === '1g' ? 'every size below 1 GiB takes one fault' : null,
    })),
    break_even: [
      { dir: 'DtoH', pin: 'none', state: 'cold', kind: '2m', bytes: 512 * KiB, why: null },
      {
        dir: 'DtoH',
        pin: 'none',
        state: 'cold',
        kind: '1g',
        bytes: null,
        why: '1g is slower at every size up to 64 MiB',
      },
    ],
    answers: [
      {
        dir: 'HtoD',
        text: 'Larger pages make warm HtoD copies 1.2x faster at 16-64 MiB at this moment; most of it is physical layout.',
        how: "await mitigate.allocate({ bytes, pages: 'thp' })",
      },
      {
        dir: 'DtoH',
        text: 'A fresh destination on 2 MB pages is 5x faster at 16-64 MiB, because it takes 512 times fewer faults.',
        how: "await mitigate.allocate({ bytes, pages: '2m' })",
      },
    ],
    reproduce: `warpgauge bench memcpy --backend ${cuda ? 'cuda' : 'host'} --seed ${options.seed ?? 42} --blocks 10 --reserve`,
    warnings: ['the load average rose above 1 in block 7'],
  };
}
