/**
 * The paired block bootstrap: whole blocks are drawn with replacement, every series takes the same
 * blocks, and so whatever a block did to all of them (drift, a neighbour, a clock step) cancels.
 *
 * What is used of it is the standard error; the interval is Student's t around the estimate. A plain
 * percentile interval is as good at 95 %, but corrected for a family of 16 it would need the 0.2 % tail of
 * ten blocks, which resampling ten numbers cannot give. docs/statistics.md has the measured coverage.
 */
import type { Random } from './random.ts';
import { tQuantile, tTwoSided } from './student-t.ts';

/** The series measured in the blocks of one run: `stratum[k][i]` is series k in block i. */
export type Stratum = readonly (readonly number[])[];

/**
 * A number computed from the medians of all series in all runs: `medians[run * series + k]`.
 */
export type Statistic = (medians: Float64Array) => number;

export interface BootstrapEstimate {
  readonly estimate: number;
  readonly standardError: number;
  /** Degrees of freedom of the standard error, over all runs. */
  readonly degrees: number;
}

/** Fewest blocks of a run from which an interval is made: with two the t interval covers too little. */
export const MIN_BLOCKS_FOR_INTERVAL = 3;

/** Median of the values; NaN of none. */
export function median(values: readonly number[]): number {
  return medianOfSorted(Float64Array.from(values).sort());
}

export function medianOfSorted(sorted: ArrayLike<number>): number {
  const n = sorted.length;
  if (n === 0) return Number.NaN;
  return ((sorted[(n - 1) >> 1] as number) + (sorted[n >> 1] as number)) / 2;
}

/**
 * Estimate and bootstrap standard error of a statistic of medians. Runs are strata: blocks are drawn
 * within their run, never across.
 */
export function bootstrap(
  strata: readonly Stratum[],
  statistic: Statistic,
  options: { readonly resamples: number; readonly random: Random },
): BootstrapEstimate {
  const { medians, runs, width, degrees } = prepareRuns(strata);
  const estimate = statistic(medians);

  // Welford's running variance: one pass, no array of resamples.
  let mean = 0;
  let squares = 0;
  for (let i = 1; i <= options.resamples; i++) {
    for (let run = 0; run < runs.length; run++) {
      resample(runs[run] as RankedRun, medians, run * width, options.random);
    }
    const value = statistic(medians);
    const delta = value - mean;
    mean += delta / i;
    squares += delta * (value - mean);
  }
  const standardError = Math.sqrt(squares / Math.max(1, options.resamples - 1));
  return { estimate, standardError, degrees };
}

/** The two-sided interval at level 1 - alpha, or null where the blocks or the numbers give none. */
export function interval(
  { estimate, standardError, degrees }: BootstrapEstimate,
  alpha: number,
): readonly [number, number] | null {
  if (degrees < 1 || !Number.isFinite(estimate) || !Number.isFinite(standardError)) return null;
  const half = tQuantile(alpha, degrees) * standardError;
  return [estimate - half, estimate + half];
}

/** P value of "the true value is 0". */
export function pValue({ estimate, standardError, degrees }: BootstrapEstimate): number {
  if (degrees < 1 || !Number.isFinite(standardError)) return 1;
  if (standardError === 0) return estimate === 0 ? 1 : 0;
  return tTwoSided(Math.abs(estimate) / standardError, degrees);
}

/** Share cut off at each end before the mean is taken: outliers count as nothing, and two in ten may be such. */
const TRIM = 0.2;

/** Mean of the middle 60 % of the values: nearly as robust as the median, and it uses more of them. */
export function trimmedMean(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  return meanOfCounts(sorted, new Int32Array(sorted.length).fill(1), sorted.length);
}

/**
 * Estimate and bootstrap standard error of a trimmed mean, averaged over the runs. The bootstrap variance of a mean is
 * (n - 1) / n of the unbiased one; that is mended.
 */
export function bootstrapTrimmedMean(
  runs: readonly (readonly number[])[],
  options: { readonly resamples: number; readonly random: Random },
): BootstrapEstimate {
  let [estimate, variance, degrees] = [0, 0, 0];
  for (const values of runs) {
    const sorted = Float64Array.from(values).sort();
    const n = sorted.length;
    const counts = new Int32Array(n);
    estimate += trimmedMean(values) / runs.length;
    let [mean, squares] = [0, 0];
    for (let i = 1; i <= options.resamples; i++) {
      counts.fill(0);
      for (let k = 0; k < n; k++) {
        const rank = Math.floor((options.random.next32() * n) / 0x100000000);
        counts[rank] = (counts[rank] as number) + 1;
      }
      const value = meanOfCounts(sorted, counts, n);
      const delta = value - mean;
      mean += delta / i;
      squares += delta * (value - mean);
    }
    const unbiased = n > 1 ? n / (n - 1) : 1;
    variance += (unbiased * squares) / Math.max(1, options.resamples - 1) / runs.length ** 2;
    degrees += degreesOfTrimmed(n);
  }
  return { estimate, standardError: Math.sqrt(variance), degrees };
}

/** Mean of what lies between the trimmed ends, of a sample given as counts of sorted values. */
function meanOfCounts(sorted: Float64Array, counts: Int32Array, n: number): number {
  const from = Math.floor(TRIM * n);
  const to = n - from;
  let [seen, sum] = [0, 0];
  for (let rank = 0; rank < sorted.length && seen < to; rank++) {
    const next = seen + (counts[rank] as number);
    const taken = Math.min(next, to) - Math.max(seen, from);
    if (taken > 0) sum += taken * (sorted[rank] as number);
    seen = next;
  }
  return sum / (to - from);
}

