import { LEFT, RIGHT, type View } from './plot.ts';

/** Shortest piece that can be looked at, ns: below it times have no more digits. */
const SHORTEST = 100;

/** What is in view. Every change goes through here, so that it stays within the whole. */
export class Navigation {
  readonly whole: View;
  view: View;
  readonly #changed: () => void;

  constructor(length: number, changed: () => void) {
    this.whole = { from: 0, to: length };
    this.view = this.whole;
    this.#changed = changed;
  }

  get length(): number {
    return this.view.to - this.view.from;
  }

  show(from: number, to: number): void {
    const whole = this.whole.to;
    const length = Math.min(Math.max(to - from, Math.min(SHORTEST, whole)), whole);
    const start = Math.min(Math.max(from, 0), whole - length);
    this.view = { from: start, to: start + length };
    this.#changed();
  }

  /** `factor` below 1 comes closer; `time` stays where it is. */
  zoom(factor: number, time: number): void {
    const { from, to } = this.view;
    this.show(time - (time - from) * factor, time + (to - time) * factor);
  }

  pan(ns: number): void {
    const { from, to } = this.view;
    this.show(from + ns, to + ns);
  }

  all(): void {
    this.show(0, this.whole.to);
  }
}

/** Time under a position on the page, and whether it lies between the axes. */
export function timeAt(
  element: HTMLElement,
  clientX: number,
  view: View,
): {
  readonly time: number;
  readonly x: number;
  readonly inside: boolean;
  readonly nsPerPixel: number;
} {
  const { left, width } = element.getBoundingClientRect();
  const inner = Math.max(1, width - LEFT - RIGHT);
  const x = clientX - left - LEFT;
  const nsPerPixel = (view.to - view.from) / inner;
  return { time: view.from + x * nsPerPixel, x, inside: x >= 0 && x <= inner, nsPerPixel };
}

/** Wheel, drag, double click and Shift+drag on the plots; drag and click on the overview. */
export function listen(
  plots: HTMLElement,
  overview: HTMLElement,
  navigation: Navigation,
  moved: (event: PointerEvent | null) => void,
): void {
  let drag: { readonly x: number; readonly view: View; readonly select: boolean } | null = null;
  const selection = document.createElement('div');
  selection.className = 'selection';
  selection.hidden = true;
  plots.append(selection);
  plots.addEventListener(
    'wheel',
    (event) => {
      const { time, inside, nsPerPixel } = timeAt(plots, event.clientX, navigation.view);
      // Beside the plots the wheel scrolls the page, as it does with nothing to zoom under it.
      if (!inside) return;
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        navigation.pan((event.deltaX || event.deltaY) * unit * nsPerPixel);
      } else {
        navigation.zoom(1.0018 ** (event.deltaY * unit), time);
      }
    },
    { passive: false },
  );
  plots.addEventListener('pointerdown', (event) => {
    const { inside } = timeAt(plots, event.clientX, navigation.view);
    if (event.button !== 0 || !inside) return;
    drag = { x: event.clientX, view: navigation.view, select: event.shiftKey };
    plots.setPointerCapture(event.pointerId);
  });
  plots.addEventListener('pointermove', (event) => {
    if (drag === null) {
      moved(event);
      return;
    }
    moved(null);
    const { nsPerPixel } = timeAt(plots, event.clientX, drag.view);
    if (!drag.select) {
      const by = (drag.x - event.clientX) * nsPerPixel;
      navigation.show(drag.view.from + by, drag.view.to + by);
      return;
    }
    const box = plots.getBoundingClientRect();
    selection.hidden = false;
    selection.style.left = `${Math.min(drag.x, event.clientX) - box.left}px`;
    selection.style.width = `${Math.abs(event.clientX - drag.x)}px`;
  });
  const end = (event: PointerEvent): void => {
    const was = drag;
    drag = null;
    selection.hidden = true;
    if (was === null || !was.select || event.type === 'pointercancel') return;
    const times = [was.x, event.clientX].map((x) => timeAt(plots, x, was.view).time);
    if (Math.abs(event.clientX - was.x) > 4)
      navigation.show(Math.min(...times), Math.max(...times));
  };
  plots.addEventListener('pointerup', end);
  plots.addEventListener('pointercancel', end);
  plots.addEventListener('pointerleave', () => moved(null));
  plots.addEventListener('dblclick', () => navigation.all());

  const centre = (event: PointerEvent): void => {
    const { time } = timeAt(overview, event.clientX, navigation.whole);
    navigation.show(time - navigation.length / 2, time + navigation.length / 2);
  };
  overview.addEventListener('pointerdown', (event) => {
    overview.setPointerCapture(event.pointerId);
    centre(event);
  });
  overview.addEventListener('pointermove', (event) => {
    if (event.buttons === 1) centre(event);
  });
}
