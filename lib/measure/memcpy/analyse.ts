/** From raw samples to verdicts, causes and answers. Pure: the same samples and seed give the same result. */

import { answersOf } from './answers.ts';
import { median } from './bootstrap.ts';
import { explain } from './causes.ts';
import {
  compareCells,
  compareFamily,
  MIN_PAIRS_FOR_VERDICT,
  widestInterval,
} from './comparisons.ts';
import { labelsOf } from './counters.ts';
import { allPairs, chooseFamily, pairId } from './family.ts';
import { breakEvens, fitModels } from './model.ts';
import { describe } from './statistics.ts';
import type {
  BackendName,
  Calibration,
  Cell,
  CellStats,
  Comparison,
  MemcpyDocument,
  Phases,
  Sample,
} from './types.ts';
import { EXPECTED_WHYS } from './witness.ts';

const ALPHA = 0.05;
const FAMILY_RESAMPLES = 10_000;
const OTHER_RESAMPLES = 2_000;
const STOPPING_RESAMPLES = 400;

export interface AnalyseInput {
  /** Cells with their samples; `stats`, `phases_ns` and `labels` are ignored. */
  readonly cells: readonly Cell[];
  readonly calibrations: readonly Calibration[];
  readonly seed: number;
  readonly backend: BackendName;
  /** The device calls itself "Simulated": the answers say so. Default false. */
  readonly simulated?: boolean;
  /** Runs asked for. */
  readonly runs: number;
  /** Blocks per run. */
  readonly blocks: number;
  /** Raw one-direction link rate of the device, GB/s. Default null: none, or not known. */
  readonly ceilingGbps?: number | null;
  /** Resamples of the family; elsewhere a fifth. Default 10,000. */
  readonly resamples?: number;
}

export type Analysis = Pick<
  MemcpyDocument,
  | 'cells'
  | 'calibrations'
  | 'family'
  | 'comparisons'
  | 'model'
  | 'break_even'
  | 'answers'
  | 'warnings'
>;

/** Statistics of every cell, verdicts of the family, their causes, cost model, break-even sizes, answers. */
export function analyse(input: AnalyseInput): Analysis {
  const { seed, backend } = input;
  const familyResamples = input.resamples ?? FAMILY_RESAMPLES;
  const resamples = input.resamples ? Math.max(2, Math.ceil(input.resamples / 5)) : OTHER_RESAMPLES;
  const cells = input.cells.map((cell) => ({
    ...cell,
    stats: statsOf(cell.id, cell.samples, movedBytes(cell), seed, resamples),
    phases_ns: medianPhases(cell.samples),
    labels: labelsOf(cell),
  }));
  const calibrations = input.calibrations.map((calibration) => ({
    ...calibration,
    stats: statsOf(calibration.id, calibration.samples, calibration.bytes, seed, resamples),
  }));

  const family = chooseFamily(cells);
  const familyIds = new Set(family.map(pairId));
  const context = {
    cells,
    calibrations,
    backend,
    ceilingGbps: input.ceilingGbps ?? null,
    seed,
    resamples,
  };
  const judged = compareFamily(family, { seed, resamples: familyResamples, alpha: ALPHA }).map(
    (comparison) => explain(comparison, context),
  );
  const others = allPairs(cells)
    .filter((pair) => !familyIds.has(pairId(pair)))
    .flatMap(
      ({ a, b }) =>
        compareCells(a, b, { seed, resamples, alpha: ALPHA, adjustedAlpha: null }) ?? [],
    );
  const comparisons = [...judged, ...others];
  return {
    cells,
    calibrations,
    family: judged.map(({ a, b }) => `${a} -> ${b}`),
    comparisons,
    model: fitModels(cells),
    break_even: breakEvens(comparisons),
    answers: answersOf(comparisons, cells, input),
    warnings: warningsOf(cells, calibrations, judged, input),
  };
}

/**
 * Widest relative half-width of the raw 95 % intervals in the verdict table, for stopping on precision and on nothing
 * else; Infinity while a line has too few blocks for an interval, null while there is no line.
 */
export function worstInterval(cells: readonly Cell[], seed: number): number | null {
  const family = chooseFamily(cells);
  if (family.length === 0) return null;
  return widestInterval(family, { seed: `${seed}/stop`, resamples: STOPPING_RESAMPLES });
}

/** Bytes that one sample moves across the link: vectorAdd moves three vectors. */
export function movedBytes({ dir, bytes }: Pick<Cell, 'dir' | 'bytes'>): number {
  return dir === 'vectorAdd' ? 3 * bytes : bytes;
}

function statsOf(
  id: string,
  samples: readonly Sample[],
  bytes: number,
  seed: number,
  resamples: number,
): CellStats | null {
  return describe(samples, bytes, { seed: `${seed}/${id}`, resamples });
}

function medianPhases(samples: readonly Sample[]): Phases | null {
  const valid = samples.filter((sample) => sample.valid);
  const first = valid[0];
  if (!first) return null;
  const names = Object.keys(first.phases_ns) as (keyof Phases)[];
  const phases = names.map((name) => {
    const times = valid.map((sample) => sample.phases_ns[name]).filter((time) => time !== null);
    return [name, times.length > 0 ? median(times) : null];
  });
  return Object.fromEntries(phases) as Phases;
}

function warningsOf(
  cells: readonly Cell[],
  calibrations: readonly Calibration[],
  judged: readonly Comparison[],
  { runs, blocks, backend }: AnalyseInput,
): string[] {
  const warnings: string[] = [];
  const finished = Math.round(blocks * runs);
  if (finished < MIN_PAIRS_FOR_VERDICT && cells.some(({ samples }) => samples.length > 0)) {
    const done = `${finished} ${finished === 1 ? 'block was' : 'blocks were'} finished`;
    warnings.push(`${done}: ratios, but no verdicts, which need ${MIN_PAIRS_FOR_VERDICT}`);
  }
  const all = [...cells, ...calibrations];
  const invalid = all.reduce((sum, { samples }) => sum + samples.filter((s) => !s.valid).length, 0);
  if (invalid > 0) {
    const reasons = [
      ...new Set(all.flatMap(({ samples }) => samples.flatMap((s) => s.why_invalid ?? []))),
    ];
    const are = invalid === 1 ? 'sample is' : 'samples are';
    const more = reasons.length > 1 ? `; ${reasons.length} different reasons in all` : '';
    warnings.push(
      `${invalid} ${are} invalid and left out: ${reasons[0] ?? 'no reason given'}${more}`,
    );
  }
  const unwatched = new Set(
    cells.flatMap(({ cupti, cupti_why }) => (cupti ? [] : (cupti_why ?? []))),
  );
  for (const { id, cupti } of cells) {
    if (cupti?.disagreement) warnings.push(`${id}: ${cupti.disagreement}`);
  }
  for (const why of backend === 'cuda' ? unwatched : []) {
    if (!EXPECTED_WHYS.has(why)) warnings.push(`no third timer: ${why}`);
  }
  for (const { id, stats } of all) {
    if (!stats?.bimodal) continue;
    const slow = stats.n_above_3x > 0 ? `, ${stats.n_above_3x} above 3x the median` : '';
    warnings.push(
      `${id} has no single typical time (bimodal${slow}): its median stands for little`,
    );
  }
  for (const { b, verdict, cause } of judged) {
    if ((verdict === 'FASTER' || verdict === 'SLOWER') && cause === 'unexplained') {
      warnings.push(`${b}: ${verdict} for a reason that no counter here shows`);
    }
  }
  return warnings;
}
