import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareCells, compareFamily, widestInterval } from '#lib/measure/memcpy/comparisons';
import { allPairs, chooseFamily, pairId } from '#lib/measure/memcpy/family';
import { createRandom } from '#lib/measure/memcpy/random';
import type {
  Cell,
  CellKind,
  Comparison,
  Direction,
  PageState,
  Pin,
} from '#lib/measure/memcpy/types';
import {
  cell,
  GiB,
  MiB,
  NOISES,
  type Noise,
  noisyTimes,
  sample,
  samples,
  syntheticFamily,
} from './synthetic.ts';

const OPTIONS = { resamples: 1000, alpha: 0.05, seed: 1 };

function pairOf(timesA: readonly number[], timesB: readonly number[], state: PageState = 'cold') {
  return {
    a: cell({ kind: '4k', state }, samples(timesA)),
    b: cell({ kind: '2m', state }, samples(timesB)),
  };
}

/** Ten or more blocks with 2 % noise; b is `ratio` times as fast. */
function ratioPair(ratio: number, blocks = 20, sigma = 0.02, state: PageState = 'cold') {
  const times = noisyTimes(
    [1e6, 1e6 / ratio],
    blocks,
    { sigma },
    createRandom(`${ratio}/${blocks}`),
  );
  return pairOf(times[0] ?? [], times[1] ?? [], state);
}

function compare({ a, b }: { a: Cell; b: Cell }, adjustedAlpha: number | null = 0.05): Comparison {
  const result = compareCells(a, b, { ...OPTIONS, adjustedAlpha });
  assert.ok(result);
  return result;
}

