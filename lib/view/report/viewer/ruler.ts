import type { ReportMark } from '../format.ts';
import { fit, make } from './panel.ts';
import { type Area, drawMarks, LEFT, type Paper, pixelOf, RIGHT, type View } from './plot.ts';
import { offsetWords, timeStep } from './words.ts';

const OVERVIEW = 34;
const AXIS = 22;

/** The strip above all plots: the whole piece with the part that is in view, and the time axis that all plots share. */
export class Ruler {
  readonly element: HTMLElement;
  readonly overview: HTMLCanvasElement;
  readonly #axis: HTMLCanvasElement;
  readonly #shape: (count: number) => readonly Float64Array[];

  /** `shape`: how much happened in each of so many parts of the whole, upward and downward. */
  constructor(shape: (count: number) => readonly Float64Array[]) {
    this.#shape = shape;
    this.element = make('div', 'ruler');
    this.overview = make('canvas', 'overview');
    this.overview.style.height = `${OVERVIEW}px`;
    this.overview.setAttribute('role', 'img');
    this.overview.setAttribute('aria-label', 'The whole piece; drag in it to move the view');
    this.#axis = make('canvas', '');
    this.#axis.style.height = `${AXIS}px`;
    this.#axis.setAttribute('aria-hidden', 'true');
    this.element.append(this.overview, this.#axis);
  }

  draw(view: View, whole: View, offset: number, paper: Paper, marks: readonly ReportMark[]): void {
    this.#drawOverview(view, whole, paper, marks);
    const { context, width } = fit(this.#axis, AXIS);
    const area: Area = { context, width: width - LEFT - RIGHT, height: AXIS, view, paper };
    context.translate(LEFT, 0);
    const step = timeStep(((view.to - view.from) / area.width) * 110);
    context.font = '11px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.strokeStyle = paper.muted;
    context.fillStyle = paper.ink;
    for (
      let at = Math.ceil((view.from + offset) / step) * step;
      at <= view.to + offset;
      at += step
    ) {
      const x = pixelOf(area, at - offset);
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, AXIS - 5);
      context.lineTo(Math.round(x) + 0.5, AXIS);
      context.stroke();
      const text = offsetWords(at, step);
      // The first and the last keep all their letters on the canvas.
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(x, half - LEFT), area.width + RIGHT - half), 8);
    }
  }

  #drawOverview(view: View, whole: View, paper: Paper, marks: readonly ReportMark[]): void {
    const { context, width } = fit(this.overview, OVERVIEW);
    const area: Area = {
      context,
      width: width - LEFT - RIGHT,
      height: OVERVIEW,
      view: whole,
      paper,
    };
    context.translate(LEFT, 0);
    context.fillStyle = paper.grid;
    context.globalAlpha = 0.5;
    context.fillRect(0, 0, area.width, OVERVIEW);
    context.globalAlpha = 1;
    const count = Math.max(1, Math.floor(area.width));
    const shapes = this.#shape(count);
    const most = Math.max(
      ...shapes.map((shape) => shape.reduce((a, b) => Math.max(a, b), 0)),
      1e-9,
    );
    context.fillStyle = paper.muted;
    const [up, down] = shapes;
    const middle = down === undefined ? OVERVIEW : OVERVIEW * 0.6;
    for (let at = 0; at < count; at++) {
      const above = ((up?.[at] ?? 0) / most) * (middle - 2);
      const below = ((down?.[at] ?? 0) / most) * (OVERVIEW - middle - 2);
      if (above > 0) context.fillRect(at, middle - Math.max(above, 0.7), 1.2, Math.max(above, 0.7));
      if (below > 0) context.fillRect(at, middle, 1.2, Math.max(below, 0.7));
    }
    drawMarks(area, marks, false);
    const [from, to] = [pixelOf(area, view.from), pixelOf(area, view.to)];
    context.fillStyle = paper.back;
    context.globalAlpha = 0.65;
    context.fillRect(0, 0, from, OVERVIEW);
    context.fillRect(to, 0, area.width - to, OVERVIEW);
    context.globalAlpha = 1;
    context.strokeStyle = paper.ink;
    context.lineWidth = 1.5;
    context.strokeRect(from + 0.75, 0.75, Math.max(to - from - 1.5, 3), OVERVIEW - 1.5);
  }
}
