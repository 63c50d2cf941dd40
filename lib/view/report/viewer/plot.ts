import type { Colours, ReportMark } from '../format.ts';

/** Room left of the plots for the numbers of their axis, and right of them. CSS pixels. */
export const LEFT = 86;
export const RIGHT = 14;

/** A piece of time, ns since the beginning of the page's. */
export interface View {
  readonly from: number;
  readonly to: number;
}

/** Colours that the scheme (light or dark) gives. */
export interface Paper {
  readonly dark: boolean;
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
  readonly back: string;
  readonly mark: string;
}

/** One line of a tooltip. */
export interface TipLine {
  readonly colours: Colours | null;
  readonly label: string;
  readonly value: string;
}

/** Where a plot draws: CSS pixels of the area between its axes. */
export interface Area {
  readonly context: CanvasRenderingContext2D;
  readonly width: number;
  readonly height: number;
  readonly view: View;
  readonly paper: Paper;
}

/** One plot of the page. All share one view and therefore one time axis. */
export interface Plot {
  readonly title: string;
  readonly simulated: boolean;
  readonly height: number;
  readonly legend: readonly { readonly label: string; readonly colours: Colours }[];
  /** What a picture cannot say to those who do not see it. */
  readonly description: string;
  draw(area: Area): void;
  /** What is at a time, and at a height (0 to 1 from the top); nothing where nothing is known. */
  tip(time: number, height: number, nsPerPixel: number): readonly TipLine[];
}

export const colourOf = (colours: Colours, { dark }: Paper): string => colours[dark ? 1 : 0];

export const pixelOf = ({ view, width }: Area, time: number): number =>
  ((time - view.from) / (view.to - view.from)) * width;

/** Numbers of the left axis with their lines across. */
export function drawAxis(
  area: Area,
  ticks: readonly { readonly at: number; readonly text: string }[],
): void {
  const { context, width, height, paper } = area;
  context.lineWidth = 1;
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const { at, text } of ticks) {
    context.strokeStyle = paper.grid;
    context.beginPath();
    const line = Math.min(Math.max(Math.round(at), 0), height - 1) + 0.5;
    context.moveTo(0, line);
    context.lineTo(width, line);
    context.stroke();
    context.fillStyle = paper.muted;
    // A number at the edge keeps its whole height on the canvas.
    context.fillText(text, -8, Math.min(Math.max(at, 7), height - 6));
  }
}

/** Marks as lines from top to bottom. */
export function drawMarks(area: Area, marks: readonly ReportMark[], named: boolean): void {
  const { context, width, height, paper } = area;
  context.textAlign = 'left';
  context.textBaseline = 'top';
  context.font = '11px system-ui, sans-serif';
  let free = Number.NEGATIVE_INFINITY;
  for (const { at, name } of marks) {
    const x = Math.round(pixelOf(area, at)) + 0.5;
    if (x < -1 || x > width + 1) continue;
    context.strokeStyle = paper.mark;
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    context.setLineDash([]);
    // A name that would stand on the one before is left out: the tooltip has it.
    if (!named || x < free) continue;
    context.fillStyle = paper.mark;
    context.fillText(name, x + 3, 1);
    free = x + 9 + context.measureText(name).width;
  }
}

/** Says in the middle of a plot why it is empty here. */
export function drawNote({ context, width, height, paper }: Area, text: string): void {
  context.font = '12px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  const half = context.measureText(text).width / 2 + 8;
  context.fillStyle = paper.back;
  context.globalAlpha = 0.8;
  context.fillRect(width / 2 - half, height / 2 - 10, 2 * half, 20);
  context.globalAlpha = 1;
  context.fillStyle = paper.muted;
  context.fillText(text, width / 2, height / 2);
}
