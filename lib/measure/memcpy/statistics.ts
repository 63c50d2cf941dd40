/**
 * What is said about the samples of one cell: medians and quantiles, spread, outliers, and whether they
 * have one typical time at all. The time is `t_host_ns` everywhere; invalid samples are counted and left out,
 * outliers are named and kept.
 */
import {
  bootstrap,
  interval,
  MIN_BLOCKS_FOR_INTERVAL,
  median,
  medianOfSorted,
} from './bootstrap.ts';
import { createRandom } from './random.ts';
import type { CellStats, Sample } from './types.ts';

/** A sample slower than this many medians is not noise of the same thing. */
const SLOW_FACTOR = 3;
/**
 * Share of such samples above which a cell is bimodal: one in ten is (the median absolute deviation is
 * blind to one in nine), one in thirty is not.
 */
const SLOW_SHARE = 0.05;
/** Two groups are two modes from this ratio between the last of one and the first of the other ... */
const GAP_RATIO = 1.25;
/** ... if it is this many times wider (as a logarithm) than the middle half of either group ... */
const GAP_OVER_SPREAD = 2;
/** ... and the smaller group has this share of the samples, and at least two. */
const GROUP_SHARE = 0.15;
/** Relative MAD from which a cell has no typical time, whatever its shape. */
const MAX_MAD_REL = 0.25;
const MODIFIED_Z_LIMIT = 3.5;
const CONFIDENCE_ALPHA = 0.05;

export interface DescribeOptions {
  /** Any seed; equal seeds give equal intervals. Default `describe`. */
  readonly seed?: number | string;
  /** Bootstrap resamples of the interval. Default 2000. */
  readonly resamples?: number;
}

/**
 * Statistics of one cell.
 *
 * @param bytes what one sample moves: throughput is bytes / time.
 * @returns null when no sample is valid.
 */
export function describe(
  samples: readonly Sample[],
  bytes: number,
  options: DescribeOptions = {},
): CellStats | null {
  const valid = samples.filter((sample) => sample.valid);
  if (valid.length === 0) return null;
  const sorted = Float64Array.from(valid, (sample) => sample.t_host_ns).sort();
  const median_ns = medianOfSorted(sorted);
  const deviation = medianAbsoluteDeviation(sorted, median_ns);
  const modes = groupByRun(valid).map((times) => bimodality(times));
  return {
    n: valid.length,
    n_invalid: samples.length - valid.length,
    median_ns,
    median_gbps: bytes / median_ns,
    mad_rel: deviation / median_ns,
    q1_ns: quantile(sorted, 0.25),
    q3_ns: quantile(sorted, 0.75),
    min_ns: sorted[0] as number,
    max_ns: sorted[sorted.length - 1] as number,
    ci95_gbps: throughputInterval(valid, bytes, options),
    outliers: outliersOf(valid, median_ns, deviation),
    n_above_3x: modes.reduce((sum, { slow }) => sum + slow, 0),
    bimodal: modes.some((mode) => mode.bimodal),
  };
}

/** Quantile of sorted values by linear interpolation (Hyndman and Fan's type 7, the default of R and NumPy). */
export function quantile(sorted: ArrayLike<number>, p: number): number {
  const at = p * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below] as number;
  const high = (sorted[below + 1] ?? low) as number;
  return low + (at - below) * (high - low);
}

/** Median distance from the median, without the 1.4826 that would make it a standard deviation. */
export function medianAbsoluteDeviation(values: ArrayLike<number>, center: number): number {
  return median(Array.from(values, (value) => Math.abs(value - center)));
}

export interface Bimodality {
  readonly bimodal: boolean;
  /** Samples slower than 3x the median. */
  readonly slow: number;
  /** What was seen, as the end of a sentence; null when the samples have one typical time. */
  readonly why: string | null;
}

