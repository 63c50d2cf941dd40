import { scaleLog } from 'd3-scale';
import { area, line } from 'd3-shape';
import type { Comparison, MemcpyDocument } from '../../measure/memcpy/types.ts';
import { formatBytes } from '../../units.ts';
import {
  against4k,
  type CellGroup,
  groupTitle,
  KIND_ORDER,
  measuredGroups,
  originLabels,
} from '../memcpy-rows.ts';
import { interval, ratio, ratioNumber } from '../numbers.ts';
import {
  bottomAxis,
  byteTicks,
  type Frame,
  leftAxis,
  logTickValues,
  panelFrames,
  panelTitle,
  tickText,
} from './axes.ts';
import { KIND_MARK, kindLegend, kindSymbol } from './palette.ts';
import {
  element,
  emptySheet,
  escapeXml,
  GRID,
  INK,
  label,
  MARGIN,
  MUTED,
  type Plot,
  SHEET_WIDTH,
  sheet,
} from './svg.ts';
import { byteScale } from './throughput.ts';

const NAME = 'speedup';
const TITLE = 'Speed-up over 4 KB pages';
const SAME: readonly [number, number] = [0.97, 1.03];

interface Panel {
  readonly group: CellGroup;
  readonly comparisons: readonly Comparison[];
}

function drawPanel({ group, comparisons }: Panel, frame: Frame): string {
  const x = byteScale(group.cells, frame);
  const values = comparisons
    .flatMap((one) => [one.speedup, ...(one.ci95 ?? [])])
    .filter((value) => value > 0);
  const low = Math.min(0.9, ...values) / 1.08;
  const high = Math.max(1.1, ...values) * 1.08;
  const y = scaleLog([low, high], [frame.top + frame.height, frame.top]);
  const inside = (value: number): number => y(Math.min(Math.max(value, low), high));
  const parts = [
    panelTitle(frame, groupTitle(group)),
    bottomAxis(
      frame,
      byteTicks(
        comparisons.map((one) => one.bytes),
        x,
      ),
      'buffer size, bytes',
    ),
    leftAxis(
      frame,
      logTickValues(low, high).map((value) => ({ at: y(value), text: `${tickText(value)}x` })),
      'speed-up',
    ),
    element('rect', {
      x: frame.left,
      y: inside(SAME[1]),
      width: frame.width,
      height: inside(SAME[0]) - inside(SAME[1]),
      fill: GRID,
    }),
    element('line', {
      x1: frame.left,
      x2: frame.left + frame.width,
      y1: y(1),
      y2: y(1),
      stroke: INK,
      'stroke-width': 1.4,
    }),
  ];
  const kinds = KIND_ORDER.filter((kind) => comparisons.some((one) => one.kind === kind));
  const single = new Set(comparisons.map((one) => one.bytes)).size === 1;
  const layers = kinds.map((kind, index) => {
    const { colour, dash } = KIND_MARK[kind];
    const series = comparisons.filter((one) => one.kind === kind).sort((a, b) => a.bytes - b.bytes);
    const shift = single ? (index - (kinds.length - 1) / 2) * 26 : 0;
    const at = (one: Comparison): number => x(one.bytes) + shift;
    const banded = series.filter((one) => one.ci95 !== null);
    const band = area<Comparison>(
      at,
      (one) => inside(one.ci95?.[0] ?? 1),
      (one) => inside(one.ci95?.[1] ?? 1),
    );
    const path = line<Comparison>(at, (one) => inside(one.speedup));
    const lines = [
      banded.length > 1
        ? element('path', { d: band(banded) ?? '', fill: colour, 'fill-opacity': 0.16 })
        : '',
      element('path', {
        d: path(series) ?? '',
        fill: 'none',
        stroke: colour,
        'stroke-width': 1.8,
        'stroke-dasharray': dash,
      }),
      ...banded.map((one) =>
        element('line', {
          x1: at(one),
          x2: at(one),
          y1: inside(one.ci95?.[0] ?? 1),
          y2: inside(one.ci95?.[1] ?? 1),
          stroke: colour,
          'stroke-width': 1.2,
        }),
      ),
    ];
    const symbols = series.map((one) => {
      const title = `${kind}, ${formatBytes(one.bytes)}: ${ratio(one.speedup)} ${interval(one.ci95, ratioNumber)}`;
      return kindSymbol(kind, at(one), inside(one.speedup), 40, escapeXml(title));
    });
    return { lines, symbols };
  });
  return [
    ...parts,
    ...layers.flatMap((layer) => layer.lines),
    ...layers.flatMap((layer) => layer.symbols),
  ].join('');
}

/** Speed-up of each larger kind over 4k against size, log y, so that reversals show. */
export function speedupPlot(document: MemcpyDocument): Plot {
  const labels = originLabels(document);
  const byCell = against4k(document);
  const panels = measuredGroups(document)
    .map(
      (group): Panel => ({
        group,
        comparisons: group.cells.flatMap((cell) => byCell.get(cell.id) ?? []),
      }),
    )
    .filter((panel) => panel.comparisons.length > 0);
  if (panels.length === 0) {
    return emptySheet(NAME, TITLE, labels, 'no larger page kind was measured beside 4k');
  }
  const { frames, bottom } = panelFrames(panels.length, {
    columns: Math.min(panels.length, 3),
    width: SHEET_WIDTH - 2 * MARGIN,
    height: 220,
    padding: { left: 58, right: 14, top: 34, bottom: 44 },
    top: 24,
    left: MARGIN,
  });
  const kinds = KIND_ORDER.filter((kind) =>
    panels.some((panel) => panel.comparisons.some((one) => one.kind === kind)),
  );
  return sheet({
    name: NAME,
    title: TITLE,
    labels,
    description: `Speed-up over 4 KB pages of page kinds ${kinds.join(', ')} against buffer size, one panel each for ${panels.map(({ group }) => groupTitle(group)).join('; ')}.`,
    width: SHEET_WIDTH,
    bodyHeight: bottom,
    body: [
      kindLegend(kinds, MARGIN, 14),
      label(SHEET_WIDTH - MARGIN, 14, 'above the line: faster than 4k; grey: 0.97 to 1.03', {
        anchor: 'end',
        fill: MUTED,
      }),
      ...panels.map((panel, index) => drawPanel(panel, frames[index] as Frame)),
    ].join(''),
    notes: [
      'Trimmed mean of the blocks’ ratios; bands and bars: raw 95 % interval. Logarithmic axis: half and double are equally far from 1.',
    ],
  });
}
