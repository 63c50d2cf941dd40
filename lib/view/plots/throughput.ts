import { scaleLinear, scaleLog } from 'd3-scale';
import { area, line } from 'd3-shape';
import type { Cell, CellKind, MemcpyDocument } from '../../measure/memcpy/types.ts';
import { formatBytes } from '../../units.ts';
import {
  type CellGroup,
  groupTitle,
  KIND_ORDER,
  measuredGroups,
  originLabels,
} from '../memcpy-rows.ts';
import { interval, significant } from '../numbers.ts';
import {
  bottomAxis,
  byteTicks,
  type Frame,
  leftAxis,
  panelFrames,
  panelTitle,
  tickText,
} from './axes.ts';
import { KIND_MARK, kindLegend, kindSymbol } from './palette.ts';
import {
  element,
  emptySheet,
  escapeXml,
  label,
  MARGIN,
  MUTED,
  type Plot,
  SHEET_WIDTH,
  sheet,
} from './svg.ts';

const NAME = 'throughput';
const TITLE = 'Throughput against size';

/** The fastest this direction can go, drawn so that a number can be judged. */
interface Ceiling {
  readonly gbps: number;
  readonly text: string;
}

function ceilingOf(document: MemcpyDocument, group: CellGroup): Ceiling | null {
  const link = document.device?.ceiling_gbps ?? null;
  if (group.metric !== 'copy') return null;
  if (link !== null) return { gbps: link, text: `link, raw: ${significant(link)} GB/s` };
  if (!document.proxy) return null;
  const warm = document.cells
    .filter(
      (cell) =>
        cell.dir === group.dir &&
        cell.state === 'warm' &&
        cell.metric === 'copy' &&
        cell.status === 'ok',
    )
    .flatMap((cell) => cell.stats?.median_gbps ?? []);
  if (warm.length === 0) return null;
  const best = Math.max(...warm);
  return { gbps: best, text: `CPU copy, best warm cell: ${significant(best)} GB/s` };
}

/** x scale of byte sizes; a single size gets room on both sides. */
export function byteScale(cells: readonly Cell[], frame: Frame): (bytes: number) => number {
  const sizes = cells.map((cell) => cell.bytes);
  const low = Math.min(...sizes) / 1.6;
  const high = Math.max(...sizes) * 1.6;
  return scaleLog([low, high], [frame.left, frame.left + frame.width]);
}

function seriesOf(cells: readonly Cell[], kind: CellKind): Cell[] {
  return cells.filter((cell) => cell.kind === kind && cell.stats !== null);
}

