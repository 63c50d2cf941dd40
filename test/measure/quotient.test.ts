import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapQuotient, type Stratum } from '#lib/measure/memcpy/bootstrap';
import { createRandom, type Random } from '#lib/measure/memcpy/random';

const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());

/** Series a, b, x, y of one run: the gap is a - b, the part x - y. */
function sample(
  random: Random,
  blocks: number,
  means: readonly number[],
  noise: number,
): Stratum[] {
  return [
    means.map((mean) => Array.from({ length: blocks }, () => mean * (1 + noise * normal(random)))),
  ];
}

const share = (strata: Stratum[], seed: string) =>
  bootstrapQuotient(strata, (m) => [(m[2] ?? 0) - (m[3] ?? 0), (m[0] ?? 0) - (m[1] ?? 0)], {
    resamples: 500,
    random: createRandom(seed),
    alpha: 0.05,
  });

test("Fieller's interval covers the true share of a small gap, and stays finite", () => {
  let covered = 0;
  let finite = 0;
  const runs = 300;
  for (let run = 0; run < runs; run++) {
    const random = createRandom(`quotient/${run}`);
    // A gap of 25 of 100 at 5 % noise, of which 20 are explained.
    const { ci } = share(sample(random, 12, [100, 75, 60, 40], 0.05), `boot/${run}`);
    if (ci === null) continue;
    finite++;
    assert.ok(ci[1] - ci[0] < 4, `an interval that says nothing: ${ci}`);
    if (ci[0] <= 0.8 && 0.8 <= ci[1]) covered++;
  }
  assert.ok(finite > 0.95 * runs, `${finite} of ${runs} have an interval`);
  assert.ok(covered >= 0.92 * finite, `${covered} of ${finite} cover the true share`);
});

test('without a gap there is no interval', () => {
  const { ci } = share(sample(createRandom('none'), 12, [100, 100, 60, 40], 0.05), 'b');
  assert.equal(ci, null);
});
