/**
 * One page kind against 4 KB pages: ratio, interval, verdict. A ratio is the 20 % trimmed mean (of logarithms) of
 * time(a) / time(b) over the blocks that have both, so above 1 means that `b` is faster; of several runs it is the geometric mean of the runs' ratios.
 */
import {
  type BootstrapEstimate,
  bootstrapTrimmedMean,
  interval,
  MIN_BLOCKS_FOR_INTERVAL,
  pValue,
  type Stratum,
  trimmedMean,
} from './bootstrap.ts';
import { type CellPair, pairId } from './family.ts';
import { createRandom } from './random.ts';
import { bimodality, groupByRun } from './statistics.ts';
import type { Cell, Comparison, Sample, Verdict } from './types.ts';

/** Fewer pairs give ratios and intervals, and no verdict. */
export const MIN_PAIRS_FOR_VERDICT = 10;
/** SAME is an interval inside this. */
export const SAME_RANGE = [0.97, 1.03] as const;
/** More invalid samples than this share leave a selection, not a sample. */
const MAX_INVALID_SHARE = 0.2;
const METHOD = 'trimmed-mean-of-block-ratios, bootstrap-t';

export interface CompareOptions {
  /** Bootstrap resamples, at least 2. */
  readonly resamples: number;
  /** Two-sided error of the raw interval: 0.05 for 95 %. */
  readonly alpha: number;
  readonly seed: number | string;
}

/**
 * Compares two cells by the valid samples of equal run and block.
 *
 * @param adjustedAlpha error level of the verdict; null outside the family: raw interval, no verdict.
 * @returns null when no block has a valid sample of both.
 */
export function compareCells(
  a: Cell,
  b: Cell,
  options: CompareOptions & { readonly adjustedAlpha: number | null },
): Comparison | null {
  const measured = measure({ a, b }, options);
  return measured && conclude(measured, options, options.adjustedAlpha, METHOD);
}

/**
 * Compares the pairs of a family, corrected together by Holm's procedure: the smallest p value is held to
 * alpha / m, the next to alpha / (m - 1), until one fails; that level holds for it and all that follow. The
 * chance of one or more false FASTER or SLOWER in the whole family stays below alpha, and a line's
 * interval and its verdict never contradict each other.
 */
export function compareFamily(pairs: readonly CellPair[], options: CompareOptions): Comparison[] {
  const measured = pairs.flatMap((pair) => measure(pair, options) ?? []);
  const order = measured
    .map((line, index) => ({ index, p: line.why === null ? pValue(line.estimate) : 1 }))
    .sort((x, y) => x.p - y.p || x.index - y.index);
  const levels = new Array<number>(measured.length);
  let step = 0;
  for (const { index, p } of order) {
    const level = options.alpha / (measured.length - step);
    levels[index] = level;
    if (p <= level) step++;
  }
  const method = `${METHOD}+holm`;
  return measured.map((line, i) => conclude(line, options, levels[i] as number, method));
}

/**
 * Widest relative half-width of the 95 % intervals of the pairs, within their runs; Infinity while one
 * has no interval. For stopping on precision: it knows no verdict, so stopping on it favours none.
 */
export function widestInterval(
  pairs: readonly CellPair[],
  options: Pick<CompareOptions, 'seed' | 'resamples'>,
): number {
  let widest = 0;
  for (const pair of pairs) {
    const measured = measure(pair, { ...options, alpha: 0.05 });
    const ci = measured?.enoughForInterval ? interval(measured.estimate, 0.05) : null;
    if (!ci) return Number.POSITIVE_INFINITY;
    widest = Math.max(widest, Math.sinh((ci[1] - ci[0]) / 2));
  }
  return widest;
}

/** Samples of two or more cells that share run and block, per run: `[run][cell][block]`. */
export function pairByBlock<T extends Pick<Sample, 'run' | 'block' | 'valid'>>(
  series: readonly (readonly T[])[],
): T[][][] {
  const maps = series.map((samples) => {
    const map = new Map<string, T>();
    for (const sample of samples) {
      const key = `${sample.run}/${sample.block}`;
      if (sample.valid && !map.has(key)) map.set(key, sample);
    }
    return map;
  });
  const runs = new Map<number, T[][]>();
  for (const [key, sample] of maps[0] ?? []) {
    const row = maps.map((map) => map.get(key));
    if (row.some((item) => item === undefined)) continue;
    const columns = runs.get(sample.run) ?? series.map(() => []);
    runs.set(sample.run, columns);
    row.forEach((item, k) => {
      columns[k]?.push(item as T);
    });
  }
  return [...runs.entries()].sort(([x], [y]) => x - y).map(([, columns]) => columns);
}

/** Times of {@link pairByBlock}, ready for the bootstrap. */
export function timesByBlock(series: readonly (readonly Sample[])[]): Stratum[] {
  return pairByBlock(series).map((columns) =>
    columns.map((samples) => samples.map((sample) => sample.t_host_ns)),
  );
}

interface MeasuredPair extends CellPair {
  readonly pairs: number;
  readonly runSpeedups: readonly number[];
  readonly speedup: number;
  /** Of the logarithm of the speed-up. */
  readonly estimate: BootstrapEstimate;
  readonly enoughForInterval: boolean;
  readonly totalSpeedup: number | null;
  /** Why there can be no verdict; null when there can. */
  readonly why: string | null;
}

