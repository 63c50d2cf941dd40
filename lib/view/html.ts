import type { MemcpyDocument } from '../measure/memcpy/types.ts';
import { formatBytes, formatDuration } from '../units.ts';
import {
  against4k,
  baseKind,
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
import { ABSENT, count, interval, percent, ratio, ratioNumber, significant } from './numbers.ts';
import { memcpyPlots } from './plots/memcpy.ts';
import { escapeXml } from './plots/svg.ts';

/** HTML that is already escaped; plain strings never are. */
interface Markup {
  readonly html: string;
}

type Content = string | Markup;

const markup = (html: string): Markup => ({ html });
const write = (content: Content): string =>
  typeof content === 'string' ? escapeXml(content) : content.html;
const code = (text: string): Markup => markup(`<code>${escapeXml(text)}</code>`);

const STYLE = `
:root { color-scheme: light; }
body { margin: 0 auto; padding: 24px; max-width: 1180px; background: #ffffff; color: #1a1a1a;
  font: 15px/1.5 "DejaVu Sans", Verdana, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 36px 0 8px; } h3 { font-size: 15px; margin: 20px 0 6px; }
.origin { display: inline-block; padding: 1px 10px; border: 1px solid #8a5a00; border-radius: 10px; background: #fff4d6;
  color: #5c3c00; font-size: 14px; font-weight: bold; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; border-bottom: 1px solid #e3e3e3; text-align: left; vertical-align: top; }
th { color: #595959; font-weight: normal; border-bottom-color: #8c8c8c; }
td.number, th.number { text-align: right; } .matrix td { white-space: nowrap; }
tr.below td { border-top: 0; color: #595959; padding-left: 24px; }
tr.above td { border-bottom: 0; }
.FASTER, .OK { color: #00603f; font-weight: bold; } .SLOWER, .NO { color: #b00020; font-weight: bold; }
.SAME { font-weight: bold; } .AMBIGUOUS, .WARN { color: #7a4d00; font-weight: bold; }
code { background: #f3f3f3; padding: 1px 5px; font-size: 13px; overflow-wrap: anywhere; }
.note { color: #595959; font-size: 13px; } .answer { font-size: 17px; }
figure { margin: 24px 0; } figure svg { max-width: 100%; height: auto; }
`;

/** A table; columns without any content are left out. */
function table(
  columns: readonly (readonly [title: string, kind?: 'number'])[],
  rows: readonly { readonly cells: readonly Content[]; readonly below?: Content | null }[],
  className = '',
): string {
  const shown = columns
    .map(([title, kind], index) => ({
      title,
      index,
      attribute: kind === 'number' ? ' class="number"' : '',
    }))
    .filter(({ index }) =>
      rows.some(({ cells }) => ![undefined, '', ABSENT].includes(cells[index] as string)),
    );
  const head = shown
    .map(({ title, attribute }) => `<th scope="col"${attribute}>${escapeXml(title)}</th>`)
    .join('');
  const body = rows.map(({ cells, below = null }) => {
    const row = shown
      .map(({ index, attribute }) => `<td${attribute}>${write(cells[index] ?? '')}</td>`)
      .join('');
    if (below === null) return `<tr>${row}</tr>`;
    return `<tr class="above">${row}</tr><tr class="below"><td colspan="${shown.length}">${write(below)}</td></tr>`;
  });
  return `<div class="scroll"><table class="${className}"><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`;
}

function verdictSection(document: MemcpyDocument): string {
  const family = verdictFamily(document);
  if (family.length === 0) return '<p>No verdicts: no larger page kind was measured beside 4k.</p>';
  const rows = family.map((one) => ({
    cells: [
      one.dir,
      one.pin,
      one.state,
      formatBytes(one.bytes),
      baseKind(one) === '4k' ? one.kind : `${one.kind} vs ${baseKind(one)}`,
      ratio(one.speedup),
      interval(one.ci95, ratioNumber),
      interval(one.ci_adjusted, ratioNumber),
      markup(
        `<span class="${one.verdict}">${one.verdict}</span>${isMomentary(one) ? ' (this moment only)' : ''}`,
      ),
    ],
    below: causeText(one),
  }));
  const columns = [
    ['Direction'],
    ['Pin'],
    ['State'],
    ['Size', 'number'],
    ['Pages'],
    ['Speed-up', 'number'],
    ['95 % CI', 'number'],
    ['Adjusted CI', 'number'],
    ['Verdict'],
  ] as const;
  return `${table(columns, rows)}
<p class="note">Speed-up over 4k: above 1 the larger page is faster. Intervals of these ${family.length} comparisons are corrected together. This moment only: a warm ratio against 4k depends on where the 4 KB pages lie in physical memory now. ${escapeXml(shareMethods(family) ?? '')}</p>`;
}

function matrixTable(document: MemcpyDocument, group: CellGroup): string {
  const speedups = against4k(document);
  const ceiling = document.device?.ceiling_gbps ?? null;
  const rows = group.cells.map((cell) => {
    if (cell.stats === null)
      return { cells: [formatBytes(cell.bytes), cell.kind], below: whyNoStats(cell) };
    const counters = countersOf(cell);
    const speedup = speedups.get(cell.id);
    return {
      cells: [
        formatBytes(cell.bytes),
        cell.kind,
        significant(cell.stats.median_gbps),
        interval(cell.stats.ci95_gbps),
        speedup === undefined ? ABSENT : ratio(speedup.speedup),
        ceiling === null || cell.metric !== 'copy'
          ? ABSENT
          : percent(cell.stats.median_gbps / ceiling),
        formatDuration(cell.stats.median_ns),
        percent(cell.stats.mad_rel),
        counters.totalNs === null ? ABSENT : formatDuration(counters.totalNs),
        counters.nsPerPage === null ? ABSENT : formatDuration(counters.nsPerPage),
        count(counters.faultsPerf),
        count(counters.faultsRusage),
        count(counters.pins),
        percent(counters.sysShare),
        provenPages(cell) ?? ABSENT,
        `${cell.stats.n}${cell.stats.n_invalid > 0 ? `, ${cell.stats.n_invalid} invalid` : ''}${cell.stats.bimodal ? ', bimodal' : ''}`,
      ],
    };
  });
  const columns = [
    ['Size', 'number'],
    ['Pages'],
    ['GB/s', 'number'],
    ['95 % CI', 'number'],
    ['vs 4k', 'number'],
    ['of link', 'number'],
    ['Median', 'number'],
    ['MAD', 'number'],
    ['Total', 'number'],
    ['Per page', 'number'],
    ['Faults perf', 'number'],
    ['Faults rusage', 'number'],
    ['Pins ~', 'number'],
    ['sys', 'number'],
    ['Proven'],
    ['Samples'],
  ] as const;
  return `<h3>${escapeXml(groupTitle(group))}</h3>\n${table(columns, rows, 'matrix')}`;
}

function missingSection(document: MemcpyDocument): string {
  const rows = missingRows(document).map((row) => ({
    cells: [
      row.dir,
      row.pin,
      row.state,
      row.kinds.join(', '),
      row.sizes.map(formatBytes).join(', '),
      `${row.status}: ${row.reason}`,
      row.fix === null ? '' : code(row.fix),
    ],
  }));
  const illegal = illegalLine(document);
  return [
    rows.length === 0
      ? ''
      : `<h3>Not measured</h3>\n${table([['Direction'], ['Pin'], ['State'], ['Pages'], ['Sizes'], ['Why'], ['Fix']], rows)}`,
    illegal === null ? '' : `<p class="note">${escapeXml(illegal)}</p>`,
  ].join('\n');
}

function preflightSection(document: MemcpyDocument): string {
  const rows = document.preflight.map((line) => ({
    cells: [
      markup(`<span class="${line.level}">${line.level}</span>`),
      line.check,
      line.value,
      line.effect ?? '',
      line.fix === null ? '' : code(line.fix),
    ],
  }));
  return rows.length === 0
    ? '<p>No preflight was recorded.</p>'
    : table([['Level'], ['Check'], ['Value'], ['Effect'], ['Fix']], rows);
}

/** Nested values of the environment record as dotted names. */
function flatten(value: unknown, prefix: string): [string, string][] {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      flatten(inner, prefix === '' ? key : `${prefix}.${key}`),
    );
  }
  return [[prefix, typeof value === 'string' ? value : (JSON.stringify(value) ?? '')]];
}

