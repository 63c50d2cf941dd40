import type { RecoverResult } from '../monitor/recording/recover.ts';
import type {
  ColumnSummary,
  RecordingSummary,
  TableSummary,
} from '../monitor/recording/summary.ts';
import { formatBytes, formatDuration } from '../units.ts';
import { type Paint, painter } from './colour.ts';
import { ABSENT, count, numberOf, significant } from './numbers.ts';
import { formatTable, printable, type Row, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

/** Columns of one table that are shown, unless all are asked for: more are not read. */
const COLUMNS = 10;
/** The same between two marks, where all tables come once more. */
const SECTION_COLUMNS = 5;
const STATES = 20;

/** How much of a recording is shown. */
export interface RecordingRenderOptions extends RenderOptions {
  /** Every column that moved and every state. Default false: of each table the columns that tell most. */
  readonly all?: boolean;
}

/** Tables of the recorder that are empty in most recordings. */
const ASIDE = ['mark', 'span', 'state', 'action'];

const grouped = (value: number | null): string =>
  value === null ? ABSENT : value.toLocaleString('en-US', { maximumFractionDigits: 0 });

/** A number with its unit: bytes and durations as people write them. */
function quantity(value: number, unit: string, perSecond: boolean): string {
  const rate = perSecond ? '/s' : '';
  if (unit === 'bytes' && value >= 0) return `${formatBytes(significantNumber(value))}${rate}`;
  if (unit === 'ns') return `${formatDuration(value)}${rate}`;
  const shown =
    Number.isInteger(value) || Math.abs(value) >= 1e4 ? grouped(value) : significant(value, 4);
  return `${shown}${unit === '1' || unit === '' ? '' : ` ${unit}`}${rate}`;
}

/** What a counter gained; how far a gauge swung, as a share of its largest value. */
function weight({ total, min, max }: ColumnSummary): number {
  return total ?? (max - min) / (Math.max(Math.abs(min), Math.abs(max)) || 1);
}

/**
 * The columns that tell most, in the order of the table: by turns the counter that gained most and the gauge that swung
 * most, and no second entity (device, CPU) of a column before each column had its turn.
 */
function mostTelling(columns: readonly ColumnSummary[], most: number): readonly ColumnSummary[] {
  if (columns.length <= most) return columns;
  const ranked = (of: ColumnSummary['of']): ColumnSummary[] => {
    const kind = columns.filter((each) => each.of === of).sort((a, b) => weight(b) - weight(a));
    const seen = new Set<string>();
    const first = kind.filter(({ column }) => !seen.has(column) && seen.add(column));
    return [...new Set([...first, ...kind])];
  };
  const [counters, gauges] = [ranked('rate'), ranked('value')];
  const byTurns = columns.flatMap((_, at) => [counters[at], gauges[at]]);
  const chosen = new Set(byTurns.filter((each) => each !== undefined).slice(0, most));
  return columns.filter((each) => chosen.has(each));
}

const significantNumber = (value: number): number => Math.round(value);

function movedRows(columns: readonly ColumnSummary[]): Row[] {
  return columns.map(({ column, key, unit, of, total, min, median, p99, max }) => {
    const rate = of === 'rate';
    return {
      cells: [
        key === null ? column : `${key} ${column}`,
        total === null ? ABSENT : quantity(total, unit, false),
        ...[min, median, p99, max].map((value) => quantity(value, unit, rate)),
      ],
    };
  });
}

interface Layout {
  readonly paint: Paint;
  readonly width: number;
}

function moved(
  columns: readonly ColumnSummary[],
  moreKeys: number,
  most: number,
  { paint, width }: Layout,
): string[] {
  if (columns.length === 0) return ['    nothing moved'];
  const shown = mostTelling(columns, most);
  const right = { align: 'right' } as const;
  const lines = formatTable(
    [
      { title: 'what moved' },
      { title: 'total', ...right },
      { title: 'min', ...right },
      { title: 'median', ...right },
      { title: 'p99', ...right },
      { title: 'max', ...right },
    ],
    movedRows(shown),
    { paint, width, indent: '    ' },
  );
  if (columns.length > shown.length) {
    lines.push(
      `    and ${numberOf(columns.length - shown.length, 'more column')}: warpgauge show --all`,
    );
  }
  if (moreKeys > 0)
    lines.push(
      `    and ${numberOf(moreKeys, 'more entity').replace('entitys', 'entities')}, not described`,
    );
  return lines;
}

function tableLines(tables: readonly TableSummary[], paint: Paint, width: number): string[] {
  const right = { align: 'right' } as const;
  return formatTable(
    [
      { title: 'table' },
      { title: 'interval', ...right },
      { title: 'rows', ...right },
      { title: 'ticks', ...right },
      { title: 'missed', ...right },
      { title: 'dropped', ...right },
      { title: 'notes' },
    ],
    tables.map((table) => ({
      cells: [
        table.name,
        table.intervalMs === null ? ABSENT : formatDuration(table.intervalMs * 1e6),
        grouped(table.rows),
        grouped(table.ticks),
        table.missed !== null && table.missed > 0
          ? { text: grouped(table.missed), style: 'yellow' as const }
          : grouped(table.missed),
        table.dropped > 0
          ? { text: grouped(table.dropped), style: 'red' as const }
          : grouped(table.dropped),
        [table.simulated ? 'Simulated' : '', table.torn ? 'not ended: warpgauge recover' : '']
          .filter((note) => note !== '')
          .join(', '),
      ],
    })),
    { paint, width },
  );
}

const ENDS: Readonly<Record<RecordingSummary['end'], string>> = {
  running: 'the recorder was killed',
  closed: 'closed',
  duration: 'its duration was over',
  interrupted: 'interrupted',
  'max-bytes': 'its size was reached',
  rotated: 'the next part went on',
  command: 'the command ended',
  failed: 'failed',
  recovered: 'the recorder was killed; recovered',
};

/** What could not be had, or not at the asked rate, in one line. */
export function stateLine(row: RecordingSummary['states'][number]): string {
  const { table, key, field, state, reason, code } = row;
  const what = [table, key, field].filter((part) => part !== '').join(' ');
  const why = reason === '' ? '' : `, ${reason}`;
  // The rate that it can do here; of all other states the code is a number of the kernel or the driver.
  const rate = reason === 'too_slow' && code > 0 ? `: once in ${formatDuration(code)} at best` : '';
  return `${what}: ${state}${why}${rate}`;
}

/** `warpgauge show`, and what `record` prints at its end. */
export function renderRecording(
  summary: RecordingSummary,
  options: RecordingRenderOptions,
): string {
  const paint = painter(options.colour);
  const { width, all = false } = options;
  const layout = { paint, width };
  const limit = (most: number): number => (all ? Number.POSITIVE_INFINITY : most);
  const end = summary.running ? 'still being written' : ENDS[summary.end];
  const lines = [
    `${paint('bold', printable(summary.dir))}  ${formatDuration(summary.durationNs)}, ${end}${summary.simulated ? paint('yellow', ' (Simulated)') : ''}`,
  ];
  if (summary.command !== null) lines.push(...wrap(`command: ${summary.command.join(' ')}`, width));
  if (summary.error !== null) lines.push(paint('red', printable(summary.error.message)));
  const shown = summary.tables.filter(({ name, rows }) => !ASIDE.includes(name) || rows > 0);
  lines.push(
    ...tableLines(
      shown.filter(({ name }) => name !== 'clock'),
      paint,
      width,
    ),
  );
  for (const { name, moved: columns, moreKeys, kind, rows } of summary.tables) {
    if (['clock', 'state', 'mark', 'action'].includes(name) || rows === 0) continue;
    lines.push('', `  ${paint('bold', name)}${kind === 'sample' ? '' : ` (${kind}s)`}`);
    lines.push(...moved(columns, moreKeys, limit(COLUMNS), layout));
  }
  for (const section of summary.sections) {
    lines.push(
      '',
      `  ${paint('bold', section.mark ?? 'before the first mark')}  ${formatDuration(section.durationNs)}`,
    );
    for (const { name, rows, moved: columns } of section.tables) {
      if (rows === 0) continue;
      lines.push(
        `   ${name}: ${numberOf(rows, 'row')}`,
        ...moved(columns, 0, limit(SECTION_COLUMNS), layout),
      );
    }
  }
  const missing = summary.states.filter(({ state }) => state !== 'ok');
  if (missing.length > 0) lines.push('', `  ${paint('bold', 'what could not be had')}`);
  for (const state of missing.slice(0, limit(STATES))) {
    lines.push(...wrap(stateLine(state), width, '    ', '      '));
  }
  const more = missing.length - limit(STATES);
  if (more > 0) lines.push(`    and ${numberOf(more, 'more line')}: warpgauge show --all`);
  return lines.join('\n');
}

/** `warpgauge recover` */
export function renderRecovered(result: RecoverResult): string {
  if (!result.changed) return `${printable(result.dir)} is whole; nothing was changed`;
  return result.tables
    .map(({ name, rows, cutBytes, changed, removed }) => {
      if (removed) return `${name}: no whole schema, the file is gone`;
      if (!changed) return `${name}: ${numberOf(rows, 'row')}, whole`;
      return `${name}: ${numberOf(rows, 'row')}, ${count(cutBytes)} bytes of a half-written batch cut`;
    })
    .join('\n');
}
