import type { Comparison, SkippedComparison } from '../result.ts';

export interface CaseContext {
  /** Pairs of every comparison of the case; null: as many as the case needs for its limit. */
  readonly repetitions: number | null;
  /** How long one run of a case that takes a given time lasts, s; null: as long as its limit says. */
  readonly seconds: number | null;
  readonly signal: AbortSignal;
}

export interface BenchCase {
  readonly name: string;
  readonly description: string;
  /** Throws `Skip` where nothing of it can run here. */
  run(context: CaseContext): Promise<readonly (Comparison | SkippedComparison)[]>;
}