function measure(pair: CellPair, options: CompareOptions): MeasuredPair | null {
  const { a, b } = pair;
  // A ratio in every block, then their middle: what a block did to both (a neighbour on the host, a clock step) cancels
  // in each pair. The ratio of the two medians left it in: its standard error was 1.7 times as large on cold 4k
  // samples of a KVM guest, and +10 % was found in 17 of 20 comparisons instead of 20.
  const runs = timesByBlock([a.samples, b.samples]).map(([ta, tb]) =>
    (ta as number[]).map((time, i) => Math.log(time / (tb?.[i] as number))),
  );
  if (runs.length === 0) return null;
  const runSpeedups = runs.map((logs) => Math.exp(trimmedMean(logs)));
  const estimate = bootstrapTrimmedMean(runs, {
    resamples: options.resamples,
    random: createRandom(`${options.seed}/${pairId(pair)}`),
  });
  const blocks = runs.map((logs) => logs.length);
  const pairs = blocks.reduce((sum, n) => sum + n, 0);
  return {
    a,
    b,
    pairs,
    runSpeedups,
    speedup: Math.exp(estimate.estimate),
    estimate,
    enoughForInterval: Math.min(...blocks) >= MIN_BLOCKS_FOR_INTERVAL,
    totalSpeedup: totalSpeedup(a, b),
    why: whyNoVerdict(pair, pairs),
  };
}

function ratioInterval(line: MeasuredPair, alpha: number): readonly [number, number] | null {
  const ci = line.enoughForInterval ? interval(line.estimate, alpha) : null;
  if (!ci) return null;
  // An interval of one run does not cover the next run: where there are several, it reaches at least as far
  // as they did.
  return [
    Math.min(Math.exp(ci[0]), ...line.runSpeedups),
    Math.max(Math.exp(ci[1]), ...line.runSpeedups),
  ];
}

function conclude(
  line: MeasuredPair,
  options: CompareOptions,
  adjustedAlpha: number | null,
  method: string,
): Comparison {
  const { a, b, runSpeedups } = line;
  const inFamily = adjustedAlpha !== null;
  const adjusted = inFamily ? ratioInterval(line, adjustedAlpha) : null;
  const { verdict, reason } = inFamily
    ? verdictOf(line, adjusted)
    : { verdict: 'none' as const, reason: 'outside the verdict family' };
  const oneRun = runSpeedups.length === 1;
  return {
    a: a.id,
    b: b.id,
    dir: b.dir,
    pin: b.pin,
    state: b.state,
    bytes: b.bytes,
    kind: b.kind,
    metric: b.metric,
    n_pairs: line.pairs,
    speedup: line.speedup,
    ci95: ratioInterval(line, options.alpha),
    ci_adjusted: adjusted,
    in_family: inFamily,
    method: oneRun ? method : `${method}, widened to the range of ${runSpeedups.length} runs`,
    resamples: options.resamples,
    verdict,
    verdict_reason: reason,
    this_moment_only: oneRun && dependsOnLayout(b),
    run_speedups: runSpeedups,
    total_speedup: line.totalSpeedup,
    cause: null,
    share: null,
    share_ci95: null,
    share_method: null,
    explanation: null,
  };
}

function verdictOf(
  line: MeasuredPair,
  adjusted: readonly [number, number] | null,
): { readonly verdict: Verdict; readonly reason: string | null } {
  if (line.why !== null) return { verdict: 'none', reason: line.why };
  if (adjusted === null) {
    return {
      verdict: 'none',
      reason: `a run has fewer than ${MIN_BLOCKS_FOR_INTERVAL} pairs: no interval`,
    };
  }
  const [low, high] = adjusted;
  if (low >= SAME_RANGE[0] && high <= SAME_RANGE[1]) return { verdict: 'SAME', reason: null };
  if (low > 1) return { verdict: 'FASTER', reason: null };
  if (high < 1) return { verdict: 'SLOWER', reason: null };
  return {
    verdict: 'AMBIGUOUS',
    reason: 'the interval contains 1 and reaches outside 0.97 to 1.03',
  };
}

function whyNoVerdict({ a, b }: CellPair, pairs: number): string | null {
  for (const cell of [a, b]) {
    if (cell.status !== 'ok')
      return `${cell.id} is ${cell.status}: ${cell.reason ?? 'no reason given'}`;
    const invalid = cell.samples.filter((sample) => !sample.valid).length;
    if (invalid > MAX_INVALID_SHARE * cell.samples.length) {
      return `${invalid} of ${cell.samples.length} samples of ${cell.id} are invalid`;
    }
  }
  for (const cell of [a, b]) {
    for (const times of groupByRun(cell.samples.filter((sample) => sample.valid))) {
      const { why } = bimodality(times);
      if (why !== null) return `${cell.id} is bimodal: ${why}`;
    }
  }
  if (pairs < MIN_PAIRS_FOR_VERDICT) {
    return `${pairs} pairs; a verdict needs ${MIN_PAIRS_FOR_VERDICT}`;
  }
  return null;
}

// Where no page is faulted inside the timed region, the 4 KB side is as fast as its pages happen to lie.
function dependsOnLayout(cell: Cell): boolean {
  return cell.state === 'warm' || (cell.pin === 'register' && cell.metric === 'copy');
}

function totalSpeedup(a: Cell, b: Cell): number | null {
  if (a.pin !== 'register') return null;
  const logs = pairByBlock([a.samples, b.samples]).map(([sa, sb]) => {
    const totals = [sa, sb].map((samples) => (samples ?? []).map(registerCopyUnregister));
    return trimmedMean(
      (totals[0] ?? []).map((total, i) => Math.log(total / (totals[1]?.[i] as number))),
    );
  });
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Number.isFinite(mean) ? Math.exp(mean) : null;
}

// NaN where the registration was not timed. A cold HtoD cell has no copy: its total is register + unregister.
function registerCopyUnregister({ phases_ns }: Sample): number {
  const { register, copy, unregister } = phases_ns;
  return (register ?? Number.NaN) + (copy ?? 0) + (unregister ?? Number.NaN);
}
