import { scaleLog } from 'd3-scale';
import type {
  Cell,
  CellKind,
  CostModel,
  Direction,
  MemcpyDocument,
  Pin,
} from '../../measure/memcpy/types.ts';
import { formatBytes } from '../../units.ts';
import { KIND_ORDER, measuredGroups, originLabels } from '../memcpy-rows.ts';
import { significant } from '../numbers.ts';
import {
  bottomAxis,
  type Frame,
  leftAxis,
  logTickValues,
  panelFrames,
  panelTitle,
  tickText,
  timeText,
  timeWords,
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
  wrapText,
} from './svg.ts';

const NAME = 'faults';
const TITLE = 'Time against page faults';
const MODEL_LINE = 16;
/** Samples without a fault stand here on the logarithmic axis; the tick says 0. */
const ZERO_AT = 0.4;

interface Panel {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly cells: readonly Cell[];
  readonly models: readonly CostModel[];
}

function panelsOf(document: MemcpyDocument): Panel[] {
  const panels = new Map<string, { dir: Direction; pin: Pin; cells: Cell[] }>();
  for (const group of measuredGroups(document)) {
    const key = `${group.dir}/${group.pin}`;
    const panel = panels.get(key) ?? { dir: group.dir, pin: group.pin, cells: [] };
    panel.cells.push(...group.cells.filter((cell) => cell.samples.some((sample) => sample.valid)));
    panels.set(key, panel);
  }
  return [...panels.values()]
    .filter((panel) => panel.cells.length > 0)
    .map((panel) => ({
      ...panel,
      models: document.model
        .filter((model) => model.dir === panel.dir && model.pin === panel.pin)
        .sort((a, b) => KIND_ORDER.indexOf(a.kind) - KIND_ORDER.indexOf(b.kind)),
    }));
}

function validPoints(cells: readonly Cell[]): { cell: Cell; faults: number; ns: number }[] {
  return cells.flatMap((cell) =>
    cell.samples
      .filter((sample) => sample.valid && sample.t_host_ns > 0)
      .map((sample) => ({ cell, faults: sample.minflt_thread, ns: sample.t_host_ns })),
  );
}

/** The slopes, and the reasons for those that are missing: kinds with the same reason in one sentence. */
function modelTexts(models: readonly CostModel[]): string[] {
  const slopes = models.flatMap(({ kind, ns_per_fault: slope, r2 }) =>
    slope === null
      ? []
      : [`${kind}: ${timeWords(slope)} per fault${r2 === null ? '' : `, r² ${significant(r2)}`}`],
  );
  const missing = new Map<string, CellKind[]>();
  for (const { kind, ns_per_fault: slope, why } of models) {
    if (slope === null)
      missing.set(why ?? 'no reason given', [
        ...(missing.get(why ?? 'no reason given') ?? []),
        kind,
      ]);
  }
  const reasons = [...missing].map(([why, kinds]) => `${kinds.join(', ')}: no slope, ${why}`);
  return models.length === 0 ? ['no cost model for this direction'] : [...slopes, ...reasons];
}

/** The text below a panel, which may start left of its axis. */
function modelLines(panel: Panel, width: number): string[] {
  return modelTexts(panel.models).flatMap((text) => wrapText(text, width + 50, 11));
}

