import type { ReportSeries } from '../format.ts';
import { type Numbers, unpack } from './data.ts';

/** Entries of a level that become one of the next. */
const FACTOR = 4;

/** One level of the pyramid: entry `i` holds from `times[i]` to `times[i + 1]`. */
export interface Level {
  readonly times: Numbers;
  readonly min: Numbers;
  readonly mean: Numbers;
  readonly max: Numbers;
}

/** Every fourth entry, with the least and the largest of four and their mean over time. */
function coarser(level: Level, end: number): Level {
  const size = Math.ceil(level.times.length / FACTOR);
  const next = {
    times: new Float64Array(size),
    min: new Float32Array(size),
    mean: new Float32Array(size),
    max: new Float32Array(size),
  };
  for (let to = 0; to < size; to++) {
    let [min, max, area, known] = [Number.NaN, Number.NaN, 0, 0];
    for (let at = to * FACTOR; at < Math.min((to + 1) * FACTOR, level.times.length); at++) {
      const value = level.mean[at] as number;
      if (Number.isNaN(value)) continue;
      const lasts =
        ((level.times[at + 1] as number | undefined) ?? end) - (level.times[at] as number);
      area += value * lasts;
      known += lasts;
      if (!((level.min[at] as number) >= min)) min = level.min[at] as number;
      if (!((level.max[at] as number) <= max)) max = level.max[at] as number;
    }
    next.times[to] = level.times[to * FACTOR] as number;
    next.min[to] = min;
    next.max[to] = max;
    next.mean[to] = known > 0 ? area / known : Number.NaN;
  }
  return next;
}

/** Index of the last entry that begins at or before `time`; -1: all begin later. */
export function indexAt(times: Numbers, time: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] as number) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** A number over time, in as many resolutions as it takes to draw any piece of it with few entries. */
export class Line {
  readonly about: ReportSeries;
  readonly #levels: readonly Level[];

  private constructor(about: ReportSeries, levels: readonly Level[]) {
    this.about = about;
    this.#levels = levels;
  }

  static async load(about: ReportSeries, end: number): Promise<Line> {
    const mean = await unpack(about.values);
    const min = about.min === null ? mean : await unpack(about.min);
    const max = about.max === null ? mean : await unpack(about.max);
    const times =
      about.times === null
        ? Float64Array.from(mean, (_, at) => at * about.binNs)
        : await unpack(about.times);
    const levels: Level[] = [{ times, min, mean, max }];
    for (let last = levels[0] as Level; last.times.length > 512; ) {
      last = coarser(last, end);
      levels.push(last);
    }
    return new Line(about, levels);
  }

  /** The finest level with at most `most` entries between two times, and which of them. */
  piece(from: number, to: number, most: number): Level & { first: number; last: number } {
    let best: (Level & { first: number; last: number }) | null = null;
    for (const level of this.#levels) {
      const first = Math.max(0, indexAt(level.times, from));
      const last = indexAt(level.times, to);
      best = { ...level, first, last };
      if (last - first <= most) break;
    }
    return best as Level & { first: number; last: number };
  }

  /** What is known of a time, from the finest level; null: nothing. */
  at(time: number): { min: number; mean: number; max: number } | null {
    const { times, min, mean, max } = this.#levels[0] as Level;
    const at = indexAt(times, time);
    const value = mean[at];
    if (value === undefined || Number.isNaN(value)) return null;
    return { min: min[at] as number, mean: value, max: max[at] as number };
  }
}
