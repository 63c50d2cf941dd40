import type { Manifest } from '../../monitor/recording/manifest.ts';
import type { RecordedTable } from '../../monitor/recording/open-recording.ts';
import { isoTime } from '../../monitor/recording/summary.ts';
import type { TimeWindow } from '../../monitor/recording/time-window.ts';
import { formatBytes, formatDuration } from '../../units.ts';
import { packageVersion } from '../../version.ts';
import { ABSENT, numberOf, significant } from '../numbers.ts';
import { escapeXml } from '../plots/svg.ts';
import type { Collected, SeriesTotals } from './collect.ts';
import type { Quantity } from './format.ts';
import { type GroupTotals, MOST_SLICES } from './slice-collector.ts';
import { REPORT_STYLE } from './style.ts';

/** What the tables under the plots are made of. */
export interface PageFacts {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly tables: readonly RecordedTable[];
  readonly window: TimeWindow;
  readonly collected: Collected;
  /** Why something could not be had, one sentence each. */
  readonly states: readonly string[];
  /** What the summary of a CUDA trace says, of the whole recording; empty where there is none. */
  readonly summary: string;
}

type Column = readonly [title: string, kind?: 'number'];

function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  if (rows.length === 0) return '';
  const attribute = ([, kind]: Column): string => (kind === undefined ? '' : ' class="number"');
  const head = columns.map((one) => `<th scope="col"${attribute(one)}>${escapeXml(one[0])}</th>`);
  const body = rows.map(
    (row) =>
      `<tr>${row.map((cell, at) => `<td${attribute(columns[at] as Column)}>${escapeXml(cell)}</td>`).join('')}</tr>`,
  );
  return `<h2>${escapeXml(caption)}</h2>\n<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>\n`;
}

const grouped = (value: number): string =>
  value.toLocaleString('en-US', { maximumFractionDigits: 0 });

function quantity(value: number | null, of: string): string {
  if (value === null || !Number.isFinite(value)) return ABSENT;
  switch (of as Quantity) {
    case 'bytes/s':
      return `${significant(value / 1e9, 3)} GB/s`;
    case 'bytes':
      return formatBytes(Math.round(value));
    case 'share':
      return `${significant(value * 100, 3)} %`;
    case 'per second':
      return `${value >= 1000 ? grouped(value) : significant(value, 3)}/s`;
    default:
      return value >= 1e4 ? grouped(value) : significant(value, 4);
  }
}

function copyTable(copies: readonly GroupTotals[]): string {
  const rows = copies.map(({ label, count, bytes, ns }) => [
    label,
    grouped(count),
    formatBytes(bytes),
    formatDuration(ns),
    ns > 0 ? `${significant(bytes / ns, 3)} GB/s` : ABSENT,
  ]);
  const columns = [
    ['Direction, host memory'],
    ['Copies', 'number'],
    ['Bytes', 'number'],
    ['Time in copies', 'number'],
    ['Bytes by time', 'number'],
  ] as const;
  return table('Copies', columns, rows);
}

function kernelTable(kernels: readonly GroupTotals[], length: number): string {
  const rows = kernels.map(({ label, count, ns }) => [
    label,
    grouped(count),
    formatDuration(ns),
    `${significant((100 * ns) / Math.max(length, 1), 3)} %`,
  ]);
  const columns = [
    ['GPU'],
    ['Kernels', 'number'],
    ['Time in kernels', 'number'],
    ['Of the time (side by side counts twice)', 'number'],
  ] as const;
  return table('Kernels', columns, rows);
}

function seriesTable(series: readonly SeriesTotals[], leftOut: number): string {
  const rows = series.map(
    ({ panel, label, origin, unit, least, mean, largest, detail, simulated }) => [
      panel,
      `${label}${simulated ? ' (Simulated)' : ''}`,
      quantity(least, unit),
      quantity(mean, unit),
      quantity(largest, unit),
      detail,
      origin,
    ],
  );
  const columns = [
    ['Plot'],
    ['Line'],
    ['Least', 'number'],
    ['Mean over time', 'number'],
    ['Most', 'number'],
    ['Kept'],
    ['Table, column, key'],
  ] as const;
  const note =
    leftOut > 0
      ? `<p class="note">${numberOf(leftOut, 'line')} beyond eight of a plot left out.</p>\n`
      : '';
  return table('Lines', columns, rows) + note;
}

