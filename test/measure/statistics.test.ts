import assert from 'node:assert/strict';
import { it, describe as suite } from 'node:test';
import { bootstrap, interval, median } from '#lib/measure/memcpy/bootstrap';
import { createRandom } from '#lib/measure/memcpy/random';
import { bimodality, describe, quantile } from '#lib/measure/memcpy/statistics';
import { tQuantile, tTwoSided } from '#lib/measure/memcpy/student-t';
import { gaussian, MiB, NOISES, noisyTimes, sample, samples } from './synthetic.ts';

const near = (actual: number | undefined, expected: number, tolerance: number) =>
  assert.ok(
    actual !== undefined && Math.abs(actual - expected) <= tolerance,
    `${actual} is not ${expected} +/- ${tolerance}`,
  );

suite('quantiles', () => {
  it('are those of R and NumPy (type 7)', () => {
    const sorted = [1, 2, 4, 8, 16, 32];
    assert.equal(quantile(sorted, 0), 1);
    assert.equal(quantile(sorted, 0.25), 2.5);
    assert.equal(quantile(sorted, 0.5), 6);
    assert.equal(quantile(sorted, 0.9), 24);
    assert.equal(quantile(sorted, 1), 32);
    assert.equal(quantile([7], 0.3), 7);
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.ok(Number.isNaN(median([])));
  });
});

suite("Student's t", () => {
  it('has the quantiles of the printed tables', () => {
    // Two-sided 5 % and 0.1 %, from any table.
    for (const [degrees, t05, t001] of [
      [1, 12.706, 636.62],
      [2, 4.303, 31.599],
      [9, 2.262, 4.781],
      [10, 2.228, 4.587],
      [29, 2.045, 3.659],
      [120, 1.98, 3.373],
    ] as const) {
      near(tQuantile(0.05, degrees), t05, 0.0006 * t05);
      near(tQuantile(0.001, degrees), t001, 0.0006 * t001);
    }
  });

  it('inverts itself at the level of a family of 16', () => {
    for (const degrees of [2, 9, 18, 39, 400]) {
      near(tTwoSided(tQuantile(0.05 / 16, degrees), degrees), 0.05 / 16, 1e-12);
    }
    assert.equal(tTwoSided(0, 5), 1);
  });
});

suite('describe', () => {
  it('says what the samples are, and leaves invalid ones out', () => {
    const of = [
      ...samples([8e6, 9e6, 10e6, 11e6, 12e6]),
      sample({ block: 5, seq: 5, t_host_ns: 99e6, valid: false, why_invalid: 'compaction' }),
    ];
    const stats = describe(of, 10e6);
    assert.ok(stats);
    assert.deepEqual(
      { ...stats, ci95_gbps: null },
      {
        n: 5,
        n_invalid: 1,
        median_ns: 10e6,
        median_gbps: 1,
        mad_rel: 0.1,
        q1_ns: 9e6,
        q3_ns: 11e6,
        min_ns: 8e6,
        max_ns: 12e6,
        ci95_gbps: null,
        outliers: [],
        n_above_3x: 0,
        bimodal: false,
      },
    );
    assert.ok(stats.ci95_gbps && stats.ci95_gbps[0] < 1 && stats.ci95_gbps[1] > 1);
  });

  it('has nothing to say about no valid sample, and no interval below three', () => {
    assert.equal(describe([], 1), null);
    assert.equal(describe([sample({ valid: false, why_invalid: 'x' })], 1), null);
    assert.equal(describe(samples([1e6, 2e6]), 1)?.ci95_gbps, null);
    assert.ok(describe(samples([1e6, 2e6, 3e6]), 1)?.ci95_gbps);
  });

  it('names outliers by seq and keeps them', () => {
    const stats = describe(samples([100, 101, 99, 100, 102, 98, 100, 101, 99, 140]), 1);
    assert.deepEqual(stats?.outliers, [9]);
    assert.equal(stats?.max_ns, 140);
    assert.equal(stats?.n, 10);
    // More than half equal: the MAD is 0 and must not make everything else an outlier by division.
    assert.deepEqual(describe(samples([5, 5, 5, 5, 5, 5, 5, 5, 5, 90]), 1)?.outliers, [9]);
    assert.deepEqual(describe(samples([5, 5, 5]), 1)?.outliers, []);
  });

  it('gives the same interval for the same seed, and another for another', () => {
    const of = samples(noisyTimes([1e6], 12, { sigma: 0.05 }, createRandom(1))[0] ?? []);
    assert.deepEqual(describe(of, MiB, { seed: 1 }), describe(of, MiB, { seed: 1 }));
    assert.notDeepEqual(
      describe(of, MiB, { seed: 1 })?.ci95_gbps,
      describe(of, MiB, { seed: 2 })?.ci95_gbps,
    );
  });

  it('covers the true median in 95 % of 400 cells', () => {
    const random = createRandom('coverage');
    let hits = 0;
    for (let i = 0; i < 400; i++) {
      const of = samples(noisyTimes([1e6], 10, { sigma: 0.1 }, random)[0] ?? []);
      const ci = describe(of, 1e6, { seed: i, resamples: 300 })?.ci95_gbps;
      if (ci && ci[0] <= 1 && ci[1] >= 1) hits++;
    }
    // 400 draws at 0.95: standard deviation 4.4. The method covers a little more than it says.
    assert.ok(hits >= 370, `${hits} of 400`);
    assert.ok(hits <= 398, `${hits} of 400: intervals that always cover say nothing`);
  });
});