/**
 * Whether times have one typical value. Three signs, any of them is enough: too many samples above three
 * medians, two groups with a gap between them, or a spread so wide that the median stands for nothing. The
 * limits are set so that skewed but ordinary noise passes; docs/statistics.md has the measured rates.
 */
export function bimodality(times: readonly number[]): Bimodality {
  const sorted = Float64Array.from(times).sort();
  const n = sorted.length;
  const center = medianOfSorted(sorted);
  const slow = sorted.filter((time) => time > SLOW_FACTOR * center).length;
  if (slow > SLOW_SHARE * n) {
    return {
      bimodal: true,
      slow,
      why: `${slow} of ${n} samples are above ${SLOW_FACTOR}x the median`,
    };
  }
  const split = gapBetweenGroups(sorted);
  if (split !== null) {
    const [fast, other] = [sorted.subarray(0, split), sorted.subarray(split)];
    const ratio = medianOfSorted(other) / medianOfSorted(fast);
    const why = `${fast.length} and ${other.length} samples form two groups, ${ratio.toFixed(2)}x apart`;
    return { bimodal: true, slow, why };
  }
  const spread = medianAbsoluteDeviation(sorted, center) / center;
  if (spread > MAX_MAD_REL) {
    return {
      bimodal: true,
      slow,
      why: `the samples scatter by ${Math.round(100 * spread)} % (MAD)`,
    };
  }
  return { bimodal: false, slow, why: null };
}

/** Valid times of each run. Runs differ by more than samples do, and that is not bimodality. */
export function groupByRun(samples: readonly Sample[]): number[][] {
  const runs = new Map<number, number[]>();
  for (const { run, t_host_ns } of samples) {
    const times = runs.get(run);
    if (times) times.push(t_host_ns);
    else runs.set(run, [t_host_ns]);
  }
  return [...runs.values()];
}

function gapBetweenGroups(sorted: Float64Array): number | null {
  const n = sorted.length;
  const smallest = Math.max(2, Math.ceil(GROUP_SHARE * n));
  for (let split = smallest; split <= n - smallest; split++) {
    const ratio = (sorted[split] as number) / (sorted[split - 1] as number);
    if (ratio < GAP_RATIO) continue;
    const spread = Math.max(
      middleHalf(sorted.subarray(0, split)),
      middleHalf(sorted.subarray(split)),
    );
    if (Math.log(ratio) > GAP_OVER_SPREAD * spread) return split;
  }
  return null;
}

// In logarithms, and out to whole samples: of two samples it is their distance.
function middleHalf(sorted: Float64Array): number {
  const last = sorted.length - 1;
  const low = sorted[Math.floor(0.25 * last)] as number;
  const high = sorted[Math.ceil(0.75 * last)] as number;
  return Math.log(high / low);
}

// Modified z of Iglewicz and Hoaglin; where more than half of the samples are equal their mean absolute
// deviation takes the place of the MAD.
function outliersOf(valid: readonly Sample[], center: number, deviation: number): number[] {
  const scale =
    deviation > 0
      ? deviation / 0.6745
      : 1.2533 * (valid.reduce((sum, s) => sum + Math.abs(s.t_host_ns - center), 0) / valid.length);
  if (scale === 0) return [];
  return valid
    .filter((sample) => Math.abs(sample.t_host_ns - center) / scale > MODIFIED_Z_LIMIT)
    .map((sample) => sample.seq);
}

function throughputInterval(
  valid: readonly Sample[],
  bytes: number,
  { seed = 'describe', resamples = 2000 }: DescribeOptions,
): readonly [number, number] | null {
  if (valid.length < MIN_BLOCKS_FOR_INTERVAL) return null;
  const times = valid.map((sample) => sample.t_host_ns);
  const estimate = bootstrap([[times]], (medians) => Math.log(medians[0] as number), {
    resamples,
    random: createRandom(seed),
  });
  const ci = interval(estimate, CONFIDENCE_ALPHA);
  return ci && [bytes / Math.exp(ci[1]), bytes / Math.exp(ci[0])];
}
