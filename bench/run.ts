/** Runs one case, and says what the whole run comes to. */
import type { BenchCase, CaseContext } from './cases/case.ts';
import { type BenchResult, resultOf, Skip, withoutPairs } from './result.ts';

/** A case that breaks is a result of its own, and the others still run. Only an interrupt is thrown. */
export async function runCase(
  each: BenchCase,
  context: CaseContext,
  limits: ReadonlyMap<string, number>,
): Promise<readonly BenchResult[]> {
  try {
    return (await each.run(context)).map((comparison) => resultOf(comparison, limits));
  } catch (error) {
    if (context.signal.aborted) throw error;
    if (error instanceof Skip) return [withoutPairs(each.name, 'skipped', error.message)];
    const reason = error instanceof Error ? error.message : String(error);
    return [withoutPairs(each.name, 'failed', reason)];
  }
}

/** Why the run as a whole has failed, one line each: nothing means exit code 0. */
export function failures(
  results: readonly BenchResult[],
  options: { readonly check: boolean; readonly limits: ReadonlyMap<string, number> },
): string[] {
  const lines: string[] = [];
  for (const { name, verdict } of results) {
    const exceeded = verdict === 'ABOVE LIMIT' || verdict === 'BELOW LIMIT';
    if (verdict === 'failed' || (options.check && exceeded)) lines.push(`${name}: ${verdict}`);
  }
  // A limit that is held against nothing would look like one that is kept.
  for (const name of options.limits.keys()) {
    if (!results.some((result) => result.name === name)) lines.push(`no result is called ${name}`);
  }
  return lines;
}