function machineSection(document: MemcpyDocument): string {
  const device = document.device === null ? [] : flatten(document.device, 'device');
  const rows = [...device, ...flatten(document.env, '')].map(([name, value]) => ({
    cells: [name, value],
  }));
  return rows.length === 0
    ? '<p>No environment was recorded.</p>'
    : table([['Name'], ['Value']], rows);
}

/** JSON that cannot end the script element it stands in, whatever strings it holds. */
function embeddedJson(value: unknown): string {
  return JSON.stringify(value)
    .replace(/</g, '\\u003c')
    .replace(/>/g, '\\u003e')
    .replace(/&/g, '\\u0026')
    .replace(/\u2028/g, '\\u2028')
    .replace(/\u2029/g, '\\u2029');
}

/**
 * The whole result as one HTML page: no network, no script that runs, plots inline, and the raw JSON in
 * `<script type="application/json" id="result">` for whoever wants to compute on.
 */
export function renderHtml(document: MemcpyDocument): string {
  const labels = originLabels(document);
  const badge = labels.map((label) => `<span class="origin">${escapeXml(label)}</span>`).join(' ');
  const heading = (title: string): string => `<h2>${title} ${badge}</h2>`;
  const answers = document.answers.map(
    (answer) =>
      `<p class="answer"><b>${escapeXml(answer.dir)}</b>: ${escapeXml(answer.text)}${
        answer.how === null ? '' : `<br><code>${escapeXml(answer.how)}</code>`
      }</p>`,
  );
  const plots = memcpyPlots(document).map((plot) => `<figure>${plot.svg}</figure>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeXml(['warpgauge bench memcpy', document.backend, ...labels, document.started].join(', '))}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Does the page size of host memory change copy speed? ${badge}</h1>
<p>warpgauge ${escapeXml(document.tool.version)}, backend ${escapeXml(document.backend)}; ${escapeXml(runFacts(document).join(', '))}.</p>
${notesOf(document)
  .map((note) => `<p class="note">Note: ${escapeXml(note)}</p>`)
  .join('\n')}
${heading('Answer')}
${answers.length === 0 ? '<p>No answer: nothing was compared.</p>' : answers.join('\n')}
${heading('Verdicts')}
${verdictSection(document)}
${heading('Plots')}
${plots.join('\n')}
${heading('Matrix')}
${
  measuredGroups(document)
    .map((group) => matrixTable(document, group))
    .join('\n') || '<p>No cell was measured.</p>'
}
<p class="note">Page size proven by ${escapeXml(provenMethods(document))}. GB/s: median, 1 GB = 1e9 bytes, raw 95 % interval. Total: registration, copy and release. Per page: of that page kind. Faults per sample; only rusage sees those in pinning. sys: share in the kernel. -: not measured.</p>
${missingSection(document)}
<h2>Preflight</h2>
${preflightSection(document)}
<h2>Machine</h2>
${machineSection(document)}
<h2>Reproduce</h2>
<p>${write(code(document.reproduce))}</p>
<script type="application/json" id="result">${embeddedJson(document)}</script>
</body>
</html>
`;
}
