/** What changed between two documents, as rows of a table. */
import { ABSENT, interval } from '#lib/view/numbers';
import type { Row } from '#lib/view/table';
import type { Ratio } from './pairs.ts';
import type { BenchDocument, BenchResult } from './result.ts';
import { showRatio } from './view.ts';

export const COLUMNS = [
  { title: 'result' },
  { title: 'A ratio, 95 % CI' },
  { title: 'A' },
  { title: 'B ratio, 95 % CI' },
  { title: 'B' },
  { title: 'B / A' },
  { title: 'B is' },
] as const;

/** Disjoint intervals are a difference; overlapping ones decide nothing. */
export function change(a: Ratio | null, b: Ratio | null): 'higher' | 'lower' | 'undecided' {
  if (a === null || b === null || a.ci95 === null || b.ci95 === null) return 'undecided';
  if (b.ci95[0] > a.ci95[1]) return 'higher';
  return b.ci95[1] < a.ci95[0] ? 'lower' : 'undecided';
}

function show(result: BenchResult | undefined): string {
  if (result === undefined) return ABSENT;
  if (result.ratio === null) return result.verdict;
  return `${showRatio(result.ratio.median)} ${interval(result.ratio.ci95, showRatio)}`;
}

export function compare(a: BenchDocument, b: BenchDocument): Row[] {
  const find = (document: BenchDocument, name: string): BenchResult | undefined =>
    document.results.find((result) => result.name === name);
  const names = [...new Set([...a.results, ...b.results].map(({ name }) => name))];
  return names.map((name) => {
    const [left, right] = [find(a, name), find(b, name)];
    const both = left?.ratio && right?.ratio ? right.ratio.median / left.ratio.median : null;
    return {
      cells: [
        name,
        show(left),
        left?.verdict ?? ABSENT,
        show(right),
        right?.verdict ?? ABSENT,
        both === null ? ABSENT : showRatio(both),
        both === null ? ABSENT : change(left?.ratio ?? null, right?.ratio ?? null),
      ],
    };
  });
}