/**
 * A quotient of two statistics of the same blocks, with Fieller's interval: all values q for which
 * `numerator - q * denominator` is not distinguishable from 0. The quotient's own standard error would be made by the
 * few resamples whose denominator is close to 0: a gap of 0.81x [0.73, 0.90] gave a share of 157 % [-3696, 4009].
 *
 * @returns null interval when the denominator itself is not distinguishable from 0.
 */
export function bootstrapQuotient(
  strata: readonly Stratum[],
  statistic: (medians: Float64Array) => readonly [numerator: number, denominator: number],
  options: { readonly resamples: number; readonly random: Random; readonly alpha: number },
): { readonly estimate: number; readonly ci: readonly [number, number] | null } {
  const { medians, runs, width, degrees } = prepareRuns(strata);
  const [numerator, denominator] = statistic(medians);
  // Welford's running variances and covariance: one pass, no array of resamples.
  let [meanN, meanD, squaresN, squaresD, products] = [0, 0, 0, 0, 0];
  for (let i = 1; i <= options.resamples; i++) {
    for (let run = 0; run < runs.length; run++) {
      resample(runs[run] as RankedRun, medians, run * width, options.random);
    }
    const [n, d] = statistic(medians);
    const [deltaN, deltaD] = [n - meanN, d - meanD];
    meanN += deltaN / i;
    meanD += deltaD / i;
    squaresN += deltaN * (n - meanN);
    squaresD += deltaD * (d - meanD);
    products += deltaN * (d - meanD);
  }
  const estimate = numerator / denominator;
  const scale = tQuantile(options.alpha, degrees) ** 2 / Math.max(1, options.resamples - 1);
  // The roots of (d^2 - s Var d) q^2 - 2 (n d - s Cov) q + (n^2 - s Var n) = 0.
  const a = denominator ** 2 - scale * squaresD;
  const b = numerator * denominator - scale * products;
  const c = numerator ** 2 - scale * squaresN;
  const root = Math.sqrt(b ** 2 - a * c);
  if (degrees < 1 || !(a > 0) || !Number.isFinite(root)) return { estimate, ci: null };
  return { estimate, ci: [(b - root) / a, (b + root) / a] };
}

// The bootstrap variance of a median settles with the square root of n, not with n (Hall and Martin 1988): its relative
// variance is of order n^-1/2, so its degrees of freedom grow like n^1/2. The factor is set by simulation; with
// n - 1 throughout, 40 blocks gave 6.6 % of runs a false verdict.
function degreesOf(blocks: number): number {
  return Math.min(blocks - 1, Math.floor(4 * Math.sqrt(blocks)));
}

/** The series ranked for resampling, and the medians of all blocks. */
function prepareRuns(strata: readonly Stratum[]): {
  readonly medians: Float64Array;
  readonly runs: readonly RankedRun[];
  readonly width: number;
  readonly degrees: number;
} {
  const runs = strata.map(prepare);
  const width = runs[0]?.series.length ?? 0;
  const medians = new Float64Array(runs.length * width);
  runs.forEach(({ series }, run) => {
    for (let k = 0; k < width; k++) {
      medians[run * width + k] = medianOfSorted((series[k] as RankedSeries).sorted);
    }
  });
  return {
    medians,
    runs,
    width,
    degrees: runs.reduce((sum, run) => sum + degreesOf(run.blocks), 0),
  };
}

// Of a trimmed mean: what is cut off tells nothing of the spread (Yuen 1974 takes the same).
function degreesOfTrimmed(blocks: number): number {
  return blocks - 2 * Math.floor(TRIM * blocks) - 1;
}

interface RankedSeries {
  readonly sorted: Float64Array;
  /** Rank of the value of each block. */
  readonly ranks: Int32Array;
  readonly counts: Int32Array;
}

interface RankedRun {
  readonly blocks: number;
  readonly series: readonly RankedSeries[];
}

// The median of a resample is found by counting how often each rank was drawn: no sorting in the loop that
// runs ten thousand times per comparison.
function prepare(stratum: Stratum): RankedRun {
  const blocks = stratum[0]?.length ?? 0;
  const series = stratum.map((values) => {
    const order = Array.from(values.keys()).sort(
      (i, j) => (values[i] as number) - (values[j] as number) || i - j,
    );
    const ranks = new Int32Array(blocks);
    order.forEach((block, rank) => {
      ranks[block] = rank;
    });
    const sorted = Float64Array.from(order, (block) => values[block] as number);
    return { sorted, ranks, counts: new Int32Array(blocks) };
  });
  return { blocks, series };
}

function resample(run: RankedRun, medians: Float64Array, offset: number, random: Random): void {
  const { blocks, series } = run;
  const width = series.length;
  for (let k = 0; k < width; k++) (series[k] as RankedSeries).counts.fill(0);
  for (let i = 0; i < blocks; i++) {
    // Scaled, not nextInt(): its bias, blocks / 2^32, is nothing here and the division is.
    const block = Math.floor((random.next32() * blocks) / 0x100000000);
    for (let k = 0; k < width; k++) {
      const { ranks, counts } = series[k] as RankedSeries;
      const rank = ranks[block] as number;
      counts[rank] = (counts[rank] as number) + 1;
    }
  }
  const low = (blocks - 1) >> 1;
  const high = blocks >> 1;
  for (let k = 0; k < width; k++) {
    const { sorted, counts } = series[k] as RankedSeries;
    let rank = 0;
    let seen = counts[0] as number;
    while (seen <= low) seen += counts[++rank] as number;
    let middle = sorted[rank] as number;
    if (high > low) {
      while (seen <= high) seen += counts[++rank] as number;
      middle = (middle + (sorted[rank] as number)) / 2;
    }
    medians[offset + k] = middle;
  }
}
