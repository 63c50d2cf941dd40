import type { ReportMeta } from '../format.ts';
import { listen, Navigation, timeAt } from './navigation.ts';
import { make, Panel } from './panel.ts';
import { colourOf, type Paper, type Plot, type TipLine, type View } from './plot.ts';
import { BusyPlot, CopyPlot } from './plot-copies.ts';
import { LanePlot } from './plot-lanes.ts';
import { LinePlot } from './plot-lines.ts';
import { Ruler } from './ruler.ts';
import { Slices } from './slices.ts';
import { clockWords, durationWords, offsetWords, timeStep } from './words.ts';

interface Loaded {
  readonly plots: readonly Plot[];
  readonly copies: Slices | null;
  readonly lanes: LanePlot | null;
  readonly shape: (count: number) => readonly Float64Array[];
}

const isAcross = (label: string): boolean => /^(HtoD|DtoH)/.test(label);

async function load(meta: ReportMeta): Promise<Loaded> {
  const plots: Plot[] = [];
  const copies = await Slices.load(meta.copies);
  let lanes: LanePlot | null = null;
  if (copies !== null) {
    const numbers = copies.about.groups.map((_, index) => index);
    const label = (index: number): string => copies.about.groups[index]?.label ?? '';
    const across = numbers.filter((index) => isAcross(label(index)));
    const others = numbers.filter((index) => !isAcross(label(index)));
    if (across.length > 0) plots.push(new CopyPlot('Copies between host and GPU', copies, across));
    if (others.length > 0) plots.push(new CopyPlot('Other copies', copies, others));
    lanes = new LanePlot('Each copy', copies, false);
    plots.push(lanes);
  }
  const lines: LinePlot[] = [];
  for (const panel of meta.panels) lines.push(await LinePlot.load(panel, meta.length));
  const first = ['Host page faults', 'PCIe bytes', 'GPU utilization'];
  plots.push(...lines.filter(({ title }) => first.includes(title)));
  const kernels = await Slices.load(meta.kernels);
  if (kernels !== null)
    plots.push(new BusyPlot(kernels), new LanePlot('Each kernel', kernels, true));
  plots.push(...lines.filter(({ title }) => !first.includes(title)));
  const source = copies ?? kernels;
  const shape = (count: number): Float64Array[] => {
    if (source === null) return [];
    const parts = source.parts(0, meta.length, count, copies === null ? 'busy' : 'bytes');
    const sides = [new Float64Array(count), new Float64Array(count)] as const;
    for (const [index, part] of parts.entries()) {
      const side = sides[source.about.groups[index]?.down ? 1 : 0];
      for (let at = 0; at < count; at++) side[at] = (side[at] as number) + (part[at] as number);
    }
    return source.about.groups.some(({ down }) => down) ? [...sides] : [sides[0]];
  };
  return { plots, copies, lanes, shape };
}

const SCHEMES = { auto: 'Automatic', light: 'Light', dark: 'Dark' } as const;

/** The page: panels under one ruler, what is in view, the tooltip and the keys. */
class Page {
  readonly navigation: Navigation;
  readonly #meta: ReportMeta;
  readonly #loaded: Loaded;
  readonly #panels: readonly Panel[];
  readonly #ruler: Ruler;
  readonly #plots = make('div', 'plots');
  readonly #tip = make('div', 'tip');
  readonly #status = make('p', 'status');
  readonly #dark = window.matchMedia('(prefers-color-scheme: dark)');
  #scheme: keyof typeof SCHEMES = 'auto';
  #hover: { x: number; clientX: number; clientY: number } | null = null;
  #copy = -1;
  /** What the status says as long as the view stays where it was then. */
  #said: { readonly view: View; readonly text: string } | null = null;
  #asked = false;

