import type { Colours, SliceGroup } from '../format.ts';
import { type Area, colourOf, drawNote, type Plot, pixelOf, type TipLine } from './plot.ts';
import type { Slices } from './slices.ts';
import { bytesWords, durationWords, valueWords } from './words.ts';

const LANE = 20;
const MOST_LANES = 14;

/** Whether black reads better on a colour than white: by the luminance that eyes give to red, green and blue. */
function isLight(colour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) =>
    Number.parseInt(colour.slice(at, at + 2), 16),
  );
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}

/** Every slice on its own, in lanes: copies by direction and memory kind, kernels by stream. */
export class LanePlot implements Plot {
  readonly title: string;
  readonly height: number;
  readonly legend: Plot['legend'] = [];
  readonly simulated: boolean;
  readonly description: string;
  readonly slices: Slices;
  readonly #lanes: readonly { readonly label: string; readonly colours: Colours }[];
  readonly #byPlace: boolean;

  constructor(title: string, slices: Slices, byPlace: boolean) {
    const { groups, places, simulated } = slices.about;
    this.title = title;
    this.slices = slices;
    this.simulated = simulated;
    this.#byPlace = byPlace;
    const lanes = byPlace
      ? places.map((label) => ({ label, colours: (groups[0] as SliceGroup).colours }))
      : groups;
    this.#lanes = lanes.slice(0, MOST_LANES);
    this.height = LANE * this.#lanes.length + 2;
    this.description = `${title}, each with its beginning and end: ${this.#lanes.map(({ label }) => label).join('; ')}`;
  }

  #laneOf(at: number): number {
    const lane = (this.#byPlace ? this.slices.place[at] : this.slices.group[at]) as number;
    return Math.min(lane, this.#lanes.length - 1);
  }

  draw(area: Area): void {
    const { context, width, view, paper } = area;
    context.font = '11px system-ui, sans-serif';
    for (const [index, { label }] of this.#lanes.entries()) {
      context.fillStyle = paper.grid;
      context.globalAlpha = 0.45;
      context.fillRect(0, index * LANE + 2, width, LANE - 4);
      context.globalAlpha = 1;
      context.fillStyle = paper.muted;
      context.textAlign = 'right';
      context.textBaseline = 'middle';
      context.fillText(label.split(',')[0] ?? '', -8, index * LANE + LANE / 2, 78);
    }
    if (this.slices.each(view.from, view.to)) this.#drawEach(area);
    else if (this.#byPlace)
      drawNote(area, `${this.#number(area)} kernels here: zoom in to see each`);
    else this.#drawShare(area);
  }

  #number({ view }: Area): string {
    const { first, last } = this.slices.inSight(view.from, view.to);
    return (last - first + 1).toLocaleString('en-US');
  }

  #drawEach(area: Area): void {
    const { context, view, width, paper } = area;
    const { start, length, value, about } = this.slices;
    const { first, last } = this.slices.inSight(view.from, view.to);
    for (let at = first; at <= last; at++) {
      const from = pixelOf(area, start[at] as number);
      const to = pixelOf(area, (start[at] as number) + (length[at] as number));
      if (to < 0 || from > width) continue;
      const lane = this.#laneOf(at);
      const [left, right] = [Math.max(from, 0), Math.min(to, width)];
      context.fillStyle = colourOf((this.#lanes[lane] as { colours: Colours }).colours, paper);
      // A gap of half a pixel keeps neighbours apart; what is shorter than a pixel is still seen.
      const wide = Math.max(right - left - (right - left > 3 ? 0.6 : 0), 1);
      context.fillRect(left, lane * LANE + 2, wide, LANE - 4);
      if (wide < 44) continue;
      const text = this.#byPlace
        ? (about.names[value[at] as number] ?? '')
        : bytesWords(value[at] as number, 3);
      this.#write(area, text, { left, wide, lane, on: context.fillStyle });
    }
  }

  #write(
    { context }: Area,
    text: string,
    place: {
      readonly left: number;
      readonly wide: number;
      readonly lane: number;
      readonly on: string;
    },
  ): void {
    const { left, wide, lane, on } = place;
    context.save();
    context.beginPath();
    context.rect(left, lane * LANE, wide - 3, LANE);
    context.clip();
    context.fillStyle = isLight(on) ? '#000000' : '#ffffff';
    context.textAlign = 'left';
    context.fillText(text, left + 4, lane * LANE + LANE / 2 + 0.5);
    context.restore();
  }

  /** Too many to draw each: how much of each pixel a copy was under way, and how to see more. */
  #drawShare(area: Area): void {
    const { context, view, width, paper } = area;
    const count = Math.max(1, Math.floor(width));
    const step = (view.to - view.from) / count;
    for (const [lane, parts] of this.slices.parts(view.from, view.to, count, 'busy').entries()) {
      context.fillStyle = colourOf((this.slices.about.groups[lane] as SliceGroup).colours, paper);
      for (let at = 0; at < count; at++) {
        const share = Math.min(1, (parts[at] as number) / step);
        if (share <= 0) continue;
        context.globalAlpha = 0.15 + 0.85 * share;
        context.fillRect(at * (width / count), lane * LANE + 2, width / count + 0.3, LANE - 4);
      }
    }
    context.globalAlpha = 1;
    drawNote(area, `${this.#number(area)} here: zoom in to see each`);
  }

  tip(time: number, height: number, nsPerPixel: number): readonly TipLine[] {
    const lane = Math.min(
      Math.max(Math.floor((height * this.height) / LANE), 0),
      this.#lanes.length - 1,
    );
    const at = this.find(time, lane, 3 * nsPerPixel);
    return at === null ? [] : this.factsOf(at);
  }

  /** Number of the slice of a lane at a time; null: there is none near. */
  find(time: number, lane: number, near: number): number | null {
    if (!this.slices.each(time - near, time + near)) return null;
    if (!this.#byPlace) return this.slices.at(lane, time, near);
    const { first, last } = this.slices.inSight(time - near, time + near);
    for (let at = last; at >= first; at--) {
      const start = this.slices.start[at] as number;
      const away = Math.max(start - time, time - start - (this.slices.length[at] as number));
      if (away <= near && this.#laneOf(at) === lane) return at;
    }
    return null;
  }

  factsOf(at: number): readonly TipLine[] {
    const { about, length, value, place, group } = this.slices;
    const ns = length[at] as number;
    const amount = value[at] as number;
    const { label, colours } = about.groups[group[at] as number] as SliceGroup;
    const where = { colours: null, label: about.places[place[at] as number] ?? '', value: '' };
    if (this.#byPlace) {
      return [{ colours, label: about.names[amount] ?? 'kernel', value: durationWords(ns) }, where];
    }
    const rate = ns > 0 ? ` = ${valueWords((amount * 1e9) / ns, 'bytes/s', '')}` : '';
    return [
      { colours, label, value: `${bytesWords(amount)} in ${durationWords(ns)}${rate}` },
      where,
    ];
  }
}
