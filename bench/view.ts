/** A bench document as text. */
import { describeMachine } from '#lib/host/environment';
import { formatBytes, formatDuration } from '#lib/units';
import { painter, type Style, wantsColour } from '#lib/view/colour';
import { ABSENT, interval, significant } from '#lib/view/numbers';
import { formatTable, type Row, wrap } from '#lib/view/table';
import type { Limit, Ratio, Spread } from './pairs.ts';
import type { BenchDocument, BenchResult, Unit } from './result.ts';

/** Ratios are judged in steps of a hundredth: one digit more than that. */
export const showRatio = (value: number): string =>
  value < 1 ? significant(value, 3) : value.toFixed(3);

export function showLimit(limit: Limit | null): string {
  if (limit === null) return ABSENT;
  return 'at_most' in limit ? `<= ${limit.at_most}` : `>= ${limit.at_least}`;
}

/** The median of one side, in its unit. */
export function showValue(spread: Spread | null, unit: Unit): string {
  if (spread === null) return ABSENT;
  switch (unit) {
    case 'ns':
      return formatDuration(spread.median);
    case 'bytes':
      return formatBytes(Math.round(spread.median));
    case 'percent':
      return `${significant(spread.median, 3)} %`;
    case 'count':
      return significant(spread.median, 6);
  }
}

/** From the smallest to the largest ratio of the floor to itself. */
export function showBand(band: Ratio | null): string {
  return band === null ? ABSENT : interval([band.min, band.max], showRatio);
}

const STYLES: Readonly<Partial<Record<BenchResult['verdict'], Style>>> = {
  OK: 'green',
  'ABOVE LIMIT': 'red',
  'BELOW LIMIT': 'red',
  failed: 'red',
  skipped: 'yellow',
};

function row(result: BenchResult): Row {
  const { name, ratio, limit, verdict, pairs, unit } = result;
  const style = STYLES[verdict] ?? 'dim';
  return {
    cells: [
      name,
      ratio === null ? ABSENT : showRatio(ratio.median),
      ratio === null ? ABSENT : interval(ratio.ci95, showRatio),
      ratio === null ? ABSENT : interval([ratio.min, ratio.max], showRatio),
      showLimit(limit),
      showBand(result.floor_band),
      showValue(result.subject_spread, unit),
      showValue(result.floor_spread, unit),
      pairs === 0 ? ABSENT : String(pairs),
      { text: verdict, style },
    ],
  };
}

export function countVerdicts(results: readonly BenchResult[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { verdict } of results) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}

export function render(document: BenchDocument, stream: NodeJS.WriteStream): string {
  const { env, results } = document;
  const width = stream.columns ?? 160;
  const paint = painter(wantsColour(stream));
  const load = (values: readonly number[]): string => values.map((v) => v.toFixed(2)).join(' ');
  const lines = [
    `${describeMachine(env)}, commit ${env.commit?.slice(0, 12) ?? ABSENT}`,
    `load average ${load(env.load_average.before)} before, ${load(env.load_average.after)} after`,
    '',
    ...formatTable(
      [
        { title: 'result' },
        { title: 'ratio', align: 'right' },
        { title: '95 % CI' },
        { title: 'min, max' },
        { title: 'limit', align: 'right' },
        { title: 'A/A min, max' },
        { title: 'subject', align: 'right' },
        { title: 'floor', align: 'right' },
        { title: 'pairs', align: 'right' },
        { title: 'verdict' },
      ],
      results.map(row),
      { paint, width },
    ),
    '',
  ];
  for (const { name, verdict, reason } of results) {
    if (reason !== null) lines.push(...wrap(`${name} ${verdict}: ${reason}`, width, '', '  '));
  }
  const counts = Object.entries(countVerdicts(results)).map(([verdict, n]) => `${n} ${verdict}`);
  lines.push(`${results.length} results: ${counts.join(', ')}`);
  return lines.join('\n');
}