describe('verdicts', () => {
  it('are FASTER, SLOWER and SAME where the interval says so', () => {
    assert.equal(compare(ratioPair(5)).verdict, 'FASTER');
    assert.equal(compare(ratioPair(0.2)).verdict, 'SLOWER');
    assert.equal(compare(ratioPair(1, 40, 0.01)).verdict, 'SAME');
    const ambiguous = compare(ratioPair(1.01, 10, 0.1));
    assert.equal(ambiguous.verdict, 'AMBIGUOUS');
    assert.match(ambiguous.verdict_reason ?? '', /contains 1/);
  });

  it('say SAME before FASTER: a real gain of 1 % is no gain', () => {
    const result = compare(ratioPair(1.012, 40, 0.003));
    assert.ok(result.ci_adjusted && result.ci_adjusted[0] > 1);
    assert.equal(result.verdict, 'SAME');
  });

  it('are the median of the ratios of the blocks, b over a', () => {
    const result = compare(pairOf([10, 20, 30, 40, 50], [5, 10, 15, 20, 25]));
    assert.ok(Math.abs(result.speedup - 2) < 1e-12);
    assert.equal(result.n_pairs, 5);
    assert.ok(
      result.ci95 && Math.abs(result.ci95[0] - 2) < 1e-9,
      'what a block does to both cancels',
    );
  });

  it('need ten pairs; below, there are ratios and intervals', () => {
    const nine = compare(ratioPair(5, 9));
    assert.equal(nine.verdict, 'none');
    assert.match(nine.verdict_reason ?? '', /9 pairs; a verdict needs 10/);
    assert.ok(nine.ci95 && nine.ci95[0] > 1);
    assert.equal(compare(ratioPair(5, 10)).verdict, 'FASTER');
    const two = compare(ratioPair(5, 2));
    assert.equal(two.ci95, null);
    assert.ok(two.speedup > 4);
  });

  it('are none for a bimodal cell, and say what was seen', () => {
    const slow = [82, 82, 84, 86, 87, 92, 97, 102, 85, 980].map((ms) => ms * 1e6);
    const fast = slow.map(() => 10e6);
    for (const pair of [pairOf(slow, fast), pairOf(fast, slow)]) {
      const result = compare(pair);
      assert.equal(result.verdict, 'none');
      assert.match(result.verdict_reason ?? '', /bimodal: 1 of 10 samples are above 3x/);
    }
  });

  it('leave invalid samples out, pair what is left, and are none when too many are invalid', () => {
    const pair = ratioPair(5, 14);
    const spoil = (of: Cell, blocks: readonly number[]) => ({
      ...of,
      samples: of.samples.map((s) =>
        blocks.includes(s.block)
          ? { ...s, t_host_ns: 1e12, valid: false, why_invalid: 'compaction' }
          : s,
      ),
    });
    const some = compare({ a: spoil(pair.a, [3]), b: spoil(pair.b, [7, 8]) });
    assert.equal(some.n_pairs, 11);
    assert.equal(some.verdict, 'FASTER');
    assert.ok(some.speedup < 6);
    const many = compare({ a: pair.a, b: spoil(pair.b, [1, 2, 3]) });
    assert.equal(many.verdict, 'none');
    assert.match(many.verdict_reason ?? '', /3 of 14 samples of .* are invalid/);
  });

  it('compare nothing when no block has both', () => {
    const { a, b } = ratioPair(2);
    const moved = { ...b, samples: b.samples.map((s) => ({ ...s, block: s.block + 100 })) };
    assert.equal(compareCells(a, moved, { ...OPTIONS, adjustedAlpha: null }), null);
  });

  it('do not exist outside the family', () => {
    const result = compare(ratioPair(5), null);
    assert.equal(result.verdict, 'none');
    assert.equal(result.in_family, false);
    assert.equal(result.ci_adjusted, null);
    assert.ok(result.ci95);
  });

  it('of warm cells hold for this moment when there was one run', () => {
    assert.equal(compare(ratioPair(1.3, 20, 0.02, 'warm')).this_moment_only, true);
    assert.equal(compare(ratioPair(1.3, 20, 0.02, 'cold')).this_moment_only, false);
  });

  it('of several runs reach as far as the runs did', () => {
    const runs = [1.1, 1.3, 1.6].map((ratio) => ratioPair(ratio, 10, 0.01, 'warm'));
    const merge = (side: 'a' | 'b') => ({
      ...(runs[0] as { a: Cell; b: Cell })[side],
      samples: runs.flatMap((pair, run) => pair[side].samples.map((s) => ({ ...s, run }))),
    });
    const result = compare({ a: merge('a'), b: merge('b') });
    assert.equal(result.run_speedups.length, 3);
    assert.equal(result.n_pairs, 30);
    assert.equal(result.this_moment_only, false);
    const mean = Math.cbrt(result.run_speedups.reduce((p, r) => p * r, 1));
    assert.ok(Math.abs(result.speedup - mean) < 1e-9);
    assert.ok(result.ci95 && result.ci95[0] <= Math.min(...result.run_speedups));
    assert.ok(result.ci95 && result.ci95[1] >= Math.max(...result.run_speedups));
    assert.equal(result.verdict, 'FASTER');
    assert.match(result.method, /range of 3 runs/);
    // Runs that disagree about the sign give no winner, however tight each of them is.
    const flip = [0.9, 1.2].map((ratio) => ratioPair(ratio, 20, 0.005, 'warm'));
    const flipped = (side: 'a' | 'b') => ({
      ...(flip[0] as { a: Cell; b: Cell })[side],
      samples: flip.flatMap((pair, run) => pair[side].samples.map((s) => ({ ...s, run }))),
    });
    assert.equal(compare({ a: flipped('a'), b: flipped('b') }).verdict, 'AMBIGUOUS');
  });

  it('give the total of register, copy and unregister beside the copy', () => {
    const of = (register: number, copy: number, unregister: number, kind: CellKind) =>
      cell(
        { kind, pin: 'register', state: 'warm' },
        samples(new Array<number>(10).fill(copy), { phases_ns: { register, copy, unregister } }),
      );
    const result = compare({ a: of(60, 30, 10, '4k'), b: of(10, 30, 10, 'thp') });
    assert.equal(result.speedup, 1);
    assert.ok(Math.abs((result.total_speedup ?? 0) - 2) < 1e-9);
    assert.equal(compare(ratioPair(2)).total_speedup, null);
    // Cold HtoD registration has no copy phase.
    const cold = (register: number, kind: CellKind) =>
      cell(
        { kind, dir: 'HtoD', pin: 'register', state: 'cold', metric: 'register' },
        samples(new Array<number>(10).fill(register), { phases_ns: { register, unregister: 10 } }),
      );
    const total = compare({ a: cold(90, '4k'), b: cold(10, '2m') }).total_speedup;
    assert.ok(Math.abs((total ?? 0) - 5) < 1e-9);
  });

  it('repeat with the seed, whatever else is compared', () => {
    const pair = ratioPair(1.2);
    const alone = compareFamily([pair], OPTIONS)[0];
    assert.deepEqual(alone, compareFamily([pair], OPTIONS)[0]);
    const other = { a: pair.a, b: cell({ kind: '1g' }, pair.b.samples) };
    assert.deepEqual(alone?.ci95, compareFamily([other, pair], OPTIONS)[1]?.ci95);
    assert.notDeepEqual(alone?.ci95, compareFamily([pair], { ...OPTIONS, seed: 2 })[0]?.ci95);
  });
});