function drawPanel(document: MemcpyDocument, group: CellGroup, frame: Frame): string {
  const cells = group.cells.filter((cell) => cell.stats !== null);
  const parts = [panelTitle(frame, groupTitle(group))];
  if (cells.length === 0) {
    return [
      ...parts,
      label(frame.left, frame.top + 30, 'No data: no valid sample.', { fill: MUTED }),
    ].join('');
  }
  const ceiling = ceilingOf(document, group);
  const x = byteScale(cells, frame);
  const top = Math.max(
    ceiling?.gbps ?? 0,
    ...cells.map((cell) => Math.max(cell.stats?.median_gbps ?? 0, cell.stats?.ci95_gbps?.[1] ?? 0)),
  );
  const y = scaleLinear([0, top * 1.2], [frame.top + frame.height, frame.top]);
  parts.push(
    bottomAxis(
      frame,
      byteTicks(
        cells.map((cell) => cell.bytes),
        x,
      ),
      'buffer size, bytes',
    ),
    leftAxis(
      frame,
      y.ticks(5).map((value) => ({ at: y(value), text: tickText(value) })),
      'GB/s (1e9 bytes/s)',
    ),
  );
  if (ceiling !== null) {
    const at = y(ceiling.gbps);
    parts.push(
      element('line', {
        x1: frame.left,
        x2: frame.left + frame.width,
        y1: at,
        y2: at,
        stroke: MUTED,
        'stroke-dasharray': '7 4',
      }),
      label(frame.left + 4, frame.top + 10, `- - ${ceiling.text}`, { size: 10.5, fill: MUTED }),
    );
  }
  const kinds = KIND_ORDER.filter((kind) => seriesOf(cells, kind).length > 0);
  for (const kind of kinds) {
    const series = seriesOf(cells, kind);
    const { colour, dash } = KIND_MARK[kind];
    const banded = series.filter((cell) => cell.stats?.ci95_gbps);
    if (banded.length > 1) {
      const band = area<Cell>(
        (cell) => x(cell.bytes),
        (cell) => y(cell.stats?.ci95_gbps?.[0] ?? 0),
        (cell) => y(cell.stats?.ci95_gbps?.[1] ?? 0),
      );
      parts.push(element('path', { d: band(banded) ?? '', fill: colour, 'fill-opacity': 0.16 }));
    }
    const path = line<Cell>(
      (cell) => x(cell.bytes),
      (cell) => y(cell.stats?.median_gbps ?? 0),
    );
    parts.push(
      element('path', {
        d: path(series) ?? '',
        fill: 'none',
        stroke: colour,
        'stroke-width': 1.8,
        'stroke-dasharray': dash,
      }),
    );
  }
  // A single size would put all symbols on one spot: the kinds stand beside each other there.
  const single = new Set(cells.map((cell) => cell.bytes)).size === 1;
  for (const [index, kind] of kinds.entries()) {
    const shift = single ? (index - (kinds.length - 1) / 2) * 26 : 0;
    for (const cell of seriesOf(cells, kind)) {
      const at = x(cell.bytes) + shift;
      const ci = cell.stats?.ci95_gbps ?? null;
      if (ci !== null) {
        parts.push(
          element('line', {
            x1: at,
            x2: at,
            y1: y(ci[0]),
            y2: y(ci[1]),
            stroke: KIND_MARK[kind].colour,
            'stroke-width': 1.2,
          }),
        );
      }
      const gbps = cell.stats?.median_gbps ?? 0;
      const title = escapeXml(
        `${kind}, ${formatBytes(cell.bytes)}: ${significant(gbps)} GB/s ${interval(ci)}`,
      );
      parts.push(kindSymbol(kind, at, y(gbps), 40, title));
    }
  }
  return parts.join('');
}

/** GB/s against buffer size: one line per page kind with its 95 % band, one panel per direction and state. */
export function throughputPlot(document: MemcpyDocument): Plot {
  const labels = originLabels(document);
  const groups = measuredGroups(document);
  if (groups.length === 0) return emptySheet(NAME, TITLE, labels, 'no cell was measured');
  const kinds = KIND_ORDER.filter((kind) =>
    groups.some((group) => group.cells.some((cell) => cell.kind === kind)),
  );
  const { frames, bottom } = panelFrames(groups.length, {
    columns: Math.min(groups.length, 3),
    width: SHEET_WIDTH - 2 * MARGIN,
    height: 220,
    padding: { left: 58, right: 14, top: 34, bottom: 44 },
    top: 24,
    left: MARGIN,
  });
  const body = [
    kindLegend(kinds, MARGIN, 14),
    ...groups.map((group, index) => drawPanel(document, group, frames[index] as Frame)),
  ].join('');
  const notes = ['Points: median; bands and bars: 95 % interval of the median.'];
  if (document.proxy) {
    notes.push(
      'Host proxy: no GPU took part. The dashed line is the fastest warm copy of this run in that direction, not a limit of any link.',
    );
  } else if (document.device?.ceiling_gbps) {
    notes.push(
      'Dashed line: raw rate of the link in one direction, from its generation and width.',
    );
  }
  return sheet({
    name: NAME,
    title: TITLE,
    labels,
    description: `Throughput in GB/s against buffer size for page kinds ${kinds.join(', ')}, one panel each for ${groups.map(groupTitle).join('; ')}.`,
    width: SHEET_WIDTH,
    bodyHeight: bottom,
    body,
    notes,
  });
}
