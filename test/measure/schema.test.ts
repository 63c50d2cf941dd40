import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { analyse } from '#lib/measure/memcpy/analyse';
import type {
  Answer,
  BreakEven,
  Calibration,
  Cause,
  Cell,
  CellKind,
  CellStats,
  Comparison,
  CostModel,
  DeviceInfo,
  Direction,
  GpuReading,
  MemcpyDocument,
  PageProof,
  PageState,
  Phases,
  Pin,
  PreflightLine,
  ReservedPool,
  Sample,
  Verdict,
} from '#lib/measure/memcpy/types';
import { syntheticDocument } from './synthetic-document.ts';

interface Definition {
  readonly properties: Readonly<Record<string, Definition>>;
  readonly required: readonly string[];
  readonly additionalProperties: boolean;
  readonly enum: readonly string[];
  readonly $defs: Readonly<Record<string, Definition>>;
}

const schema = JSON.parse(
  readFileSync(new URL('../../../../schemas/memcpy-1.schema.json', import.meta.url), 'utf8'),
) as Definition;
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
const validate = ajv.compile(schema);

/** A copy of the synthetic document, as a parsed JSON file, to be spoiled. */
// biome-ignore lint/suspicious/noExplicitAny: the point is to write what the types forbid
function parsed(): any {
  return JSON.parse(JSON.stringify(syntheticDocument({ blocks: 3 })));
}

/** Exactly the keys of T: the compiler rejects a list that misses one or has one too many. */
type Keys<T> = Record<keyof T, true>;
const keysOf = <T>(keys: Keys<T>): string[] => Object.keys(keys).sort();
const propertiesOf = (definition: Definition): string[] =>
  Object.keys(definition.properties).sort();

test('a document of either backend is valid', () => {
  for (const backend of ['host', 'cuda'] as const) {
    assert.equal(
      validate(JSON.parse(JSON.stringify(syntheticDocument({ blocks: 3, backend })))),
      true,
      JSON.stringify(validate.errors?.slice(0, 3)),
    );
  }
});

test('results recorded from real machines are valid', () => {
  const folder = new URL('../../../../test/fixtures/memcpy/', import.meta.url);
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  assert.ok(files.length > 0);
  for (const file of files) {
    assert.equal(
      validate(JSON.parse(readFileSync(new URL(file, folder), 'utf8'))),
      true,
      `${file}: ${JSON.stringify(validate.errors?.slice(0, 3))}`,
    );
  }
});

test('what the analysis adds is valid', () => {
  const document = syntheticDocument({ blocks: 4 });
  const { cells, calibrations, seed, backend } = document;
  const analysis = analyse({
    cells,
    calibrations,
    seed,
    backend,
    runs: 1,
    blocks: 4,
    resamples: 100,
  });
  assert.equal(
    validate(JSON.parse(JSON.stringify({ ...document, ...analysis }))),
    true,
    JSON.stringify(validate.errors?.slice(0, 3)),
  );
});

test('a document without a single cell is valid', () => {
  assert.equal(
    validate({
      ...parsed(),
      cells: [],
      comparisons: [],
      family: [],
      calibrations: [],
      answers: [],
    }),
    true,
  );
});

test('intervals are null where there are too few samples', () => {
  const document = parsed();
  document.cells[0].stats.ci95_gbps = null;
  document.comparisons[0].ci95 = null;
  assert.equal(validate(document), true);
});