describe('the family correction', () => {
  it('widens with the number of lines, and less for what is left after clear lines (Holm)', () => {
    const width = (c: Comparison | undefined) =>
      Math.log((c?.ci_adjusted?.[1] ?? 0) / (c?.ci_adjusted?.[0] ?? 0));
    const line = ratioPair(1.03, 10, 0.05);
    const clear = (i: number) => {
      const pair = ratioPair(5, 10);
      return { a: pair.a, b: cell({ kind: '2m', bytes: i }, pair.b.samples) };
    };
    const unclear = (i: number) => ({
      a: line.a,
      b: cell({ kind: '2m', bytes: i }, line.b.samples),
    });
    const alone = compareFamily([line], OPTIONS)[0];
    const among = (make: (i: number) => { a: Cell; b: Cell }) =>
      compareFamily([line, ...Array.from({ length: 15 }, (_, i) => make(i + 1))], OPTIONS)[0];
    assert.ok(width(among(unclear)) > 1.4 * width(alone));
    assert.ok(Math.abs(width(among(clear)) - width(alone)) < 1e-9);
    assert.deepEqual(alone?.ci95, among(clear)?.ci95);
  });

  it('makes at most 6 % of 2,000 A/A runs say FASTER or SLOWER anywhere in 16 lines', () => {
    const names = Object.keys(NOISES);
    const wrong = new Map(names.map((name) => [name, 0]));
    const runs = 2000;
    let wrongLines = 0;
    for (let run = 0; run < runs; run++) {
      const name = names[run % names.length] as string;
      const pairs = syntheticFamily(`aa/${run}`, 10, NOISES[name] as Noise);
      const lines = compareFamily(pairs, { resamples: 200, alpha: 0.05, seed: run });
      const bad = lines.filter(
        ({ verdict }) => verdict === 'FASTER' || verdict === 'SLOWER',
      ).length;
      wrongLines += bad;
      if (bad > 0) wrong.set(name, (wrong.get(name) ?? 0) + 1);
    }
    const total = [...wrong.values()].reduce((sum, n) => sum + n, 0);
    assert.ok(total <= 0.06 * runs, `${total} of ${runs} runs: ${JSON.stringify([...wrong])}`);
    assert.ok(wrongLines <= (0.05 * runs * 16) / 4, `${wrongLines} of ${runs * 16} lines`);
    for (const [name, n] of wrong) {
      // A fifth of the runs each: 6 % plus three standard deviations of 400 draws.
      assert.ok(n <= 38, `${name}: ${n} of ${runs / names.length}`);
    }
  });

  it('finds +10 % at 30 blocks in 34 of 40 runs of a line by itself', () => {
    for (const sigma of [0.03, 0.05, 0.07]) {
      let found = 0;
      for (let run = 0; run < 40; run++) {
        const times = noisyTimes(
          [1e6, 1.1e6],
          30,
          { sigma, outliers: 0.05, outlierSize: 0.3, slope: 0.05, walk: 0.01 },
          createRandom(`power/${sigma}/${run}`),
        );
        const result = compareCells(
          cell({ kind: '4k' }, samples(times[0] ?? [])),
          cell({ kind: '2m' }, samples(times[1] ?? [])),
          { resamples: 500, alpha: 0.05, seed: run, adjustedAlpha: 0.05 },
        );
        if (result?.verdict === 'SLOWER') found++;
      }
      assert.ok(found >= 34, `noise ${sigma}: ${found} of 40`);
    }
  });
});