function drawPanel(panel: Panel, frame: Frame): string {
  const points = validPoints(panel.cells);
  const faultCounts = points.map((point) => point.faults);
  const times = points.map((point) => point.ns);
  const mostFaults = Math.max(2, ...faultCounts);
  const x = scaleLog([ZERO_AT * 0.7, mostFaults * 1.6], [frame.left, frame.left + frame.width]);
  const low = Math.min(...times) / 1.5;
  const high = Math.max(...times) * 1.5;
  const y = scaleLog([low, high], [frame.top + frame.height, frame.top]);
  const powers = logTickValues(1, mostFaults).filter((value) => Number.isInteger(value));
  const pin = panel.pin === 'none' ? 'pageable' : panel.pin;
  const parts = [
    panelTitle(frame, `${panel.dir}, ${pin}`),
    bottomAxis(
      frame,
      [
        { at: x(ZERO_AT), text: '0' },
        ...powers.map((value) => ({ at: x(value), text: tickText(value) })),
      ],
      'faults per sample (getrusage)',
    ),
    leftAxis(
      frame,
      logTickValues(low, high).map((value) => ({ at: y(value), text: timeText(value) })),
      '',
    ),
  ];
  for (const model of panel.models) {
    const own = points.filter((point) => point.cell.kind === model.kind && point.faults > 0);
    if (model.ns_per_fault === null || model.ns_per_fault <= 0 || own.length === 0) continue;
    const slope = model.ns_per_fault;
    // The line of the faults alone, cut where it leaves the panel.
    const from = Math.max(Math.min(...own.map((point) => point.faults)), low / slope);
    const to = Math.min(Math.max(...own.map((point) => point.faults)) * 1.3, high / slope);
    if (from >= to) continue;
    parts.push(
      element('line', {
        x1: x(from),
        y1: y(from * slope),
        x2: x(to),
        y2: y(to * slope),
        stroke: KIND_MARK[model.kind].colour,
        'stroke-width': 1.4,
        'stroke-dasharray': '6 3',
      }),
    );
  }
  for (const { cell, faults, ns } of points) {
    // Kinds with equal faults and times would hide each other: each stands a little aside.
    const aside = (KIND_ORDER.indexOf(cell.kind) - 2) * 3;
    const title = `${cell.kind}, ${cell.state}, ${formatBytes(cell.bytes)}: ${faults} faults, ${timeWords(ns)}`;
    parts.push(
      kindSymbol(cell.kind, x(Math.max(faults, ZERO_AT)) + aside, y(ns), 24, escapeXml(title)),
    );
  }
  const lines = modelLines(panel, frame.width);
  parts.push(
    ...lines.map((text, index) =>
      label(frame.left - 50, frame.top + frame.height + 52 + index * MODEL_LINE, text, {
        size: 11,
        fill: MUTED,
      }),
    ),
  );
  return parts.join('');
}

/** Time of every valid sample against its page faults, with the fitted cost per fault where there is one. */
export function faultsPlot(document: MemcpyDocument): Plot {
  const labels = originLabels(document);
  const panels = panelsOf(document);
  if (panels.length === 0) return emptySheet(NAME, TITLE, labels, 'no valid sample was taken');
  const kinds: CellKind[] = KIND_ORDER.filter((kind) =>
    panels.some((panel) => panel.cells.some((cell) => cell.kind === kind)),
  );
  const columns = Math.min(panels.length, 2);
  const padding = { left: 62, right: 18 };
  const width = (SHEET_WIDTH - 2 * MARGIN) / columns - padding.left - padding.right;
  const lines = Math.max(...panels.map((panel) => modelLines(panel, width).length));
  const { frames, bottom } = panelFrames(panels.length, {
    columns,
    width: SHEET_WIDTH - 2 * MARGIN,
    height: 270,
    padding: { ...padding, top: 34, bottom: 52 + lines * MODEL_LINE },
    top: 24,
    left: MARGIN,
  });
  return sheet({
    name: NAME,
    title: TITLE,
    labels,
    description: `Time of each valid sample against its page faults for page kinds ${kinds.join(', ')}, both axes logarithmic. ${modelTexts(document.model).join('; ')}.`,
    width: SHEET_WIDTH,
    bodyHeight: bottom,
    body: [
      kindLegend(kinds, MARGIN, 14),
      ...panels.map((panel, index) => drawPanel(panel, frames[index] as Frame)),
    ].join(''),
    notes: [
      'Dashed lines: time of the faults alone at the fitted cost; what lies above a line is the copy itself.',
    ],
  });
}