// biome-ignore lint/suspicious/noExplicitAny: see parsed
const spoil: Record<string, (document: any) => void> = {
  'a missing field of the document': (document) => delete document.seed,
  'a missing field of a sample': (document) => delete document.cells[0].samples[0].minflt_thread,
  'an unknown field of a cell': (document) => {
    document.cells[0].colour = 'red';
  },
  'a number as text': (document) => {
    document.cells[0].stats.median_gbps = '55.6';
  },
  '"N/A" where a number is absent': (document) => {
    document.cells[0].samples[0].dtlb_miss = 'N/A';
  },
  'null for a number that is always there': (document) => {
    document.cells[0].samples[0].t_host_ns = null;
  },
  'a negative time': (document) => {
    document.cells[0].samples[0].t_host_ns = -1;
  },
  'an unknown verdict': (document) => {
    document.comparisons[0].verdict = 'QUICKER';
  },
  'an unknown cause': (document) => {
    document.comparisons[0].cause = 'magic';
  },
  'an unknown page kind': (document) => {
    document.cells[0].kind = 'hugetlb2m';
  },
  'an interval with one end': (document) => {
    document.comparisons[0].ci95 = [1.2];
  },
  'another schema name': (document) => {
    document.schema = 'warpgauge/memcpy/2';
  },
  'a local time': (document) => {
    document.started = '2001-02-03 04:05';
  },
  'an unavailable cell without a reason': (document) => {
    const cell = document.cells.find((one: Cell) => one.status === 'unavailable');
    cell.reason = null;
  },
  'an invalid sample without a reason': (document) => {
    document.cells[0].samples[0].valid = false;
  },
  'a phase that does not exist': (document) => {
    document.cells[0].phases_ns.think = 1;
  },
  'a page size that is not a number': (document) => {
    document.cells[0].page.verified_bytes_by_kb = { huge: 4096 };
  },
};

for (const [what, change] of Object.entries(spoil)) {
  test(`${what} is rejected`, () => {
    const document = parsed();
    change(document);
    assert.equal(validate(document), false);
  });
}

test('the environment record is open', () => {
  assert.equal(validate({ ...parsed(), env: { anything: ['at', { all: null }] } }), true);
});

test('schema and types name the same fields', () => {
  const definitions = schema.$defs;
  const expected: Record<string, string[]> = {
    answer: keysOf<Answer>({ dir: true, text: true, how: true }),
    breakEven: keysOf<BreakEven>({
      dir: true,
      pin: true,
      state: true,
      kind: true,
      bytes: true,
      why: true,
    }),
    calibration: keysOf<Calibration>({
      id: true,
      op: true,
      kind: true,
      bytes: true,
      status: true,
      reason: true,
      samples: true,
      stats: true,
    }),
    cell: keysOf<Cell>({
      dir: true,
      pin: true,
      state: true,
      kind: true,
      bytes: true,
      id: true,
      metric: true,
      legal: true,
      status: true,
      reason: true,
      fix: true,
      error: true,
      page: true,
      samples: true,
      stats: true,
      phases_ns: true,
      labels: true,
      cupti: true,
      cupti_why: true,
    }),
    comparison: keysOf<Comparison>({
      a: true,
      b: true,
      dir: true,
      pin: true,
      state: true,
      bytes: true,
      kind: true,
      metric: true,
      n_pairs: true,
      speedup: true,
      ci95: true,
      ci_adjusted: true,
      in_family: true,
      method: true,
      resamples: true,
      verdict: true,
      verdict_reason: true,
      this_moment_only: true,
      run_speedups: true,
      total_speedup: true,
      cause: true,
      share: true,
      share_ci95: true,
      share_method: true,
      explanation: true,
    }),
    costModel: keysOf<CostModel>({
      kind: true,
      dir: true,
      pin: true,
      ns_per_fault: true,
      gbps: true,
      r2: true,
      why: true,
    }),
    device: keysOf<DeviceInfo>({
      name: true,
      uuid: true,
      pci_address: true,
      compute_capability: true,
      driver: true,
      cuda: true,
      memory_bytes: true,
      pcie_gen: true,
      pcie_width: true,
      ceiling_gbps: true,
      numa_node: true,
      pageable_access: true,
      host_page_tables: true,
      simulated: true,
    }),
    gpuReading: keysOf<GpuReading>({
      sm_mhz: true,
      memory_mhz: true,
      pcie_gen: true,
      pcie_width: true,
      replays: true,
      throttle: true,
    }),
    pageProof: keysOf<PageProof>({
      verified_bytes_by_kb: true,
      zero_page_bytes: true,
      absent_bytes: true,
      node: true,
      method: true,
    }),
    phases: keysOf<Phases>({
      map: true,
      fault: true,
      condition: true,
      flush: true,
      register: true,
      copy: true,
      copy_a: true,
      copy_b: true,
      kernel: true,
      copy_c: true,
      verify: true,
      unregister: true,
      unmap: true,
    }),
    preflightLine: keysOf<PreflightLine>({
      check: true,
      level: true,
      value: true,
      effect: true,
      fix: true,
    }),
    reservedPool: keysOf<ReservedPool>({
      page_bytes: true,
      node: true,
      pages: true,
      returned: true,
    }),
    sample: keysOf<Sample>({
      block: true,
      seq: true,
      run: true,
      time_ns: true,
      t_host_ns: true,
      t_event_ns: true,
      user_ns: true,
      sys_ns: true,
      faults_perf: true,
      faults_perf_scope: true,
      faults_perf_why: true,
      minflt_thread: true,
      majflt: true,
      minflt_proc: true,
      pins_approx: true,
      dtlb_miss: true,
      dtlb_why: true,
      steal_ns: true,
      vcsw: true,
      ivcsw: true,
      vm: true,
      gpu: true,
      phases_ns: true,
      page_before: true,
      page_after: true,
      verified: true,
      verified_by: true,
      valid: true,
      why_invalid: true,
    }),
    stats: keysOf<CellStats>({
      n: true,
      n_invalid: true,
      median_ns: true,
      median_gbps: true,
      mad_rel: true,
      q1_ns: true,
      q3_ns: true,
      min_ns: true,
      max_ns: true,
      ci95_gbps: true,
      outliers: true,
      n_above_3x: true,
      bimodal: true,
    }),
  };
  for (const [name, keys] of Object.entries(expected)) {
    const definition = definitions[name];
    assert.ok(definition, name);
    assert.deepEqual(propertiesOf(definition), keys, name);
    // Absent in results of before CUPTI was asked.
    const required = keys.filter((key) => name !== 'cell' || !key.startsWith('cupti'));
    assert.deepEqual([...definition.required].sort(), required, `${name} required`);
    assert.equal(definition.additionalProperties, false, name);
  }
  const document = keysOf<MemcpyDocument>({
    schema: true,
    tool: true,
    argv: true,
    seed: true,
    started: true,
    duration_ns: true,
    backend: true,
    proxy: true,
    complete: true,
    interrupted: true,
    device: true,
    numa_node: true,
    cpu: true,
    env: true,
    preflight: true,
    design: true,
    reserved: true,
    n_invalid: true,
    cells: true,
    calibrations: true,
    family: true,
    comparisons: true,
    model: true,
    break_even: true,
    answers: true,
    reproduce: true,
    warnings: true,
  });
  assert.deepEqual(propertiesOf(schema), document);
  const { design } = schema.properties;
  assert.ok(design);
  assert.deepEqual(
    propertiesOf(design),
    keysOf<MemcpyDocument['design']>({
      blocks: true,
      blocks_asked: true,
      budget_ns: true,
      stopped_by: true,
      runs: true,
      order: true,
      conditioning: true,
      warmup: true,
      fill: true,
      cache: true,
      staging_bytes: true,
      flush_bytes: true,
      unit: true,
      ci_target: true,
      illegal_cells: true,
    }),
  );
});