  constructor(root: HTMLElement, meta: ReportMeta, loaded: Loaded) {
    this.#meta = meta;
    this.#loaded = loaded;
    this.navigation = new Navigation(meta.length, () => this.redraw());
    this.#ruler = new Ruler(loaded.shape);
    this.#panels = loaded.plots.map((plot) => new Panel(plot));
    this.#plots.tabIndex = 0;
    this.#plots.setAttribute('role', 'group');
    this.#plots.setAttribute(
      'aria-label',
      'Plots on one time axis. Keys: arrows move and zoom, 0 shows all, n and p go to the next and previous copy',
    );
    this.#plots.append(...this.#panels.map(({ element }) => element));
    this.#status.setAttribute('role', 'status');
    this.#tip.hidden = true;
    root.replaceChildren(this.#toolbar(), this.#ruler.element, this.#plots, this.#tip);
    listen(this.#plots, this.#ruler.overview, this.navigation, (event) => this.#point(event));
    this.#plots.addEventListener('keydown', (event) => this.#key(event));
    this.#dark.addEventListener('change', () => this.redraw());
    window.addEventListener('resize', () => this.redraw());
    window.addEventListener('hashchange', () => this.#readHash());
    this.#readHash();
    this.#draw();
  }

  #toolbar(): HTMLElement {
    const bar = make('div', 'toolbar');
    const button = (text: string, title: string, act: () => void): HTMLButtonElement => {
      const element = make('button', '', text);
      element.type = 'button';
      element.title = title;
      element.addEventListener('click', act);
      bar.append(element);
      return element;
    };
    const centre = (): number => (this.navigation.view.from + this.navigation.view.to) / 2;
    button('All', 'The whole piece (0 or double click)', () => this.navigation.all());
    button('+', 'Closer (wheel or arrow up)', () => this.navigation.zoom(0.5, centre()));
    button('−', 'Further (wheel or arrow down)', () => this.navigation.zoom(2, centre()));
    button('◀', 'Earlier (drag or arrow left)', () =>
      this.navigation.pan(-this.navigation.length / 4),
    );
    button('▶', 'Later (drag or arrow right)', () =>
      this.navigation.pan(this.navigation.length / 4),
    );
    if (this.#loaded.copies !== null) {
      button('Previous copy', 'p', () => this.#step(-1));
      button('Next copy', 'n', () => this.#step(1));
    }
    const scheme = button(`Colours: ${SCHEMES.auto}`, 'Light or dark', () => {
      const names = Object.keys(SCHEMES) as (keyof typeof SCHEMES)[];
      this.#scheme = names[(names.indexOf(this.#scheme) + 1) % names.length] ?? 'auto';
      scheme.textContent = `Colours: ${SCHEMES[this.#scheme]}`;
      document.documentElement.dataset['scheme'] = this.#scheme;
      this.redraw();
    });
    bar.append(this.#status);
    return bar;
  }

  /** Draws with the next frame, however often it is asked for until then. */
  redraw(): void {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  #paper(): Paper {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    return {
      dark: this.#scheme === 'dark' || (this.#scheme === 'auto' && this.#dark.matches),
      ink: colour('ink'),
      muted: colour('muted'),
      grid: colour('grid'),
      back: colour('back'),
      mark: colour('mark'),
    };
  }

  #draw(): void {
    const { view, whole } = this.navigation;
    const { marks, offset } = this.#meta;
    const paper = this.#paper();
    this.#ruler.draw(view, whole, offset, paper, marks);
    for (const [index, panel] of this.#panels.entries()) {
      panel.draw(view, paper, marks, this.#hover?.x ?? null, index === 0);
    }
    const step = timeStep(this.navigation.length / 100);
    const [from, to] = [view.from + offset, view.to + offset].map((at) => offsetWords(at, step));
    this.#status.textContent =
      this.#said?.view === view
        ? this.#said.text
        : `${from} to ${to}, ${durationWords(this.navigation.length, 3)}`;
    this.#showTip(paper);
    const isAll = view.from === whole.from && view.to === whole.to;
    // A page that was sent on with its address opens at the same place.
    const hash = isAll
      ? ''
      : `#${Math.round(view.from + offset)}ns-${Math.round(view.to + offset)}ns`;
    try {
      if (location.hash !== hash)
        history.replaceState(null, '', hash === '' ? location.pathname : hash);
    } catch {
      // Some browsers allow no history in a file: the view is then not in the address.
    }
  }

  #readHash(): void {
    const match = /^#(\d+)ns-(\d+)ns$/.exec(location.hash);
    if (match === null) return;
    const { offset } = this.#meta;
    this.navigation.show(Number(match[1]) - offset, Number(match[2]) - offset);
  }

  #point(event: PointerEvent | null): void {
    const at = event === null ? null : timeAt(this.#plots, event.clientX, this.navigation.view);
    this.#hover =
      event === null || at === null || !at.inside
        ? null
        : { x: at.x, clientX: event.clientX, clientY: event.clientY };
    this.redraw();
  }

  #showTip(paper: Paper): void {
    const hover = this.#hover;
    this.#tip.hidden = hover === null;
    if (hover === null) return;
    const { time, nsPerPixel } = timeAt(this.#plots, hover.clientX, this.navigation.view);
    const { base, offset } = this.#meta;
    const when = make('p', 'when', offsetWords(time + offset, Math.max(nsPerPixel, 1)));
    const lines: HTMLElement[] = [when, make('p', 'clock', clockWords(BigInt(base), time))];
    const panel = this.#panels.find(({ element }) => {
      const { top, bottom } = element.getBoundingClientRect();
      return hover.clientY >= top && hover.clientY < bottom;
    });
    if (panel !== undefined) {
      const { top, height } = panel.canvas.getBoundingClientRect();
      const found = panel.plot.tip(time, (hover.clientY - top) / height, nsPerPixel);
      if (found.length > 0) lines.push(make('p', 'name', panel.plot.title));
      for (const line of found) lines.push(this.#tipLine(line, paper));
    }
    const mark = this.#meta.marks.find(({ at }) => Math.abs(at - time) < 6 * nsPerPixel);
    if (mark !== undefined) lines.push(make('p', 'name', `mark ${mark.name}`));
    this.#tip.replaceChildren(...lines);
    const { width, height } = this.#tip.getBoundingClientRect();
    const left =
      hover.clientX + 18 + width > window.innerWidth
        ? hover.clientX - width - 18
        : hover.clientX + 18;
    this.#tip.style.left = `${Math.max(4, left)}px`;
    this.#tip.style.top = `${Math.max(4, Math.min(hover.clientY + 14, window.innerHeight - height - 6))}px`;
  }

  #tipLine({ colours, label, value }: TipLine, paper: Paper): HTMLElement {
    const line = make('p', colours === null ? 'fact' : '');
    if (colours !== null) {
      const swatch = make('i', '');
      swatch.style.background = colourOf(colours, paper);
      line.append(swatch);
    }
    line.append(make('span', '', label));
    if (value !== '') line.append(make('b', '', value));
    return line;
  }

