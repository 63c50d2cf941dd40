/** The document `warpgauge/bench/1`, and how one comparison becomes one of its results. */
import type { EnvironmentRecord } from 'warpgauge';
import {
  judge,
  type Limit,
  type Pair,
  type Ratio,
  ratioOf,
  type Spread,
  spread,
  type Verdict,
} from './pairs.ts';

/** What a case measured, before it is judged. */
export interface Comparison {
  /** Unique; the part before the first `/` is the case. */
  readonly name: string;
  /** What was timed, and what it is compared with. */
  readonly subject: string;
  readonly floor: string;
  readonly limit: Limit | null;
  readonly pairs: readonly Pair[];
}

/** A comparison this machine cannot make. */
export interface SkippedComparison {
  readonly name: string;
  readonly skipped: string;
}

export interface BenchResult {
  readonly name: string;
  readonly subject: string | null;
  readonly floor: string | null;
  readonly limit: Limit | null;
  /** `failed`: the benchmark itself is wrong, see `reason`. */
  readonly verdict: Verdict | 'skipped' | 'failed';
  readonly reason: string | null;
  readonly pairs: number;
  /** subject / floor, pair by pair. */
  readonly ratio: Ratio | null;
  readonly subject_ns: Spread | null;
  readonly floor_ns: Spread | null;
  /** Every pair in the order in which it was taken: [subject_ns, floor_ns]. */
  readonly samples: readonly Pair[];
}

export interface BenchDocument {
  readonly schema: 'warpgauge/bench/1';
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly duration_ns: number;
  /** Arguments after `npm run bench --`. */
  readonly arguments: readonly string[];
  readonly env: EnvironmentRecord & {
    /** Commit of the checkout; null where git does not tell. */
    readonly commit: string | null;
    /** 1, 5 and 15 minutes, before the first case and after the last. */
    readonly load_average: {
      readonly before: readonly number[];
      readonly after: readonly number[];
    };
  };
  readonly results: readonly BenchResult[];
}

/** Thrown by a case that cannot run here; it counts as skipped. */
export class Skip extends Error {}

export function resultOf(
  comparison: Comparison | SkippedComparison,
  limits: ReadonlyMap<string, number>,
): BenchResult {
  if ('skipped' in comparison) return withoutPairs(comparison.name, 'skipped', comparison.skipped);
  const { name, subject, floor, pairs } = comparison;
  const limit = override(comparison.limit, limits.get(name));
  const ratio = ratioOf(pairs);
  return {
    name,
    subject,
    floor,
    limit,
    verdict: judge(ratio.median, limit),
    reason: null,
    pairs: pairs.length,
    ratio,
    subject_ns: spread(pairs.map(([time]) => time)),
    floor_ns: spread(pairs.map(([, time]) => time)),
    samples: pairs,
  };
}

export function withoutPairs(
  name: string,
  verdict: 'skipped' | 'failed',
  reason: string,
): BenchResult {
  return {
    name,
    subject: null,
    floor: null,
    limit: null,
    verdict,
    reason,
    pairs: 0,
    ratio: null,
    subject_ns: null,
    floor_ns: null,
    samples: [],
  };
}

function override(limit: Limit | null, value: number | undefined): Limit | null {
  if (value === undefined) return limit;
  return limit !== null && 'at_least' in limit ? { at_least: value } : { at_most: value };
}
