import type { Quantity, ReportPanel } from '../format.ts';
import { Line } from './line.ts';
import {
  type Area,
  colourOf,
  drawAxis,
  drawNote,
  type Plot,
  pixelOf,
  type TipLine,
} from './plot.ts';
import { ceiling, valueWords } from './words.ts';

/** Least and largest value that an axis shows. */
function boundsOf(low: number, high: number, quantity: Quantity): { low: number; high: number } {
  // Of what never comes near nothing (memory, watts) the change is what is to be seen.
  const gauge = quantity === 'bytes' || quantity === 'number';
  if (!gauge || low < 0.6 * high) return { low: Math.min(0, low), high: ceiling(high, quantity) };
  const room = Math.max((high - low) * 0.15, high * 0.02);
  return { low: low - room, high: high + room };
}

/** Numbers over time, as steps. */
export class LinePlot implements Plot {
  readonly title: string;
  readonly height = 96;
  readonly legend: Plot['legend'];
  readonly simulated: boolean;
  readonly description: string;
  readonly #panel: ReportPanel;
  readonly #lines: readonly Line[];

  private constructor(panel: ReportPanel, lines: readonly Line[]) {
    this.#panel = panel;
    this.#lines = lines;
    this.title = panel.title;
    this.legend = panel.series.map(({ label, colours }) => ({ label, colours }));
    this.simulated = panel.series.some(({ simulated }) => simulated);
    this.description = `${panel.title}: ${panel.series.map(({ label, origin }) => `${label} (${origin})`).join(', ')}`;
  }

  static async load(panel: ReportPanel, end: number): Promise<LinePlot> {
    const lines: Line[] = [];
    for (const series of panel.series) lines.push(await Line.load(series, end));
    return new LinePlot(panel, lines);
  }

  draw(area: Area): void {
    const { view, width, height, context } = area;
    const { quantity, unit } = this.#panel;
    const pieces = this.#lines.map((line) => line.piece(view.from, view.to, width / 1.5));
    let [lowest, highest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const { min, max, first, last } of pieces) {
      for (let at = first; at <= last; at++) {
        if ((min[at] as number) < lowest) lowest = min[at] as number;
        if ((max[at] as number) > highest) highest = max[at] as number;
      }
    }
    if (highest < lowest) {
      drawNote(area, 'no values here');
      return;
    }
    const { low, high } = boundsOf(lowest, highest, quantity);
    const y = (value: number): number => height - ((value - low) / (high - low)) * height;
    drawAxis(
      area,
      [low, (low + high) / 2, high].map((value) => ({
        at: y(value),
        text: valueWords(value, quantity, unit, 3),
      })),
    );
    for (const [index, piece] of pieces.entries()) {
      const line = this.#lines[index] as Line;
      context.fillStyle = colourOf(line.about.colours, area.paper);
      context.strokeStyle = context.fillStyle;
      this.#band(area, piece, y);
      this.#stroke(area, piece, y);
    }
  }

  /** From the least to the largest value of each entry that stands for several. */
  #band(area: Area, piece: ReturnType<Line['piece']>, y: (value: number) => number): void {
    const { context, width } = area;
    const { times, min, max, mean, first, last } = piece;
    if (min === mean) return;
    context.globalAlpha = 0.28;
    for (let at = first; at <= last; at++) {
      if (Number.isNaN(mean[at] as number)) continue;
      const from = Math.max(0, pixelOf(area, times[at] as number));
      const next = times[at + 1];
      const to = next === undefined ? width : Math.min(width, pixelOf(area, next));
      const top = y(max[at] as number);
      context.fillRect(from, top, Math.max(to - from, 1), Math.max(y(min[at] as number) - top, 1));
    }
    context.globalAlpha = 1;
  }

  #stroke(area: Area, piece: ReturnType<Line['piece']>, y: (value: number) => number): void {
    const { context, width } = area;
    const { times, mean, first, last } = piece;
    context.lineWidth = 1.4;
    context.beginPath();
    let drawing = false;
    for (let at = first; at <= last; at++) {
      const value = mean[at] as number;
      if (Number.isNaN(value)) {
        drawing = false;
        continue;
      }
      const from = Math.max(0, pixelOf(area, times[at] as number));
      const next = times[at + 1];
      const to = next === undefined ? width : Math.min(width, pixelOf(area, next));
      if (drawing) context.lineTo(from, y(value));
      else context.moveTo(from, y(value));
      context.lineTo(to, y(value));
      drawing = true;
    }
    context.stroke();
  }

  tip(time: number): readonly TipLine[] {
    const { quantity, unit } = this.#panel;
    const words = (value: number): string => valueWords(value, quantity, unit);
    return this.#lines.flatMap((line) => {
      const found = line.at(time);
      if (found === null) return [];
      const { min, mean, max } = found;
      const range = min === max ? '' : ` (${words(min)} to ${words(max)})`;
      return [{ colours: line.about.colours, label: line.about.label, value: words(mean) + range }];
    });
  }
}
