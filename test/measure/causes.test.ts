import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explain } from '#lib/measure/memcpy/causes';
import { compareFamily } from '#lib/measure/memcpy/comparisons';
import { labelsOf } from '#lib/measure/memcpy/counters';
import { createRandom } from '#lib/measure/memcpy/random';
import type {
  BackendName,
  Calibration,
  Cell,
  CellKind,
  Comparison,
} from '#lib/measure/memcpy/types';
import {
  type CellParts,
  calibration,
  cell,
  faultsOf,
  GiB,
  MiB,
  noisyTimes,
  type SampleParts,
  samples,
} from './synthetic.ts';

const BLOCKS = 12;

interface Side extends CellParts {
  readonly kind: CellKind;
  /** True median, ms. */
  readonly ms: number;
  readonly counters?: SampleParts;
}

interface Scene {
  readonly sides: readonly Side[];
  /** Other mappings measured in the same blocks: operation, kind, ms. */
  readonly costs?: readonly (readonly [Calibration['op'], CellKind, number, number?])[];
  readonly backend?: BackendName;
  readonly ceilingGbps?: number;
  readonly sigma?: number;
}

/** All series of a scene share their blocks and get 3 % noise. The first side is 4k, the second is compared to it. */
function judge(scene: Scene): Comparison {
  const { sides, costs = [], sigma = 0.03 } = scene;
  const means = [...sides.map((side) => side.ms * 1e6), ...costs.map(([, , ms]) => ms * 1e6)];
  const times = noisyTimes(
    means,
    BLOCKS,
    { sigma, walk: 0.02 },
    createRandom(JSON.stringify(scene)),
  );
  const cells = sides.map(({ counters, ...side }, i) =>
    cell(side, samples(times[i] ?? [], { ...faultCounters(side), ...counters })),
  );
  const calibrations = costs.map(([op, kind, , bytes], i) => {
    const size = bytes ?? sides[0]?.bytes ?? 64 * MiB;
    const faults = op === 'pin' ? 0 : faultsOf(kind, size);
    return calibration(
      op,
      kind,
      size,
      samples(times[sides.length + i] ?? [], { minflt_thread: faults }),
    );
  });
  const [a, b] = cells as [Cell, Cell];
  const [line] = compareFamily([{ a, b }], { resamples: 1000, alpha: 0.05, seed: 1 });
  assert.ok(line);
  return explain(line, {
    cells,
    calibrations,
    backend: scene.backend ?? 'host',
    ceilingGbps: scene.ceilingGbps ?? null,
    seed: 1,
    resamples: 1000,
  });
}

function faultCounters(side: Side): SampleParts {
  if (side.state === 'warm') return {};
  const faults = faultsOf(side.kind, side.bytes ?? 64 * MiB);
  return { minflt_thread: faults, faults_perf: faults };
}

const within = (line: Comparison, low: number, high: number) =>
  assert.ok(
    line.share !== null && line.share >= low && line.share <= high,
    `share ${line.share} is not in [${low}, ${high}]: ${line.explanation}`,
  );

