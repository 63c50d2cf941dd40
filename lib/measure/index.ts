import type { Table } from 'apache-arrow';
import { utcOffsetNs } from '../clock.ts';
import type { MemcpyOptions } from './memcpy/options.ts';
import type { MemcpyPlan } from './memcpy/plan.ts';
import type { Cell, Comparison, MemcpyDocument } from './memcpy/types.ts';

/** What `measure.memcpy()` resolves with. */
export interface MemcpyResult {
  /** The comparisons of the verdict table, intervals corrected together. */
  readonly verdicts: readonly Comparison[];
  readonly cells: readonly Cell[];
  /** Every sample, invalid ones too, one row each. */
  readonly samples: Table;
  /** The whole result, as `bench memcpy --json` prints it. */
  readonly document: MemcpyDocument;
}

/**
 * Times memcpy between host memory and a GPU (or its stand-in on the CPU) on each page kind, and says whether
 * larger pages are faster, by how much, and why. Takes about a minute by default; runs in a child process.
 *
 * Without `reserve` it changes nothing on the machine. Rejects with `ERR_INVALID_ARGUMENT`, and with `ERR_LOCKED`
 * when another process holds the pools that `reserve` needs; what a machine lacks is an `unavailable` cell.
 *
 * @example
 * ```ts
 * import { measure } from 'warpgauge';
 * const { verdicts } = await measure.memcpy({ pages: ['4k', 'thp'], sizes: [64 * 2 ** 20] });
 * for (const v of verdicts) console.log(v.dir, v.state, v.kind, v.speedup.toFixed(2), v.verdict, v.cause);
 * ```
 */
export async function memcpy(options: MemcpyOptions = {}): Promise<MemcpyResult> {
  // Loaded here, so that `import 'warpgauge'` does not pay for a benchmark that is not run.
  const { runMemcpy } = await import('./memcpy/memcpy.ts');
  const document = await runMemcpy(options);
  const { samplesTable } = await import('./memcpy/samples-table.ts');
  return {
    verdicts: document.comparisons.filter((comparison) => comparison.in_family),
    cells: document.cells,
    samples: await samplesTable(document, { utcOffsetNs: utcOffsetNs() }),
    document,
  };
}

/**
 * What {@link memcpy} would do with these options: cells, memory, pools, and an estimate of its duration from a few
 * samples of at most 4 MiB. Changes nothing.
 */
export async function planMemcpy(options: MemcpyOptions = {}): Promise<MemcpyPlan> {
  const { planMemcpy: plan } = await import('./memcpy/memcpy.ts');
  return plan(options);
}

export type { MemcpyOptions, MemcpyProgress } from './memcpy/options.ts';
export type { MemcpyPlan } from './memcpy/plan.ts';
export type * from './memcpy/types.ts';