test('schema and types name the same words', () => {
  const definitions = schema.$defs;
  const words: Record<string, string[]> = {
    direction: keysOf<Record<Direction, true>>({ HtoD: true, DtoH: true, vectorAdd: true }),
    state: keysOf<Record<PageState, true>>({ cold: true, warm: true }),
    pin: keysOf<Record<Pin, true>>({ none: true, register: true, hostalloc: true }),
    kind: keysOf<Record<CellKind, true>>({
      '4k': true,
      thp: true,
      '2m': true,
      '1g': true,
      '4k-split': true,
      driver: true,
    }),
    verdict: keysOf<Record<Verdict, true>>({
      FASTER: true,
      SLOWER: true,
      SAME: true,
      AMBIGUOUS: true,
      none: true,
    }),
    cause: keysOf<Record<Cause, true>>({
      faults: true,
      'page-zeroing': true,
      'faults-in-pinning': true,
      pinning: true,
      'physical-layout': true,
      translation: true,
      'link-bound': true,
      unexplained: true,
    }),
    metric: keysOf<Record<Cell['metric'], true>>({ copy: true, register: true, total: true }),
    status: keysOf<Record<Cell['status'], true>>({ ok: true, unavailable: true, failed: true }),
  };
  for (const [name, list] of Object.entries(words)) {
    assert.deepEqual([...(definitions[name]?.enum ?? [])].sort(), list, name);
  }
});