describe('chooseFamily', () => {
  const sizes = [64 * 1024, MiB, 16 * MiB, 64 * MiB];
  const KINDS = ['4k', 'thp', '2m', '1g'] as const;
  function grid(kinds: readonly CellKind[] = KINDS, cuda = false): Cell[] {
    const cells: Cell[] = [];
    const add = (
      dir: Direction,
      pin: Pin,
      state: PageState,
      bytes: number,
      metric?: Cell['metric'],
    ) => {
      for (const kind of kinds) {
        cells.push(
          cell({ dir, pin, state, bytes, kind, metric: metric ?? 'copy' }, samples([1, 2, 3])),
        );
      }
    };
    for (const bytes of sizes) {
      add('DtoH', 'none', 'cold', bytes);
      add('DtoH', 'none', 'warm', bytes);
      add('HtoD', 'none', 'warm', bytes);
      if (cuda) add('vectorAdd', 'none', 'cold', bytes, 'total');
    }
    add('DtoH', 'none', 'cold', GiB);
    add('HtoD', 'register', 'cold', 64 * MiB, 'register');
    add('HtoD', 'register', 'warm', 64 * MiB);
    add('DtoH', 'register', 'warm', 64 * MiB);
    cells.push(cell({ kind: '4k-split', state: 'warm' }, samples([1, 2, 3])));
    return cells;
  }
  const ids = (cells: readonly Cell[]) => chooseFamily(cells).map(({ b }) => b.id);

  it('takes the headline lines of the default grid, and stops at 16', () => {
    assert.deepEqual(ids(grid()), [
      'dtoh/none/cold/thp/1073741824',
      'dtoh/none/cold/2m/1073741824',
      'dtoh/none/cold/1g/1073741824',
      'dtoh/none/warm/thp/67108864',
      'dtoh/none/warm/2m/67108864',
      'dtoh/none/warm/1g/67108864',
      'htod/none/warm/thp/67108864',
      'htod/none/warm/2m/67108864',
      'htod/none/warm/1g/67108864',
      'htod/register/cold/thp/67108864',
      'htod/register/cold/2m/67108864',
      'htod/register/cold/1g/67108864',
      'dtoh/none/cold/thp/67108864',
      'dtoh/none/cold/2m/67108864',
      'dtoh/none/cold/1g/67108864',
      'dtoh/none/cold/thp/16777216',
    ]);
    assert.equal(ids(grid(KINDS, true)).length, 16);
    assert.ok(ids(grid(KINDS, true)).includes('vectoradd/none/cold/thp/67108864'));
  });

  it('fills up with more sizes where pools are missing, and never takes what was not measured', () => {
    const family = ids(grid(['4k', 'thp']));
    assert.equal(family.length, 16);
    assert.ok(family.includes('dtoh/none/cold/thp/65536'));
    assert.ok(family.includes('dtoh/register/warm/thp/67108864'));
    assert.deepEqual(ids(grid(['4k'])), []);
    assert.deepEqual(ids(grid(['thp', '2m'])), []);
    const failed = grid().map((c) =>
      c.kind === '1g' ? { ...c, status: 'unavailable' as const } : c,
    );
    assert.ok(ids(failed).every((id) => !id.includes('/1g/')));
    const empty = grid().map((c) =>
      c.kind === 'thp'
        ? { ...c, samples: c.samples.map((s) => sample({ ...s, valid: false })) }
        : c,
    );
    assert.ok(ids(empty).every((id) => !id.includes('/thp/')));
  });

  it('prefers a size that all kinds have', () => {
    const cells = grid().filter((c) => !(c.bytes === GiB && c.kind === '1g'));
    assert.equal(ids(cells)[0], 'dtoh/none/cold/thp/67108864');
  });

  it('does not look at times', () => {
    const slower = grid().map((c) => ({ ...c, samples: samples([9e9, 1, 5e5]) }));
    assert.deepEqual(ids(slower), ids(grid()));
  });

  it('leaves the rest to the matrix, with the control kind', () => {
    const pairs = allPairs(grid());
    assert.ok(pairs.some(({ b }) => b.kind === '4k-split'));
    assert.ok(pairs.every(({ a, b }) => a.kind === '4k' && a.bytes === b.bytes && b.kind !== '4k'));
    assert.equal(new Set(pairs.map(pairId)).size, pairs.length);
  });
});

describe('widestInterval', () => {
  it('is the widest relative half-width, and falls with more blocks', () => {
    const stop = { seed: 1, resamples: 400 };
    const narrow = ratioPair(1, 20, 0.01);
    const wide = ratioPair(1.5, 20, 0.1);
    const widest = widestInterval([narrow, wide], stop);
    assert.equal(widest, widestInterval([wide], stop));
    assert.ok(widest > 0.04 && widest < 0.2, `${widest}`);
    assert.ok(widestInterval([ratioPair(1.5, 80, 0.1)], stop) < 0.7 * widest);
    assert.equal(widestInterval([ratioPair(1, 2)], stop), Number.POSITIVE_INFINITY);
  });

  it('does not depend on who wins', () => {
    const { a, b } = ratioPair(1.5, 20, 0.1);
    const stop = { seed: 1, resamples: 20_000 };
    const [forth, back] = [
      widestInterval([{ a, b }], stop),
      widestInterval([{ a: b, b: a }], stop),
    ];
    assert.ok(Math.abs(forth / back - 1) < 0.05, `${forth} ${back}`);
  });
});
