import type {
  Cell,
  Comparison,
  MemcpyDocument,
  PreflightLine,
  Verdict,
} from '../measure/memcpy/types.ts';
import { formatBytes, formatDuration } from '../units.ts';
import { type Paint, painter, type Style } from './colour.ts';
import {
  against4k,
  baseKind,
  type CellCounters,
  type CellGroup,
  causeText,
  countersOf,
  groupTitle,
  illegalLine,
  isMomentary,
  measuredGroups,
  missingRows,
  notesOf,
  originLabels,
  provenMethods,
  provenPages,
  runFacts,
  shareMethods,
  verdictFamily,
  whyNoStats,
} from './memcpy-rows.ts';
import {
  ABSENT,
  count,
  interval,
  numberOf,
  percent,
  ratio,
  ratioNumber,
  significant,
} from './numbers.ts';
import { type Column, formatTable, printable, type Row, type TableCell, wrap } from './table.ts';

export interface RenderOptions {
  /** ANSI colours; see `wantsColour`. */
  readonly colour: boolean;
  /** Columns of the terminal; 100 where it is not known. Commands are never broken. */
  readonly width: number;
}

const VERDICT_STYLE: Readonly<Record<Verdict, Style>> = {
  FASTER: 'green',
  SLOWER: 'red',
  SAME: 'bold',
  AMBIGUOUS: 'yellow',
  none: 'dim',
};

function heading(
  title: string,
  document: Pick<MemcpyDocument, 'proxy' | 'device'>,
  paint: Paint,
): string {
  const labels = originLabels(document);
  return (
    paint('bold', title) +
    (labels.length === 0 ? '' : ` ${paint('yellow', `(${labels.join(', ')})`)}`)
  );
}

/** A command or a piece of code: on its own line, never wrapped, so that it can be copied. */
function command(label: string, text: string, paint: Paint, indent: string): string {
  return `${indent}${paint('dim', label)} ${printable(text)}`;
}

/** What holds good in one compact paragraph; each WARN and NO with its effect and fix. */
export function renderPreflight(lines: readonly PreflightLine[], options: RenderOptions): string {
  const paint = painter(options.colour);
  const good = lines.filter((line) => line.level === 'OK');
  const output = [paint('bold', 'Preflight')];
  for (const line of lines) {
    if (line.level === 'OK') continue;
    const level = paint(line.level === 'NO' ? 'red' : 'yellow', line.level.padEnd(4));
    const [first = '', ...rest] = wrap(`${line.check}: ${line.value}`, options.width - 7, '', '');
    output.push(`  ${level} ${first}`, ...rest.map((text) => `       ${text}`));
    if (line.effect !== null)
      output.push(...wrap(`effect: ${line.effect}`, options.width, '       '));
    if (line.fix !== null) output.push(command('fix:', line.fix, paint, '       '));
  }
  if (good.length > 0) {
    const text = good.map((line) => `${line.check} ${line.value}`).join(', ');
    const [first = '', ...rest] = wrap(text, options.width - 7);
    output.push(`  ${paint('green', 'OK  ')} ${first}`, ...rest.map((line) => `       ${line}`));
  }
  return output.join('\n');
}

const VERDICT_COLUMNS: readonly Column[] = [
  { title: 'Direction' },
  { title: 'Pin' },
  { title: 'State' },
  { title: 'Size', align: 'right' },
  { title: 'Pages' },
  { title: 'Speed-up', align: 'right' },
  // The matrix has it too, and the verdict goes by the other one.
  { title: '95 % CI', spare: true },
  { title: 'Adjusted CI' },
  { title: 'Verdict' },
];