function lossTable(tables: readonly RecordedTable[]): string {
  const rows = tables
    .filter(({ rows, dropped }) => rows > 0 || dropped > 0)
    .map((one) => [
      one.name,
      grouped(one.rows),
      one.missed === null ? ABSENT : grouped(one.missed),
      grouped(one.dropped),
      [one.torn ? 'torn: rows up to the last whole batch' : '', one.simulated ? 'Simulated' : '']
        .filter((text) => text !== '')
        .join(', '),
    ]);
  const columns = [
    ['Table'],
    ['Rows', 'number'],
    ['Missed ticks', 'number'],
    ['Dropped rows', 'number'],
    [''],
  ] as const;
  return table('What was recorded, and what was lost', columns, rows);
}

function markTable({ collected, window }: PageFacts): string {
  const rows = collected.meta.marks.map(({ at, name }) => [
    name,
    `${significant((at + collected.meta.offset) / 1e9, 6)} s`,
    isoTime(window.from + BigInt(Math.round(at))),
  ]);
  return table('Marks', [['Name'], ['After the start', 'number'], ['Time']], rows);
}

function list(caption: string, lines: readonly string[]): string {
  if (lines.length === 0) return '';
  const items = lines.map((line) => `<li>${escapeXml(line)}</li>`);
  return `<h2>${escapeXml(caption)}</h2>\n<ul>\n${items.join('\n')}\n</ul>\n`;
}

function summarySection(summary: string): string {
  if (summary === '') return '';
  return `<h2>Summary of the trace</h2>\n<p class="note">Of the whole recording.</p>\n<div class="scroll"><pre>${escapeXml(summary)}</pre></div>\n`;
}

/** Slices that are not there one by one, in words. */
function bounds({ meta }: Collected): string[] {
  return [meta.copies, meta.kernels].flatMap((slices) => {
    if (slices === null || slices.until === null) return [];
    const until = significant((slices.until + meta.offset) / 1e9, 6);
    return [
      `Of ${grouped(slices.total)} ${slices.title.toLowerCase()} the first ${grouped(MOST_SLICES)}, up to ${until} s, are there one by one, all others as sums: --from and --to make a page of a piece.`,
    ];
  });
}

/** The page up to the data. `hash`: of the script, which alone may run. */
export function pageHead(facts: PageFacts, hash: string): string {
  const { dir, manifest, window, collected } = facts;
  const title = `warpgauge report, ${dir}${manifest.simulated ? ', Simulated' : ''}`;
  const badge = manifest.simulated ? ' <span class="origin">Simulated</span>' : '';
  const command =
    manifest.command === null
      ? ''
      : `<p>Command: <code>${escapeXml(manifest.command.join(' '))}</code></p>\n`;
  const simulated = facts.tables.filter((one) => one.simulated).map(({ name }) => name);
  const length = Number(window.to - window.from);
  const about = [
    `${isoTime(window.from)} to ${isoTime(window.to)} (${formatDuration(length)})`,
    manifest.host.hostname === null ? '' : `host ${manifest.host.hostname}`,
    `run ${manifest.run}`,
    `warpgauge ${packageVersion()}`,
  ].filter((text) => text !== '');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'">
<title>${escapeXml(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<h1>${escapeXml(dir)}${badge}</h1>
<p class="note">${escapeXml(about.join('; '))}</p>
${command}${simulated.length > 0 ? `<p class="note">Simulated: no real device is behind ${escapeXml(simulated.join(', '))}.</p>\n` : ''}<div id="viewer"><p>Reading the data...</p><noscript><p class="broken">The plots need JavaScript; the tables below hold without it.</p></noscript></div>
<p class="note">Wheel: closer and further. Drag: move; with Shift: choose a piece. Double click: all. Keys on the plots: arrows, + and -, 0, n and p. The address keeps the view. All times are UTC on one clock; what is null is left empty, never 0.</p>
${bounds(collected)
  .map((line) => `<p class="note">${escapeXml(line)}</p>\n`)
  .join(
    '',
  )}${summarySection(facts.summary)}${copyTable(collected.copies)}${kernelTable(collected.kernels, length)}${seriesTable(collected.series, collected.leftOut)}${markTable(facts)}${lossTable(facts.tables)}${list('What could not be had', facts.states)}`;
}

/** JSON that cannot end the script element that it stands in, whatever strings it holds. */
export function embeddedJson(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