  /** Goes to the copy after or before the one that was gone to last, or the first in view. */
  #step(by: 1 | -1): void {
    const { copies, lanes } = this.#loaded;
    if (copies === null || lanes === null || copies.start.length === 0) return;
    const { view } = this.navigation;
    const known = this.#copy >= 0 ? (copies.start[this.#copy] as number) : Number.NaN;
    const next =
      known >= view.from && known <= view.to
        ? this.#copy + by
        : copies.inSight(view.from, view.to).last - (by === 1 ? 0 : 1);
    this.#copy = Math.min(Math.max(next, 0), copies.start.length - 1);
    const start = copies.start[this.#copy] as number;
    const length = Math.max(copies.length[this.#copy] as number, 1000);
    this.navigation.show(start - 2 * length, start + 3 * length);
    const facts = lanes.factsOf(this.#copy).map(({ label, value }) => `${label} ${value}`.trim());
    const where = `copy ${(this.#copy + 1).toLocaleString('en-US')} at ${offsetWords(start + this.#meta.offset, 1)}`;
    this.#said = { view: this.navigation.view, text: `${where}: ${facts.join(', ')}` };
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view, length } = this.navigation;
    const centre = (view.from + view.to) / 2;
    const acts: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => this.navigation.pan(-length / 8),
      ArrowRight: () => this.navigation.pan(length / 8),
      ArrowUp: () => this.navigation.zoom(0.7, centre),
      '+': () => this.navigation.zoom(0.7, centre),
      ArrowDown: () => this.navigation.zoom(1 / 0.7, centre),
      '-': () => this.navigation.zoom(1 / 0.7, centre),
      '0': () => this.navigation.all(),
      Home: () => this.navigation.show(0, length),
      End: () => this.navigation.show(this.navigation.whole.to - length, this.navigation.whole.to),
      n: () => this.#step(1),
      p: () => this.#step(-1),
    };
    const act = acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }
}

async function start(): Promise<void> {
  const root = document.getElementById('viewer') as HTMLElement;
  const meta = JSON.parse(document.getElementById('meta')?.textContent ?? '') as ReportMeta;
  try {
    if (typeof DecompressionStream === 'undefined') {
      throw new Error(
        'this browser is too old (it has no DecompressionStream); the tables below hold all the same',
      );
    }
    const loaded = await load(meta);
    new Page(root, meta, loaded);
    document.documentElement.dataset['ready'] = String(Math.round(performance.now()));
  } catch (error) {
    root.replaceChildren(
      make('p', 'broken', `The plots cannot be shown: ${(error as Error).message}`),
    );
    document.documentElement.dataset['ready'] = 'failed';
  }
}

void start();