/** The verdict table: one line per member of the family, its cause and numbers below it. */
export function renderVerdicts(document: MemcpyDocument, options: RenderOptions): string {
  const paint = painter(options.colour);
  const family = verdictFamily(document);
  const output = [heading('Verdicts', document, paint)];
  if (family.length === 0) {
    let why = 'no cell gave a valid sample';
    if (document.cells.some((cell) => cell.stats !== null)) {
      why = 'no larger page kind was measured beside 4k; the matrix has what was measured';
    }
    return [...output, ...wrap(`No verdicts: ${why}.`, options.width, '  ')].join('\n');
  }
  const rows = family.map((one): Row => {
    const mark = isMomentary(one) ? ' *' : '';
    const cause = causeText(one);
    return {
      cells: [
        one.dir,
        one.pin,
        one.state,
        formatBytes(one.bytes),
        baseKind(one) === '4k' ? one.kind : `${one.kind} vs ${baseKind(one)}`,
        { text: ratio(one.speedup), style: 'bold' },
        interval(one.ci95, ratioNumber),
        interval(one.ci_adjusted, ratioNumber),
        { text: one.verdict + mark, style: VERDICT_STYLE[one.verdict] },
      ],
      below:
        cause === null
          ? []
          : wrap(cause, options.width - 2, '    ').map((line) => paint('dim', line)),
    };
  });
  output.push(...formatTable(VERDICT_COLUMNS, rows, { paint, width: options.width }));
  const resamples = family[0]?.resamples;
  const corrected =
    `Speed-up over 4k: above 1 the larger page is faster. Family of ${family.length}, intervals corrected together` +
    ` (${family[0]?.method}, ${resamples} resamples).`;
  output.push(...wrap(corrected, options.width, '  ').map((line) => paint('dim', line)));
  const methods = shareMethods(family);
  if (methods !== null) {
    output.push(...wrap(methods, options.width, '  ').map((line) => paint('dim', line)));
  }
  if (family.some(isMomentary)) {
    const moment =
      '* this moment only: a warm ratio against 4k depends on where the 4 KB pages lie in physical memory now; --runs N shows the range.';
    output.push(...wrap(moment, options.width, '  ').map((line) => paint('dim', line)));
  }
  return output.join('\n');
}

const MATRIX_COLUMNS: readonly Column[] = [
  { title: 'Size', align: 'right' },
  { title: 'Pages' },
  { title: 'GB/s', align: 'right' },
  { title: '95 % CI' },
  { title: 'vs 4k', align: 'right' },
  { title: 'of link', align: 'right' },
  { title: 'Total', align: 'right' },
  { title: 'Per page', align: 'right', spare: true },
  { title: 'Faults', align: 'right' },
  { title: 'Pins ~', align: 'right' },
  { title: 'CUPTI', align: 'right', spare: true },
  { title: 'sys', align: 'right' },
  { title: 'Proven' },
];

/** Registration, copy and release together, beside the headline that is the copy alone. */
function totalText(totalNs: number | null, speedup: Comparison | undefined): string {
  if (totalNs === null) return '';
  const gain = speedup?.total_speedup ?? null;
  return formatDuration(totalNs) + (gain === null ? '' : ` ${ratio(gain)}`);
}

/** One number where both counters agree: perf_event does not see faults that pinning takes, rusage does. */
function faultsText({ faultsPerf, faultsRusage }: CellCounters): string {
  return faultsPerf === faultsRusage
    ? count(faultsRusage)
    : `${count(faultsPerf)}/${count(faultsRusage)}`;
}

/** Throughput by CUPTI's own duration of the copies; `!` where it saw other bytes or memory than the cell is about. */
function cuptiText({ cupti }: Cell): TableCell {
  if (!cupti) return ABSENT; // undefined in results of earlier versions
  const gbps = significant(cupti.bytes / cupti.copy_ns);
  return cupti.agrees ? gbps : { text: `${gbps} !`, style: 'red' };
}

function matrixRows(group: CellGroup, document: MemcpyDocument): Row[] {
  const speedups = against4k(document);
  const ceiling = document.device?.ceiling_gbps ?? null;
  const link = (gbps: number): string =>
    ceiling === null || group.metric !== 'copy' ? '' : percent(gbps / ceiling);
  let previous: number | null = null;
  return group.cells.map((cell): Row => {
    const size = cell.bytes === previous ? '' : formatBytes(cell.bytes);
    previous = cell.bytes;
    if (cell.stats === null) {
      return { cells: [size, cell.kind, ABSENT], below: wrap(whyNoStats(cell), 94, '        ') };
    }
    const counters = countersOf(cell);
    const speedup = speedups.get(cell.id);
    const flags: string[] = [];
    if (cell.stats.bimodal) flags.push('bimodal');
    if (cell.stats.n_invalid > 0) flags.push(`${cell.stats.n_invalid} invalid`);
    const proven = provenPages(cell) ?? ABSENT;
    const last: TableCell =
      flags.length === 0 ? proven : { text: `${proven}, ${flags.join(', ')}`, style: 'yellow' };
    return {
      cells: [
        size,
        cell.kind,
        significant(cell.stats.median_gbps),
        interval(cell.stats.ci95_gbps),
        speedup === undefined ? ABSENT : ratio(speedup.speedup),
        link(cell.stats.median_gbps),
        totalText(counters.totalNs, speedup),
        counters.nsPerPage === null ? ABSENT : formatDuration(counters.nsPerPage),
        faultsText(counters),
        count(counters.pins),
        cuptiText(cell),
        percent(counters.sysShare),
        last,
      ],
    };
  });
}

