/**
 * The arithmetic of every comparison: pairs of times that were taken next to each other, their ratios, the
 * median of those, and the limit it is held to. A pair cancels what the machine did to both of its halves.
 */
import {
  bootstrap,
  interval,
  MIN_BLOCKS_FOR_INTERVAL,
  median,
} from '#lib/measure/memcpy/bootstrap';
import { createRandom } from '#lib/measure/memcpy/random';

/** Times of the subject and of its floor (ns, or the unit of the comparison), taken one right after the other. */
export type Pair = readonly [subject: number, floor: number];

/** What the median ratio is held to. */
export type Limit = { readonly at_most: number } | { readonly at_least: number };

export type Verdict = 'OK' | 'ABOVE LIMIT' | 'BELOW LIMIT' | 'no limit';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Ratio extends Spread {
  /** Of the median, paired block bootstrap; null from fewer than three pairs and where a ratio is 0. */
  readonly ci95: readonly [number, number] | null;
}

const CONFIDENCE_ALPHA = 0.05;
const RESAMPLES = 2000;

export function spread(values: readonly number[]): Spread {
  return {
    median: median(values),
    min: values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    max: values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
  };
}

/** The ratio subject / floor of every pair, in one number and its certainty. */
export function ratioOf(pairs: readonly Pair[]): Ratio {
  const ratios = pairs.map(([subject, floor]) => subject / floor);
  const hasLogarithms = ratios.every((ratio) => ratio > 0 && ratio < Number.POSITIVE_INFINITY);
  if (ratios.length < MIN_BLOCKS_FOR_INTERVAL || !hasLogarithms)
    return { ...spread(ratios), ci95: null };
  // As logarithms: 2 and 1/2 are equally far from 1, and no interval reaches below 0.
  const estimate = bootstrap([[ratios.map(Math.log)]], (medians) => medians[0] as number, {
    resamples: RESAMPLES,
    random: createRandom('bench'),
  });
  const ends = interval(estimate, CONFIDENCE_ALPHA);
  return { ...spread(ratios), ci95: ends === null ? null : [Math.exp(ends[0]), Math.exp(ends[1])] };
}

export function judge(medianRatio: number, limit: Limit | null): Verdict {
  if (limit === null) return 'no limit';
  // Written so that NaN, the median of nothing, is never OK.
  if ('at_most' in limit) return medianRatio <= limit.at_most ? 'OK' : 'ABOVE LIMIT';
  return medianRatio >= limit.at_least ? 'OK' : 'BELOW LIMIT';
}

/**
 * Measures every key once per round, forwards and backwards in turn (A B C, C B A, ...), so that drift
 * favours none of two neighbours. One round before the first is thrown away.
 */
export async function alternate<K extends string, T = number>(
  keys: readonly K[],
  rounds: number,
  measure: (key: K) => Promise<T>,
): Promise<Readonly<Record<K, readonly T[]>>> {
  const times = Object.fromEntries(keys.map((key) => [key, []])) as unknown as Record<K, T[]>;
  for (let round = -1; round < rounds; round++) {
    for (const key of round % 2 === 0 ? keys : keys.toReversed()) {
      const time = await measure(key);
      if (round >= 0) times[key].push(time);
    }
  }
  return times;
}

/** Two series of the same rounds as pairs. */
export function pair(subject: readonly number[], floor: readonly number[]): Pair[] {
  if (subject.length !== floor.length) {
    throw new Error(`${subject.length} times cannot be paired with ${floor.length}`);
  }
  return subject.map((time, i) => [time, floor[i] as number]);
}
