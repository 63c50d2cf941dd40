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

/** What the two numbers of a pair are. */
export type Unit = 'ns' | 'bytes' | 'percent' | 'count';

/** What a case measured, before it is judged. */
export interface Comparison {
  /** Unique; the part before the first `/` is the case. */
  readonly name: string;
  /** What was timed, and what it is compared with. */
  readonly subject: string;
  readonly floor: string;
  readonly limit: Limit | null;
  readonly pairs: readonly Pair[];
  /** Default: ns. */
  readonly unit?: Unit;
  /** The floor against the floor, in the same rounds: what this machine makes of two things that are the same. */
  readonly band?: readonly Pair[];
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
  /** floor / floor in the same rounds, where the case measures it. */
  readonly floor_band: Ratio | null;
  readonly unit: Unit;
  readonly subject_spread: Spread | null;
  readonly floor_spread: Spread | null;
  /** Every pair in the order in which it was taken: [subject, floor]. */
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
  const { name, subject, floor, pairs, band, unit = 'ns' } = comparison;
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
    floor_band: band === undefined ? null : ratioOf(band),
    unit,
    subject_spread: spread(pairs.map(([value]) => value)),
    floor_spread: spread(pairs.map(([, value]) => value)),
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
    floor_band: null,
    unit: 'ns',
    subject_spread: null,
    floor_spread: null,
    samples: [],
  };
}

function override(limit: Limit | null, value: number | undefined): Limit | null {
  if (value === undefined) return limit;
  return limit !== null && 'at_least' in limit ? { at_least: value } : { at_most: value };
}