suite('bimodality', () => {
  it('sees one 980 ms sample among eight of 82 to 102 ms, to which the MAD is blind', () => {
    const times = [82, 82, 84, 86, 87, 92, 97, 102, 980].map((ms) => ms * 1e6);
    const stats = describe(samples(times), 2 ** 30);
    assert.ok(stats);
    assert.ok(stats.mad_rel < 0.1);
    assert.equal(stats.n_above_3x, 1);
    assert.equal(stats.bimodal, true);
  });

  it('sees the measured cases of the host-backing trap', () => {
    for (const times of [
      [21, 21, 22, 23, 28, 35, 124, 355, 466],
      [85, 94, 98, 99, 108, 119, 380, 1154, 1284],
      [82, 86, 361, 451, 793, 882, 1628, 1699, 1925],
    ]) {
      assert.equal(bimodality(times).bimodal, true, times.join());
    }
    // Ordinary cells of the same tables.
    for (const times of [
      [87, 87, 87, 87, 87, 87, 87, 90, 157],
      [84, 84, 85, 85, 86, 89, 90, 90, 97],
    ]) {
      assert.equal(bimodality(times).bimodal, false, times.join());
    }
  });

  it('lets one slow sample of thirty pass, and counts it', () => {
    const times = [...new Array<number>(29).fill(100).map((t, i) => t + (i % 7)), 400];
    assert.deepEqual(bimodality(times), { bimodal: false, slow: 1, why: null });
  });

  it('sees two groups 1.8x apart in most cells, and none in ordinary noise', () => {
    const random = createRandom('modes');
    const gauss = gaussian(random);
    let found = 0;
    for (let i = 0; i < 200; i++) {
      const times = Array.from(
        { length: 20 },
        (_, k) => Math.exp(0.05 * gauss()) * (k % 2 ? 1.8 : 1),
      );
      if (bimodality(times).bimodal) found++;
    }
    assert.ok(found >= 180, `${found} of 200`);
    for (const [name, noise] of Object.entries(NOISES)) {
      let misfires = 0;
      for (let i = 0; i < 500; i++) {
        if (bimodality(noisyTimes([1], 10, noise, random)[0] ?? []).bimodal) misfires++;
      }
      // Nearly all of them are real outliers above 3x, which one block in ten must not hide.
      assert.ok(misfires <= 40, `${name}: ${misfires} of 500`);
    }
  });

  it('judges each run by itself: runs that differ are not two modes', () => {
    const of = [
      ...samples([100, 101, 102, 103, 104].map((t) => t * 1e3)),
      ...samples([180, 181, 182, 183, 184].map((t) => t * 1e3)).map((s) => ({ ...s, run: 1 })),
    ];
    assert.equal(describe(of, 1)?.bimodal, false);
    assert.equal(
      describe(
        of.map((s) => ({ ...s, run: 0 })),
        1,
      )?.bimodal,
      true,
    );
  });
});

suite('bootstrap', () => {
  it('draws the same blocks for all series: what a block does to all of them cancels', () => {
    const blocks = [1, 7, 3, 9, 2, 8, 4, 6, 5, 10];
    const twice = blocks.map((t) => 2 * t);
    const paired = bootstrap([[twice, blocks]], (m) => Math.log((m[0] ?? 0) / (m[1] ?? 0)), {
      resamples: 500,
      random: createRandom(1),
    });
    near(paired.estimate, Math.log(2), 1e-12);
    near(paired.standardError, 0, 1e-12);
    assert.equal(paired.degrees, 9);
  });

  it('finds the medians that sorting finds', () => {
    const random = createRandom('ranks');
    for (const n of [3, 4, 9, 10]) {
      const values = Array.from({ length: n }, () => random.nextInt(5));
      const medians: number[] = [];
      const collect = (m: Float64Array) => {
        medians.push(m[0] ?? -1);
        return 0;
      };
      bootstrap([[values]], collect, { resamples: 50, random: createRandom(n) });
      const copy = createRandom(n);
      // The estimate comes first, then the resamples.
      const expected = [median(values)];
      for (let i = 0; i < 50; i++) {
        expected.push(
          median(values.map(() => values[Math.floor((copy.next32() * n) / 2 ** 32)] ?? -1)),
        );
      }
      assert.deepEqual(medians, expected);
    }
  });

  it('has the standard error of a median: 1.2533 sigma / sqrt(n) for many normal samples', () => {
    const gauss = gaussian(createRandom('se'));
    const values = Array.from({ length: 2000 }, () => gauss());
    const { standardError } = bootstrap([[values]], (m) => m[0] ?? 0, {
      resamples: 500,
      random: createRandom(3),
    });
    near(standardError, 1.2533 / Math.sqrt(2000), 0.006);
  });

  it('draws within runs, and counts a degree of freedom less for each', () => {
    const runs = [[[1, 1, 1, 1]], [[5, 5, 5, 5]]];
    const result = bootstrap(runs, (m) => (m[0] ?? 0) + (m[1] ?? 0), {
      resamples: 100,
      random: createRandom(1),
    });
    assert.deepEqual(result, { estimate: 6, standardError: 0, degrees: 6 });
    assert.deepEqual(interval(result, 0.05), [6, 6]);
    assert.equal(interval({ estimate: 1, standardError: 1, degrees: 0 }, 0.05), null);
    assert.equal(interval({ estimate: 1, standardError: Number.NaN, degrees: 9 }, 0.05), null);
  });
});
