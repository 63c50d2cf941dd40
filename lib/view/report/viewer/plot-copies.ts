import type { SliceGroup } from '../format.ts';
import { type Area, colourOf, drawAxis, type Plot, type TipLine } from './plot.ts';
import type { Slices } from './slices.ts';
import { ceiling, valueWords } from './words.ts';

const words = (value: number): string => valueWords(value, 'bytes/s', 'B/s');

/** Bytes per second of some groups of copies, one on the other: upward to the GPU, downward from it. */
export class CopyPlot implements Plot {
  readonly title: string;
  readonly height = 150;
  readonly legend: Plot['legend'];
  readonly simulated: boolean;
  readonly description: string;
  readonly #slices: Slices;
  readonly #groups: readonly number[];
  readonly #mirrored: boolean;

  /** `groups`: numbers of those that are drawn. */
  constructor(title: string, slices: Slices, groups: readonly number[]) {
    const about = (index: number): SliceGroup => slices.about.groups[index] as SliceGroup;
    this.title = title;
    this.#slices = slices;
    this.#groups = groups;
    this.#mirrored =
      groups.some((index) => about(index).down) && groups.some((index) => !about(index).down);
    this.legend = groups.map((index) => about(index));
    this.simulated = slices.about.simulated;
    this.description = `${title}: bytes per second by direction and memory kind of the host: ${this.legend.map(({ label }) => label).join(', ')}`;
  }

  draw(area: Area): void {
    const { view, width, height, context, paper } = area;
    const count = Math.max(1, Math.floor(width));
    const seconds = (view.to - view.from) / count / 1e9;
    const parts = this.#slices.parts(view.from, view.to, count, 'bytes');
    const [up, down] = [new Float64Array(count), new Float64Array(count)];
    const layers = this.#groups.map((index) => {
      const { down: below, colours } = this.#slices.about.groups[index] as SliceGroup;
      const isDown = this.#mirrored && below;
      const total = isDown ? down : up;
      const base = total.slice();
      const own = parts[index] as Float64Array;
      for (let at = 0; at < count; at++) {
        total[at] = (total[at] as number) + (own[at] as number) / seconds;
      }
      return { base, top: total.slice(), isDown, colours };
    });
    const highest = ceiling(largest(up), 'bytes/s');
    const deepest = this.#mirrored ? ceiling(largest(down), 'bytes/s') : 0;
    // Both sides on one scale, so that areas compare; each keeps room to be seen at all.
    const below = deepest === 0 ? 0 : Math.min(Math.max(deepest / (highest + deepest), 0.18), 0.82);
    const zero = height * (1 - below);
    const scale = Math.min(
      zero / highest,
      deepest === 0 ? Number.POSITIVE_INFINITY : (height - zero) / deepest,
    );
    const ticks = [
      { at: zero, text: '0 B/s' },
      { at: zero - highest * scale, text: valueWords(highest, 'bytes/s', '', 3) },
    ];
    if (deepest > 0) {
      ticks.push({
        at: zero + deepest * scale,
        text: valueWords(deepest, 'bytes/s', '', 3),
      });
    }
    drawAxis(
      area,
      ticks.filter(({ at }, index) => index === 0 || Math.abs(at - zero) > 13),
    );
    for (const { base, top, isDown, colours } of layers) {
      context.fillStyle = colourOf(colours, paper);
      const sign = isDown ? 1 : -1;
      for (let at = 0; at < count; at++) {
        const tall = ((top[at] as number) - (base[at] as number)) * scale;
        if (tall <= 0) continue;
        const y = zero + sign * (base[at] as number) * scale;
        // What is there at all is seen.
        const seen = Math.max(tall, 0.75);
        context.fillRect(at * (width / count), isDown ? y : y - seen, width / count + 0.3, seen);
      }
    }
    if (!this.#mirrored) return;
    context.font = '11px system-ui, sans-serif';
    context.textAlign = 'right';
    context.fillStyle = paper.muted;
    // With a rim of paper, because copies may be behind them.
    context.strokeStyle = paper.back;
    context.lineWidth = 3;
    for (const [text, baseline, y] of [
      ['to the GPU ↑', 'top', 2],
      ['from the GPU ↓', 'bottom', height - 2],
    ] as const) {
      context.textBaseline = baseline;
      context.strokeText(text, width - 4, y);
      context.fillText(text, width - 4, y);
    }
  }

  tip(time: number, _height: number, nsPerPixel: number): readonly TipLine[] {
    // A pixel, as it is drawn; where nothing is copied the groups say so.
    const parts = this.#slices.parts(time - nsPerPixel / 2, time + nsPerPixel / 2, 1, 'bytes');
    return this.#groups.map((index) => {
      const { label, colours } = this.#slices.about.groups[index] as SliceGroup;
      const rate = ((parts[index]?.[0] ?? 0) * 1e9) / nsPerPixel;
      return { colours, label, value: words(rate) };
    });
  }
}

function largest(values: Float64Array): number {
  let highest = 0;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}

/** Share of the time in which at least one kernel ran, a line for each GPU. */
export class BusyPlot implements Plot {
  readonly title = 'Kernels: busy share of the time';
  readonly height = 84;
  readonly legend: Plot['legend'];
  readonly simulated: boolean;
  readonly description: string;
  readonly #slices: Slices;

  constructor(slices: Slices) {
    this.#slices = slices;
    this.legend = slices.about.groups;
    this.simulated = slices.about.simulated;
    this.description = `${this.title}: ${this.legend.map(({ label }) => label).join(', ')}`;
  }

  draw(area: Area): void {
    const { view, width, height, context, paper } = area;
    const count = Math.max(1, Math.floor(width));
    const step = (view.to - view.from) / count;
    drawAxis(
      area,
      [0, 0.5, 1].map((share) => ({
        at: height * (1 - share),
        text: `${share * 100} %`,
      })),
    );
    const all = this.#slices.parts(view.from, view.to, count, 'busy');
    for (const [index, parts] of all.entries()) {
      context.fillStyle = colourOf((this.#slices.about.groups[index] as SliceGroup).colours, paper);
      context.globalAlpha = all.length > 1 ? 0.6 : 0.85;
      for (let at = 0; at < count; at++) {
        const tall = Math.min(1, (parts[at] as number) / step) * height;
        if (tall > 0)
          context.fillRect(at * (width / count), height - tall, width / count + 0.3, tall);
      }
    }
    context.globalAlpha = 1;
  }

  tip(time: number, _height: number, nsPerPixel: number): readonly TipLine[] {
    const from = time - nsPerPixel / 2;
    return this.#slices.parts(from, from + nsPerPixel, 1, 'busy').map((parts, index) => {
      const { label, colours } = this.#slices.about.groups[index] as SliceGroup;
      const share = Math.min(1, (parts[0] as number) / nsPerPixel);
      return { colours, label, value: valueWords(share, 'share', '%') };
    });
  }
}
