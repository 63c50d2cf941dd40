import { scaleLinear } from 'd3-scale';
import type { Cell, MemcpyDocument, Sample } from '../../measure/memcpy/types.ts';
import { formatBytes } from '../../units.ts';
import { groupTitle, measuredGroups, originLabels } from '../memcpy-rows.ts';
import { median } from '../numbers.ts';
import { bottomAxis, type Frame, panelTitle, tickText, timeWords } from './axes.ts';
import { KIND_MARK, kindSymbol } from './palette.ts';
import {
  ALARM,
  coordinate,
  element,
  emptySheet,
  escapeXml,
  GRID,
  label,
  MARGIN,
  MUTED,
  type Plot,
  SHEET_WIDTH,
  sheet,
} from './svg.ts';

const NAME = 'samples';
const TITLE = 'Samples in run order';
const LANE = 26;
/** A lane shows at least this deviation, so that calm cells look calm, and at most this, so that one point cannot flatten the rest. */
const LEAST = Math.log(1.05);
const MOST = Math.log(4);

interface Panel {
  readonly title: string;
  readonly cells: readonly Cell[];
}

function panelsOf(document: MemcpyDocument): Panel[] {
  return measuredGroups(document).flatMap((group) => {
    const sizes = [...new Set(group.cells.map((cell) => cell.bytes))];
    return sizes
      .map((bytes) => ({
        title: `${groupTitle(group)}, ${formatBytes(bytes)}`,
        cells: group.cells.filter((cell) => cell.bytes === bytes && cell.samples.length > 0),
      }))
      .filter((panel) => panel.cells.length > 0);
  });
}

function middleOf(cell: Cell): number {
  const valid = cell.samples.filter((sample) => sample.valid);
  return median((valid.length > 0 ? valid : cell.samples).map((sample) => sample.t_host_ns)) ?? 1;
}

function deviation(sample: Sample, middle: number): number {
  return Math.log(Math.max(sample.t_host_ns, 1) / Math.max(middle, 1));
}

function drawMark(cell: Cell, sample: Sample, x: number, y: number, outside: boolean): string {
  const title = `${cell.kind}, block ${sample.block}: ${timeWords(sample.t_host_ns)}`;
  if (!sample.valid) {
    const d = `M${coordinate(x - 4)} ${coordinate(y - 4)}l8 8m0 -8l-8 8`;
    const why = element(
      'title',
      {},
      escapeXml(`${title}, invalid: ${sample.why_invalid ?? 'no reason given'}`),
    );
    return element('path', { d, stroke: ALARM, 'stroke-width': 2, fill: 'none' }, why);
  }
  if (!outside) return kindSymbol(cell.kind, x, y, 26, escapeXml(title));
  const why = element('title', {}, escapeXml(`${title}, outside the lane`));
  return element(
    'circle',
    { cx: x, cy: y, r: 4, fill: 'none', stroke: KIND_MARK[cell.kind].colour, 'stroke-width': 1.8 },
    why,
  );
}

/** How far a lane reaches up and down from the median. */
function laneText(reach: number): string {
  const factor = Math.exp(reach);
  return factor < 2 ? `lane ±${Math.round((factor - 1) * 100)} %` : `lane ×÷${factor.toFixed(1)}`;
}

function drawPanel(panel: Panel, frame: Frame, lastSeq: number): string {
  const x = scaleLinear(
    [-0.015 * lastSeq, Math.max(lastSeq, 1) * 1.02],
    [frame.left, frame.left + frame.width],
  );
  const middles = panel.cells.map(middleOf);
  const largest = Math.max(
    ...panel.cells.flatMap((cell, index) =>
      cell.samples.map((sample) => Math.abs(deviation(sample, middles[index] ?? 1))),
    ),
  );
  const reach = Math.min(Math.max(largest * 1.1, LEAST), MOST);
  const lanes = panel.cells.map((cell, index) => {
    const centre = frame.top + index * LANE + LANE / 2;
    const half = LANE / 2 - 4;
    const marks = cell.samples.map((sample) => {
      const share = deviation(sample, middles[index] ?? 1) / reach;
      const inside = Math.min(Math.max(share, -1), 1);
      return drawMark(cell, sample, x(sample.seq), centre - inside * half, Math.abs(share) > 1);
    });
    const flag = cell.stats?.bimodal === true ? ', bimodal' : '';
    return [
      element('line', {
        x1: frame.left,
        x2: frame.left + frame.width,
        y1: centre,
        y2: centre,
        stroke: GRID,
      }),
      ...marks,
      label(frame.left - 8, centre + 4, cell.kind, {
        size: 11,
        anchor: 'end',
        fill: KIND_MARK[cell.kind].colour,
      }),
      label(frame.left + frame.width + 6, centre + 4, timeWords(middles[index] ?? 0) + flag, {
        size: 11,
        fill: MUTED,
      }),
    ].join('');
  });
  const ticks = x
    .ticks(5)
    .filter((value) => Number.isInteger(value) && value >= 0)
    .map((value) => ({ at: x(value), text: tickText(value) }));
  return [
    panelTitle(frame, panel.title),
    label(frame.left + frame.width + 6, frame.top - 10, laneText(reach), {
      size: 10.5,
      fill: MUTED,
    }),
    bottomAxis(frame, ticks, ''),
    ...lanes,
  ].join('');
}

/** Each sample's time against its cell's median, in the order of the run: drift and bimodality leap out. */
export function samplesPlot(document: MemcpyDocument): Plot {
  const labels = originLabels(document);
  const panels = panelsOf(document);
  if (panels.length === 0) return emptySheet(NAME, TITLE, labels, 'no sample was taken');
  const seqs = panels.flatMap((panel) =>
    panel.cells.flatMap((cell) => cell.samples.map((sample) => sample.seq)),
  );
  const lastSeq = seqs.reduce((last, seq) => Math.max(last, seq), 0);
  const columnWidth = (SHEET_WIDTH - 2 * MARGIN) / 2;
  const body: string[] = [];
  let top = 4;
  for (let index = 0; index < panels.length; index += 2) {
    const row = panels.slice(index, index + 2);
    for (const [column, panel] of row.entries()) {
      const frame = {
        left: MARGIN + column * columnWidth + 66,
        top: top + 28,
        width: columnWidth - 66 - 116,
        height: panel.cells.length * LANE,
      };
      body.push(drawPanel(panel, frame, lastSeq));
    }
    top += 28 + Math.max(...row.map((panel) => panel.cells.length)) * LANE + 32;
  }
  const invalid = document.n_invalid;
  return sheet({
    name: NAME,
    title: TITLE,
    labels,
    description: `Every sample in run order, one lane per cell, height is its time against the median of the cell. ${invalid} invalid samples are marked with a cross.`,
    width: SHEET_WIDTH,
    bodyHeight: top,
    body: body.join(''),
    notes: [
      'Across: position of the sample in the whole run. Up in a lane: slower than the median of its cell, which stands at the right; logarithmic, its reach stands above the medians.',
      `Open circle: outside the lane. Red cross: invalid sample, kept and left out of the statistics (${invalid} in this run).`,
    ],
  });
}
