import { scaleLinear } from 'd3-scale';
import type { Cell, MemcpyDocument, Phases } from '../../measure/memcpy/types.ts';
import { formatBytes } from '../../units.ts';
import {
  type CellGroup,
  groupTitle,
  KIND_ORDER,
  measuredGroups,
  originLabels,
} from '../memcpy-rows.ts';
import { bottomAxis, type Frame, panelTitle, tickText, timeUnit, timeWords } from './axes.ts';
import { boxLegend, PHASE_COLOUR } from './palette.ts';
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

const NAME = 'phases';
const TITLE = 'Where the time goes';
const ROW = 26;

interface Part {
  readonly phase: keyof Phases;
  readonly ns: number;
}

function partsOf(cell: Cell): Part[] {
  return [...PHASE_COLOUR.keys()].flatMap((phase) => {
    const ns = cell.phases_ns?.[phase] ?? null;
    return ns === null || ns <= 0 ? [] : [{ phase, ns }];
  });
}

const total = (cell: Cell): number => partsOf(cell).reduce((sum, part) => sum + part.ns, 0);

/** The cells of the size at which most kinds were measured, the largest of those. */
function cellsOfOneSize(group: CellGroup): Cell[] {
  const bySize = new Map<number, Cell[]>();
  for (const cell of group.cells) {
    if (partsOf(cell).length > 0) bySize.set(cell.bytes, [...(bySize.get(cell.bytes) ?? []), cell]);
  }
  const best = [...bySize.entries()].sort(
    ([a, cellsA], [b, cellsB]) => cellsB.length - cellsA.length || b - a,
  )[0];
  return (best?.[1] ?? []).sort((a, b) => KIND_ORDER.indexOf(a.kind) - KIND_ORDER.indexOf(b.kind));
}

function drawPanel(group: CellGroup, cells: readonly Cell[], frame: Frame): string {
  const largest = Math.max(...cells.map(total));
  const unit = timeUnit(largest);
  const x = scaleLinear([0, largest * 1.02], [frame.left, frame.left + frame.width]);
  const ticks = scaleLinear([0, (largest * 1.02) / unit.ns], [frame.left, frame.left + frame.width])
    .ticks(5)
    .map((value) => ({ at: x(value * unit.ns), text: tickText(value) }));
  const rows = cells.map((cell, index) => {
    const y = frame.top + index * ROW + 4;
    let at = 0;
    const boxes = partsOf(cell).map(({ phase, ns }) => {
      const left = x(at);
      at += ns;
      return element(
        'rect',
        {
          x: left,
          y,
          width: Math.max(x(at) - left, 0.5),
          height: ROW - 8,
          fill: PHASE_COLOUR.get(phase) ?? MUTED,
        },
        element('title', {}, escapeXml(`${cell.kind}, ${phase}: ${timeWords(ns)}`)),
      );
    });
    return [
      ...boxes,
      label(frame.left - 8, y + 13, cell.kind, { anchor: 'end' }),
      label(frame.left + frame.width + 6, y + 13, timeWords(total(cell)), {
        size: 11,
        fill: MUTED,
      }),
    ].join('');
  });
  return [
    panelTitle(frame, `${groupTitle(group)}, ${formatBytes(cells[0]?.bytes ?? 0)}`),
    bottomAxis(frame, ticks, `time per sample, ${unit.name}`),
    ...rows,
  ].join('');
}

/** Stacked median time of each phase per page kind: page size moves cost between phases. */
export function phasesPlot(document: MemcpyDocument): Plot {
  const labels = originLabels(document);
  const panels = measuredGroups(document)
    .map((group) => ({ group, cells: cellsOfOneSize(group) }))
    .filter(({ cells }) => cells.length > 0);
  if (panels.length === 0) return emptySheet(NAME, TITLE, labels, 'no cell has phase times');

  const used = [...PHASE_COLOUR].filter(([phase]) =>
    panels.some(({ cells }) =>
      cells.some((cell) => partsOf(cell).some((part) => part.phase === phase)),
    ),
  );
  const columnWidth = (SHEET_WIDTH - 2 * MARGIN) / 2;
  let top = 24;
  const body = [
    boxLegend(
      used.map(([text, colour]) => ({ text, colour })),
      MARGIN,
      14,
    ),
  ];
  for (let index = 0; index < panels.length; index += 2) {
    const row = panels.slice(index, index + 2);
    const height = Math.max(...row.map(({ cells }) => cells.length)) * ROW;
    for (const [column, { group, cells }] of row.entries()) {
      const frame = {
        left: MARGIN + column * columnWidth + 70,
        top: top + 34,
        width: columnWidth - 70 - 84,
        height: cells.length * ROW,
      };
      body.push(drawPanel(group, cells, frame));
    }
    top += 34 + height + 46;
  }
  return sheet({
    name: NAME,
    title: TITLE,
    labels,
    description: `Stacked median time of the phases ${used.map(([phase]) => phase).join(', ')} for each page kind; panels: ${panels.map(({ group }) => groupTitle(group)).join('; ')}.`,
    width: SHEET_WIDTH,
    bodyHeight: top,
    body: body.join(''),
    notes: [
      'Medians of each phase over the valid samples. fault: populating and filling before a warm copy; a cold copy takes its faults inside copy.',
      "The benchmark's own work (conditioning, cache flush, verification) is left out. Each panel shows the largest size at which most page kinds were measured.",
    ],
  });
}
