import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRandom } from '#lib/measure/memcpy/random';
import { change } from '../../bench/difference.ts';
import { alternate, judge, type Pair, pair, ratioOf } from '../../bench/pairs.ts';
import { type BenchResult, resultOf, Skip } from '../../bench/result.ts';
import { failures, runCase } from '../../bench/run.ts';

const NO_LIMITS: ReadonlyMap<string, number> = new Map();
const CONTEXT = { repetitions: null, seconds: null, signal: new AbortController().signal };

describe('ratioOf', () => {
  it('is the median of the ratios, not the ratio of the medians', () => {
    const ratio = ratioOf([
      [10, 1],
      [20, 10],
      [30, 10],
    ]);
    assert.equal(ratio.median, 3); // of 10, 2, 3; the medians are 20 and 10
    assert.deepEqual([ratio.min, ratio.max], [2, 10]);
  });

  it('cancels what slows both halves of a pair', () => {
    const pairs = Array.from({ length: 21 }, (_, i): Pair => [1.5 * 4 ** i, 4 ** i]);
    assert.deepEqual(ratioOf(pairs), { median: 1.5, min: 1.5, max: 1.5, ci95: [1.5, 1.5] });
  });

  it('gives an interval around the truth, and none from two pairs', () => {
    const random = createRandom(5);
    const noise = () => Math.exp((random.next() + random.next() + random.next() - 1.5) / 10);
    const pairs = Array.from({ length: 101 }, (): Pair => [1.1 * noise(), noise()]);
    const [low, high] = ratioOf(pairs).ci95 ?? [0, 0];
    assert.ok(low < 1.1 && 1.1 < high && high / low < 1.05, `${low} ... ${high}`);
    assert.ok(low > 0);
    assert.equal(ratioOf(pairs.slice(0, 2)).ci95, null);
  });
});

describe('judge', () => {
  it('takes the limit itself as kept, and what is past it as exceeded', () => {
    assert.equal(judge(1.1, { at_most: 1.1 }), 'OK');
    assert.equal(judge(1.1001, { at_most: 1.1 }), 'ABOVE LIMIT');
    assert.equal(judge(1.5, { at_least: 1.5 }), 'OK');
    assert.equal(judge(1.49, { at_least: 1.5 }), 'BELOW LIMIT');
    assert.equal(judge(99, null), 'no limit');
  });

  it('never calls the median of nothing OK', () => {
    const { median } = ratioOf([]);
    assert.equal(judge(median, { at_most: 1 }), 'ABOVE LIMIT');
    assert.equal(judge(median, { at_least: 1 }), 'BELOW LIMIT');
  });
});

describe('alternate', () => {
  it('goes forwards and backwards in turn and throws the first round away', async () => {
    const order: string[] = [];
    const times = await alternate(['a', 'b', 'c'], 2, async (key) => order.push(key));
    assert.equal(order.join(''), 'cbaabccba');
    assert.deepEqual(times, { a: [4, 9], b: [5, 8], c: [6, 7] });
  });

  it('leaves no trace of a steady drift', async () => {
    let clock = 100;
    const times = await alternate(['a', 'b'], 20, async () => clock++);
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    assert.equal(sum(times.a), sum(times.b));
  });
});

it('only series of the same rounds make pairs', () => {
  assert.deepEqual(pair([1, 2], [3, 4]), [
    [1, 3],
    [2, 4],
  ]);
  assert.throws(() => pair([1, 2], [3]));
});

describe('a case', () => {
  const comparison = {
    name: 'one/two',
    subject: 'us',
    floor: 'them',
    limit: { at_most: 1.2 },
    pairs: [
      [11, 10],
      [22, 20],
      [33, 30],
    ] as const,
  };
  const run = (limits: ReadonlyMap<string, number>) => resultOf(comparison, limits);

  it('is held to its own limit, or to the one that was asked for', () => {
    assert.equal(run(NO_LIMITS).verdict, 'OK');
    const lowered = run(new Map([['one/two', 1.05]]));
    assert.deepEqual([lowered.verdict, lowered.limit], ['ABOVE LIMIT', { at_most: 1.05 }]);
    const atLeast = { ...comparison, limit: { at_least: 1 } };
    const raised = resultOf(atLeast, new Map([['one/two', 1.5]]));
    assert.deepEqual([raised.verdict, raised.limit], ['BELOW LIMIT', { at_least: 1.5 }]);
  });

  it('that cannot run is skipped, that breaks has failed, and an interrupt ends the run', async () => {
    const broken = (error: Error) => ({
      name: 'x',
      description: '',
      run: () => Promise.reject(error),
    });
    const [skipped] = await runCase(broken(new Skip('no pool')), CONTEXT, NO_LIMITS);
    assert.deepEqual([skipped?.verdict, skipped?.reason], ['skipped', 'no pool']);
    const [failed] = await runCase(broken(new Error('wrong')), CONTEXT, NO_LIMITS);
    assert.deepEqual([failed?.verdict, failed?.reason], ['failed', 'wrong']);
    const signal = AbortSignal.abort();
    await assert.rejects(
      runCase(broken(new Error('killed')), { ...CONTEXT, signal }, NO_LIMITS),
      /killed/,
    );
  });

  it('fails the run when broken, when past its limit with check, when a limit meets no result', () => {
    const verdicts = (verdict: BenchResult['verdict']) => [{ ...run(NO_LIMITS), verdict }];
    const reasons = (verdict: BenchResult['verdict'], check: boolean, limits = NO_LIMITS) =>
      failures(verdicts(verdict), { check, limits }).length;
    assert.equal(reasons('OK', true), 0);
    assert.equal(reasons('skipped', true), 0);
    assert.equal(reasons('ABOVE LIMIT', false), 0);
    assert.equal(reasons('ABOVE LIMIT', true), 1);
    assert.equal(reasons('BELOW LIMIT', true), 1);
    assert.equal(reasons('failed', false), 1);
    assert.equal(reasons('OK', false, new Map([['one/too', 1]])), 1);
  });
});

it('two runs differ where their intervals do not meet', () => {
  const ratio = (low: number, high: number) => ({ ...ratioOf([]), ci95: [low, high] as const });
  assert.equal(change(ratio(1, 1.1), ratio(1.2, 1.3)), 'higher');
  assert.equal(change(ratio(1, 1.1), ratio(0.8, 0.9)), 'lower');
  assert.equal(change(ratio(1, 1.1), ratio(1.05, 1.3)), 'undecided');
  assert.equal(change(ratio(1, 1.1), { ...ratioOf([]), ci95: null }), 'undecided');
});