/** Every measured cell with raw intervals, then the cells that gave no number, with reason and fix. */
export function renderMatrix(document: MemcpyDocument, options: RenderOptions): string {
  const paint = painter(options.colour);
  const output = [heading('Matrix', document, paint)];
  const groups = measuredGroups(document);
  if (groups.length === 0) output.push('  No cell was measured.');
  for (const group of groups) {
    output.push(`  ${paint('bold', groupTitle(group))}`);
    output.push(
      ...formatTable(MATRIX_COLUMNS, matrixRows(group, document), {
        paint,
        width: options.width,
        indent: '    ',
      }),
    );
  }
  if (groups.length > 0) {
    const legend =
      'GB/s: median, 1 GB = 1e9 bytes, raw 95 % interval. Per page: of that kind. Total: registration, copy and release. Faults: per sample, perf/rusage where they differ (only rusage sees those in pinning). ' +
      "sys: share in the kernel. -: not measured (sys: below 20 ms the kernel's ticks are too coarse). " +
      (document.cells.some(({ cupti }) => cupti)
        ? 'CUPTI: GB/s by its own duration of the copies, in three further ones. '
        : '') +
      `Page size proven by ${provenMethods(document)}.`;
    output.push(...wrap(legend, options.width, '  ').map((line) => paint('dim', line)));
  }
  const missing = missingRows(document);
  if (missing.length > 0) {
    output.push(`  ${paint('bold', 'Not measured')}`);
    const rows = missing.map((row): Row => {
      const cells: TableCell[] = [
        row.dir,
        row.pin,
        row.state,
        row.kinds.join(', '),
        row.sizes.length > 3
          ? `${formatBytes(row.sizes[0] ?? 0)} - ${formatBytes(row.sizes.at(-1) ?? 0)} (${row.sizes.length})`
          : row.sizes.map(formatBytes).join(', '),
        { text: `${row.status}: ${row.reason}`, style: row.status === 'failed' ? 'red' : 'yellow' },
      ];
      return { cells, below: row.fix === null ? [] : [command('fix:', row.fix, paint, '    ')] };
    });
    const columns = ['Direction', 'Pin', 'State', 'Pages', 'Size', 'Why'].map((title) => ({
      title,
    }));
    output.push(...formatTable(columns, rows, { paint, width: options.width, indent: '    ' }));
  }
  const illegal = illegalLine(document);
  if (illegal !== null) output.push(...wrap(illegal, options.width, '  '));
  return output.join('\n');
}

/** One sentence per direction, how to get the gain, and the line that repeats the run. */
export function renderAnswers(document: MemcpyDocument, options: RenderOptions): string {
  const paint = painter(options.colour);
  const output = [heading('Answer', document, paint)];
  if (document.answers.length === 0) output.push('  No answer: nothing was compared.');
  for (const answer of document.answers) {
    output.push(...wrap(`${answer.dir}: ${answer.text}`, options.width, '  ', '    '));
    if (answer.how !== null) output.push(command('how:', answer.how, paint, '    '));
  }
  output.push('', command('Reproduce:', document.reproduce, paint, ''));
  return output.join('\n');
}

function renderTitle(document: MemcpyDocument, options: RenderOptions): string {
  const paint = painter(options.colour);
  const output = [
    heading(
      `warpgauge ${document.tool.version} bench memcpy, backend ${document.backend}`,
      document,
      paint,
    ),
  ];
  output.push(...wrap(`${runFacts(document).join(', ')}.`, options.width, '  '));
  for (const pool of document.reserved) {
    const returned = pool.returned === null ? 'not returned yet' : `${pool.returned} returned`;
    const node = pool.node === null ? '' : ` on node ${pool.node}`;
    output.push(
      `  reserved ${numberOf(pool.pages, 'page')} of ${formatBytes(pool.page_bytes)}${node}, ${returned}`,
    );
  }
  return output.join('\n');
}

function renderNotes(document: MemcpyDocument, options: RenderOptions): string {
  const paint = painter(options.colour);
  return notesOf(document)
    .flatMap((note) => {
      const [first = '', ...rest] = wrap(note, options.width - 6);
      return [`${paint('yellow', 'note:')} ${first}`, ...rest.map((line) => `      ${line}`)];
    })
    .join('\n');
}

/**
 * The whole result for a terminal: preflight first, then verdicts, matrix, notes, and last the answers with
 * the reproduce line. Plain ASCII; no colour unless asked.
 */
export function renderMemcpy(document: MemcpyDocument, options: RenderOptions): string {
  const sections = [
    renderTitle(document, options),
    renderPreflight(document.preflight, options),
    renderVerdicts(document, options),
    renderMatrix(document, options),
    renderNotes(document, options),
    renderAnswers(document, options),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}
