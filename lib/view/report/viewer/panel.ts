import type { ReportMark } from '../format.ts';
import { type Area, drawMarks, LEFT, type Paper, type Plot, RIGHT, type View } from './plot.ts';

/** Makes an element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** A canvas whose pixels are those of the screen; its own unit is the CSS pixel. */
export function fit(
  canvas: HTMLCanvasElement,
  height: number,
): { context: CanvasRenderingContext2D; width: number } {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width };
}

/** A plot on the page: heading, legend, canvas. */
export class Panel {
  readonly plot: Plot;
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly #swatches: HTMLElement[] = [];

  constructor(plot: Plot) {
    this.plot = plot;
    this.element = make('section', 'plot');
    const heading = make('h2', '', plot.title);
    if (plot.simulated) heading.append(' ', make('span', 'origin', 'Simulated'));
    const legend = make('ul', 'legend');
    for (const { label } of plot.legend) {
      const item = make('li', '');
      const swatch = make('i', '');
      this.#swatches.push(swatch);
      item.append(swatch, label);
      legend.append(item);
    }
    const head = make('div', 'head');
    head.append(heading, legend);
    this.canvas = make('canvas', '');
    this.canvas.style.height = `${plot.height}px`;
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', plot.description);
    this.element.append(head, this.canvas);
  }

  draw(
    view: View,
    paper: Paper,
    marks: readonly ReportMark[],
    hover: number | null,
    first: boolean,
  ): void {
    for (const [index, { colours }] of this.plot.legend.entries()) {
      (this.#swatches[index] as HTMLElement).style.background = colours[paper.dark ? 1 : 0];
    }
    const { height } = this.plot;
    const { context, width } = fit(this.canvas, height);
    const area: Area = { context, width: Math.max(1, width - LEFT - RIGHT), height, view, paper };
    context.save();
    context.translate(LEFT, 0);
    this.plot.draw(area);
    drawMarks(area, marks, first);
    if (hover !== null) {
      context.strokeStyle = paper.ink;
      context.lineWidth = 1;
      context.globalAlpha = 0.5;
      context.beginPath();
      context.moveTo(Math.round(hover) + 0.5, 0);
      context.lineTo(Math.round(hover) + 0.5, height);
      context.stroke();
      context.globalAlpha = 1;
    }
    context.restore();
  }
}