describe('causes of cold cells', () => {
  // Times of the facts page: 64 MiB, DtoH, 4 KB fault 1.6 us, 2 MB fault 170 us.
  const cold = (kind: CellKind, ms: number, rest: Partial<Side> = {}): Side => ({
    kind,
    ms,
    state: 'cold',
    ...rest,
  });

  it('are faults when touching the pages costs most of the gap', () => {
    const line = judge({
      sides: [cold('4k', 30), cold('2m', 5.3)],
      costs: [
        ['touch', '4k', 26],
        ['touch', '2m', 5],
      ],
    });
    assert.equal(line.verdict, 'FASTER');
    assert.equal(line.cause, 'faults');
    within(line, 0.75, 0.95);
    assert.ok(line.share_ci95 && line.share_ci95[0] >= 0.5);
    assert.match(line.share_method ?? '', /^touch of other mappings in the same blocks$/);
    assert.match(line.explanation ?? '', /^16384 -> 32 faults; .* \d+ % \[\d+, \d+\] of the gap$/);
  });

  it('say "all of the gap" above 1, with the numbers as they are', () => {
    const line = judge({
      sides: [cold('4k', 30), cold('2m', 5.3)],
      costs: [
        ['touch', '4k', 33],
        ['touch', '2m', 5],
      ],
    });
    within(line, 1.02, 1.3);
    assert.match(line.explanation ?? '', /all of the gap \(1\d\d % \[/);
  });

  it('are unexplained when the touch costs too little, with the candidate named', () => {
    const line = judge({
      sides: [cold('4k', 30), cold('2m', 5.3)],
      costs: [
        ['touch', '4k', 10],
        ['touch', '2m', 3],
      ],
    });
    assert.equal(line.cause, 'unexplained');
    within(line, 0.2, 0.4);
    assert.match(line.explanation ?? '', /faults is the candidate, but .* not surely half/);
  });

  it('are unexplained when the interval of the share reaches below half, however large the share', () => {
    const line = judge({
      sides: [cold('4k', 12), cold('2m', 10)],
      costs: [
        ['touch', '4k', 11.6],
        ['touch', '2m', 10],
      ],
      sigma: 0.05,
    });
    assert.equal(line.verdict, 'FASTER');
    assert.ok((line.share ?? 0) > 0.5, `${line.share}`);
    assert.ok(line.share_ci95 && line.share_ci95[0] < 0.5);
    assert.equal(line.cause, 'unexplained');
  });

  it('are unexplained without a calibration, and say which is missing', () => {
    const line = judge({ sides: [cold('4k', 30), cold('2m', 5.3)], costs: [['touch', '4k', 26]] });
    assert.equal(line.cause, 'unexplained');
    assert.equal(line.share, null);
    assert.equal(line.share_method, null);
    assert.match(line.explanation ?? '', /no touch calibration of 2m in this run/);
  });

  it('scale a calibration of another size by the faults, and say so', () => {
    const line = judge({
      sides: [cold('4k', 30), cold('2m', 5.3)],
      costs: [
        ['touch', '4k', 26 / 4, 16 * MiB],
        ['touch', '2m', 5],
      ],
    });
    assert.equal(line.cause, 'faults');
    within(line, 0.75, 0.95);
    assert.match(line.share_method ?? '', /scaled: 4k from 16 MiB/);
  });

  it('are page-zeroing for a small copy into a 1 GB page', () => {
    const line = judge({
      sides: [cold('4k', 0.548, { bytes: MiB }), cold('1g', 33.9, { bytes: MiB })],
      costs: [
        ['touch', '4k', 0.42],
        ['touch', '1g', 34],
      ],
    });
    assert.equal(line.verdict, 'SLOWER');
    assert.equal(line.cause, 'page-zeroing');
    within(line, 0.9, 1.1);
    assert.match(
      line.explanation ?? '',
      /^256 -> 1 faults, but 1 GiB of pages are zeroed for 1 MiB of data/,
    );
  });

  it('are not faults when fewer faults and no more zeroing go with a slower copy', () => {
    const line = judge({
      sides: [cold('4k', 30), cold('thp', 60)],
      costs: [
        ['touch', '4k', 26],
        ['touch', 'thp', 5],
      ],
    });
    assert.equal(line.verdict, 'SLOWER');
    assert.equal(line.cause, 'unexplained');
    assert.match(line.explanation ?? '', /no counter tells the two apart \(faults 16384 -> 32/);
  });

  it('are faults in pinning when getrusage sees every page and perf none', () => {
    const pinned = (kind: CellKind, ms: number): Side => ({
      kind,
      ms,
      dir: 'HtoD',
      pin: 'register',
      state: 'cold',
      metric: 'register',
      counters: { faults_perf: 0, pins_approx: 16368 },
    });
    const scene: Scene = {
      sides: [pinned('4k', 19), pinned('2m', 5.2)],
      costs: [
        ['populate', '4k', 17],
        ['populate', '2m', 5.1],
        // A touch cost that would explain nothing: it must not be the one that is used.
        ['touch', '4k', 5.1],
        ['touch', '2m', 5],
      ],
    };
    const line = judge(scene);
    assert.equal(line.cause, 'faults-in-pinning');
    within(line, 0.75, 1);
    assert.match(line.share_method ?? '', /^populate/);
    assert.match(line.explanation ?? '', /all inside pinning, where perf sees none/);
    // Without perf the pins tell.
    const blind = judge({
      ...scene,
      sides: scene.sides.map((side) => ({
        ...side,
        counters: { faults_perf: null, faults_perf_why: 'EACCES', pins_approx: 16400 },
      })),
    });
    assert.equal(blind.cause, 'faults-in-pinning');
    // With neither, nobody knows where the faults were taken, and the sentence says so.
    const dark = judge({
      ...scene,
      sides: scene.sides.map((side) => ({
        ...side,
        counters: { faults_perf: null, faults_perf_why: 'EACCES', pins_approx: null },
      })),
      costs: [
        ['touch', '4k', 17],
        ['touch', '2m', 5],
      ],
    });
    assert.equal(dark.cause, 'faults');
    assert.match(dark.explanation ?? '', /perf cannot say/);
  });
});

describe('causes of warm cells', () => {
  const warm = (kind: CellKind, ms: number, counters: SampleParts = {}): Side => ({
    kind,
    ms,
    state: 'warm',
    counters,
  });

  it('are the physical layout where 4k-split closes the gap', () => {
    const line = judge({ sides: [warm('4k', 4), warm('thp', 3), warm('4k-split', 3.15)] });
    assert.equal(line.verdict, 'FASTER');
    assert.equal(line.cause, 'physical-layout');
    within(line, 0.75, 0.95);
    assert.match(line.explanation ?? '', /^no faults, no pins; .*4k-split.* close \d+ %/);
  });

  it('are translation where 4k-split does not, and page walks only where dTLB misses were counted', () => {
    const sides = (counters: SampleParts[]) => [
      warm('4k', 4, counters[0]),
      warm('thp', 3, counters[1]),
      warm('4k-split', 3.9),
    ];
    const blind = judge({ sides: sides([]) });
    assert.equal(blind.cause, 'translation');
    within(blind, 0.75, 1.05);
    assert.match(blind.explanation ?? '', /dTLB misses not counted \(ENOENT/);
    assert.doesNotMatch(blind.explanation ?? '', /page walks/);
    const counted = judge({
      sides: sides([
        { dtlb_miss: 16500, dtlb_why: null },
        { dtlb_miss: 40, dtlb_why: null },
      ]),
    });
    assert.equal(counted.cause, 'translation');
    assert.match(counted.explanation ?? '', /page walks: 16500 -> 40 dTLB misses/);
  });

  it('are unexplained without the control, and where the control splits the gap in half', () => {
    const without = judge({ sides: [warm('4k', 4), warm('thp', 3)] });
    assert.equal(without.cause, 'unexplained');
    assert.match(without.explanation ?? '', /no 4k-split cell of 64 MiB/);
    const half = judge({ sides: [warm('4k', 4), warm('thp', 3), warm('4k-split', 3.5)] });
    assert.equal(half.cause, 'unexplained');
    assert.match(half.explanation ?? '', /is the candidate, but/);
  });

  it('are unexplained for a backend that is slower with no counter moving', () => {
    const line = judge({ sides: [warm('4k', 3), warm('thp', 4), warm('4k-split', 3)] });
    assert.equal(line.verdict, 'SLOWER');
    assert.equal(line.cause, 'unexplained');
    // Slow against 4k and against 4k-split alike: what remains is not called translation without counts.
    assert.match(line.explanation ?? '', /physical-layout is the candidate/);
    // Cold, the same: equal faults on both sides.
    const cold = judge({
      sides: [
        { kind: '4k', ms: 30, state: 'cold' },
        { kind: '4k', ms: 40, state: 'cold', id: 'slower copy of the same' },
      ],
      costs: [['touch', '4k', 26]],
    });
    assert.equal(cold.verdict, 'SLOWER');
    assert.equal(cold.cause, 'unexplained');
    assert.match(cold.explanation ?? '', /no counter tells the two apart/);
  });

  it('are pinning where the driver pins a written buffer', () => {
    const pins = { pins_approx: 16384 };
    const scene: Scene = {
      sides: [warm('4k', 4, pins), warm('thp', 2.7, pins)],
      costs: [
        ['pin', '4k', 1.4],
        ['pin', 'thp', 0.08],
      ],
    };
    const line = judge(scene);
    assert.equal(line.cause, 'pinning');
    within(line, 0.8, 1.2);
    assert.match(line.explanation ?? '', /about 16384 and 16384 pages of 4 KB pinned/);
    const uncalibrated = judge({ sides: scene.sides });
    assert.equal(uncalibrated.cause, 'unexplained');
    assert.match(
      uncalibrated.explanation ?? '',
      /pinning is the candidate.*no pin calibration of 4k/,
    );
  });

  it('are the link where both reach it, on a GPU alone', () => {
    const sides = [
      { ...warm('4k', 64 / 26), pin: 'register' as const },
      { ...warm('2m', 64 / 26), pin: 'register' as const },
    ];
    const line = judge({ sides, backend: 'cuda', ceilingGbps: 31.5, sigma: 0.005 });
    assert.equal(line.verdict, 'SAME');
    assert.equal(line.cause, 'link-bound');
    assert.match(line.explanation ?? '', /8\d % and 8\d % of 31.5 GB\/s/);
    assert.equal(judge({ sides, backend: 'host', sigma: 0.005 }).cause, null);
    assert.equal(judge({ sides, backend: 'cuda', sigma: 0.005 }).cause, null);
    assert.equal(judge({ sides, backend: 'cuda', ceilingGbps: 63, sigma: 0.005 }).cause, null);
  });

  it('do not exist where there is no winner', () => {
    const line = judge({ sides: [warm('4k', 3), warm('thp', 3)], sigma: 0.1 });
    assert.equal(line.verdict, 'AMBIGUOUS');
    assert.equal(line.cause, null);
    assert.equal(line.explanation, null);
  });
});

describe('labelsOf', () => {
  const labels = (
    side: CellParts,
    counters: SampleParts,
    times = new Array<number>(10).fill(1e6),
  ) => labelsOf(cell(side, samples(times, counters)));

  it('are read from the counters', () => {
    const faults = { minflt_thread: 16384, faults_perf: 16384 };
    assert.deepEqual(labels({ state: 'cold' }, faults), ['cold']);
    assert.deepEqual(labels({ state: 'warm' }, { minflt_thread: 2 }), ['warm']);
    assert.deepEqual(labels({ state: 'cold' }, { ...faults, faults_perf: 0 }), [
      'cold',
      'faults-in-pinning',
    ]);
    assert.deepEqual(labels({ state: 'warm' }, { pins_approx: 16368 }), ['warm', 'pinning']);
    assert.deepEqual(labels({ kind: '1g', bytes: MiB }, { minflt_thread: 1, faults_perf: 1 }), [
      'cold',
      'page-zeroing',
    ]);
    assert.deepEqual(labels({ kind: '1g', bytes: GiB }, { minflt_thread: 1, faults_perf: 1 }), [
      'cold',
    ]);
    assert.deepEqual(labels({ state: 'warm' }, { minflt_thread: 900 }), ['partly-faulted']);
  });

  it('name bimodal cells and cells without a valid sample', () => {
    const times = [...new Array<number>(9).fill(90e6), 980e6];
    assert.deepEqual(labels({ state: 'warm' }, {}, times), ['warm', 'bimodal']);
    assert.deepEqual(labels({}, { valid: false, why_invalid: 'x' }), []);
  });

  it('does not call a small copy pinned because other processes pin a page', () => {
    for (const pins_approx of [0, 16, 64]) {
      assert.deepEqual(labels({ state: 'warm', bytes: 64 * 1024 }, { pins_approx }), ['warm']);
    }
  });
});
