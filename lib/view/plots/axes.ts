import { scaleLinear } from 'd3-scale';
import { formatBytes, formatDuration } from '../../units.ts';
import { significant } from '../numbers.ts';
import { element, GRID, INK, label, MUTED, textWidth } from './svg.ts';

/** Where a panel's data goes, in pixels of the sheet. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export interface Tick {
  /** Pixel position along the axis. */
  readonly at: number;
  readonly text: string;
}

/** Bottom axis with grid lines; labels that would touch their neighbour are left out. */
export function bottomAxis(frame: Frame, ticks: readonly Tick[], title: string): string {
  const base = frame.top + frame.height;
  let free = Number.NEGATIVE_INFINITY;
  const parts = ticks.map(({ at, text }) => {
    const half = textWidth(text, 11) / 2;
    const fits = at - half > free;
    if (fits) free = at + half + 4;
    return (
      element('line', { x1: at, x2: at, y1: frame.top, y2: base, stroke: GRID }) +
      (fits ? label(at, base + 15, text, { size: 11, anchor: 'middle', fill: MUTED }) : '')
    );
  });
  const line = element('line', {
    x1: frame.left,
    x2: frame.left + frame.width,
    y1: base,
    y2: base,
    stroke: INK,
  });
  const caption = label(frame.left + frame.width / 2, base + 31, title, {
    size: 11,
    anchor: 'middle',
    fill: MUTED,
  });
  return [...parts, line, title === '' ? '' : caption].join('');
}

/** Left axis with grid lines. */
export function leftAxis(frame: Frame, ticks: readonly Tick[], title: string): string {
  const parts = ticks.map(
    ({ at, text }) =>
      element('line', {
        x1: frame.left,
        x2: frame.left + frame.width,
        y1: at,
        y2: at,
        stroke: GRID,
      }) + label(frame.left - 6, at + 4, text, { size: 11, anchor: 'end', fill: MUTED }),
  );
  const line = element('line', {
    x1: frame.left,
    x2: frame.left,
    y1: frame.top,
    y2: frame.top + frame.height,
    stroke: INK,
  });
  const caption = label(frame.left - 44, frame.top + frame.height / 2, title, {
    size: 11,
    anchor: 'middle',
    fill: MUTED,
    rotate: -90,
  });
  return [...parts, line, title === '' ? '' : caption].join('');
}

export function panelTitle(frame: Frame, text: string): string {
  return label(frame.left, frame.top - 10, text, { size: 13, weight: 'bold' });
}

/** Ticks at the sizes that were measured, with IEC prefixes: 64Ki, 16Mi, 1Gi; the axis title says bytes. */
export function byteTicks(sizes: Iterable<number>, scale: (bytes: number) => number): Tick[] {
  return [...new Set(sizes)]
    .sort((a, b) => a - b)
    .map((bytes) => ({ at: scale(bytes), text: formatBytes(bytes).replace(/ (\w*)B$/, '$1') }));
}

/** Values worth a tick on a logarithmic axis: powers of ten, then 1-2-5, then even steps for a narrow range. */
export function logTickValues(low: number, high: number): number[] {
  if (high / low < 4)
    return scaleLinear([low, high], [0, 1])
      .ticks(5)
      .filter((value) => value > 0);
  const factors = high / low < 200 ? [1, 2, 5] : [1];
  const values: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) values.push(value);
    }
  }
  const every = Math.ceil(values.length / 8);
  return values.filter((_, index) => index % every === 0);
}

/** A number on an axis: no needless zeros. */
export function tickText(value: number): string {
  return value === 0 ? '0' : String(Number(significant(value, 3)));
}

/** The unit that suits a largest time, and what to divide nanoseconds by. */
export function timeUnit(largestNs: number): { readonly name: string; readonly ns: number } {
  if (largestNs >= 2e9) return { name: 's', ns: 1e9 };
  if (largestNs >= 2e6) return { name: 'ms', ns: 1e6 };
  if (largestNs >= 2e3) return { name: 'µs', ns: 1e3 };
  return { name: 'ns', ns: 1 };
}

/** A duration in words of a plot: 1.45 µs. */
export function timeWords(ns: number): string {
  return formatDuration(ns).replace(/ us$/, ' µs');
}

/** A time on a logarithmic axis: 1 µs, 10 ms. */
export function timeText(ns: number): string {
  for (const [name, size] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['µs', 1e3],
  ] as const) {
    if (ns >= size * 0.9995) return `${tickText(ns / size)} ${name}`;
  }
  return `${tickText(ns)} ns`;
}

/** A grid of equal panels, `columns` beside each other. */
export function panelFrames(
  number: number,
  options: {
    readonly columns: number;
    readonly width: number;
    readonly height: number;
    /** Room around each panel for axis labels and titles. */
    readonly padding: {
      readonly left: number;
      readonly right: number;
      readonly top: number;
      readonly bottom: number;
    };
    readonly top: number;
    readonly left: number;
  },
): { readonly frames: readonly Frame[]; readonly bottom: number } {
  const { columns, width, height, padding, top, left } = options;
  const cellWidth = width / columns;
  const cellHeight = padding.top + height + padding.bottom;
  const frames = Array.from({ length: number }, (_, index) => ({
    left: left + (index % columns) * cellWidth + padding.left,
    top: top + Math.floor(index / columns) * cellHeight + padding.top,
    width: cellWidth - padding.left - padding.right,
    height,
  }));
  return { frames, bottom: top + Math.ceil(number / columns) * cellHeight };
}
