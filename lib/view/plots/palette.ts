import {
  type SymbolType,
  symbol,
  symbolCircle,
  symbolCross,
  symbolDiamond,
  symbolSquare,
  symbolStar,
  symbolTriangle,
} from 'd3-shape';
import type { CellKind, Phases } from '../../measure/memcpy/types.ts';
import { element, label, PAPER, textWidth } from './svg.ts';

interface Mark {
  readonly colour: string;
  readonly symbol: SymbolType;
  readonly dash: string | null;
}

/**
 * One colour, symbol and line style per page kind, the same in every plot. Colours of Okabe and Ito, which
 * stay apart in the common kinds of colour blindness; the symbol tells them apart without any colour.
 */
export const KIND_MARK: Readonly<Record<CellKind, Mark>> = {
  '4k': { colour: '#3d3d3d', symbol: symbolCircle, dash: null },
  '4k-split': { colour: '#8c8c8c', symbol: symbolCross, dash: '5 3' },
  thp: { colour: '#0072b2', symbol: symbolTriangle, dash: null },
  '2m': { colour: '#d55e00', symbol: symbolSquare, dash: null },
  '1g': { colour: '#009e73', symbol: symbolDiamond, dash: null },
  driver: { colour: '#aa4499', symbol: symbolStar, dash: '2 2' },
};

/** The phases a program pays for, in their order; preparation and checks of the benchmark are left out. */
export const PHASE_COLOUR: ReadonlyMap<keyof Phases, string> = new Map([
  ['map', '#999999'],
  ['fault', '#d55e00'],
  ['register', '#e69f00'],
  ['copy', '#0072b2'],
  ['copy_a', '#0072b2'],
  ['copy_b', '#56b4e9'],
  ['kernel', '#aa4499'],
  ['copy_c', '#004b76'],
  ['unregister', '#f0e442'],
  ['unmap', '#009e73'],
]);

/** A symbol of the kind, centred. */
export function kindSymbol(
  kind: CellKind,
  x: number,
  y: number,
  area = 36,
  title?: string,
): string {
  const mark = KIND_MARK[kind];
  return element(
    'path',
    {
      d: symbol(mark.symbol, area)() ?? '',
      transform: `translate(${Math.round(x * 100) / 100} ${Math.round(y * 100) / 100})`,
      fill: mark.colour,
      stroke: PAPER,
      'stroke-width': 0.6,
    },
    title === undefined ? '' : element('title', {}, title),
  );
}

/** A row of page kinds with their marks. */
export function kindLegend(kinds: readonly CellKind[], x: number, y: number): string {
  let at = x;
  return kinds
    .map((kind) => {
      const mark = KIND_MARK[kind];
      const entry = [
        element('line', {
          x1: at,
          x2: at + 26,
          y1: y - 4,
          y2: y - 4,
          stroke: mark.colour,
          'stroke-width': 2,
          'stroke-dasharray': mark.dash,
        }),
        kindSymbol(kind, at + 13, y - 4, 48),
        label(at + 32, y, kind),
      ].join('');
      at += 32 + textWidth(kind) + 22;
      return entry;
    })
    .join('');
}

/** A row of coloured boxes; returns how far it went down. */
export function boxLegend(
  entries: readonly { readonly text: string; readonly colour: string }[],
  x: number,
  y: number,
): string {
  let at = x;
  return entries
    .map(({ text, colour }) => {
      const entry =
        element('rect', { x: at, y: y - 11, width: 13, height: 13, fill: colour }) +
        label(at + 18, y, text);
      at += 18 + textWidth(text) + 20;
      return entry;
    })
    .join('');
}
