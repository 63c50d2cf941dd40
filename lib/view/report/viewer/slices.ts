import type { ReportSlices } from '../format.ts';
import { type Numbers, unpack } from './data.ts';
import { indexAt } from './line.ts';

const CHUNK = 256;
/** More slices than this in sight are drawn out of the bins: one by one they would be a smear of the same height. */
export const MOST_IN_SIGHT = 60_000;

/** Sums up to each bin: the sum of any piece is a difference. */
function sums(bins: Numbers): Float64Array {
  const all = new Float64Array(bins.length + 1);
  for (let at = 0; at < bins.length; at++) {
    all[at + 1] = (all[at] as number) + (bins[at] as number);
  }
  return all;
}

interface GroupSums {
  readonly bytes: Float64Array | null;
  readonly busy: Float64Array | null;
}

/** Copies or kernels: each one, and sums of them in bins. */
export class Slices {
  readonly about: ReportSlices;
  readonly start: Numbers;
  readonly length: Numbers;
  readonly group: Numbers;
  readonly place: Numbers;
  readonly value: Numbers;
  readonly #sums: readonly GroupSums[];
  /** Latest end of all slices up to the end of each chunk: a long one may reach far behind its beginning. */
  readonly #ends: Float64Array;

  private constructor(about: ReportSlices, columns: readonly Numbers[], groups: GroupSums[]) {
    const [start, length, group, place, value] = columns as [
      Numbers,
      Numbers,
      Numbers,
      Numbers,
      Numbers,
    ];
    this.about = about;
    this.start = start;
    this.length = length;
    this.group = group;
    this.place = place;
    this.value = value;
    this.#sums = groups;
    this.#ends = new Float64Array(Math.ceil(start.length / CHUNK));
    let latest = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < start.length; at++) {
      const end = (start[at] as number) + (length[at] as number);
      if (end > latest) latest = end;
      this.#ends[Math.floor(at / CHUNK)] = latest;
    }
  }

  static async load(about: ReportSlices | null): Promise<Slices | null> {
    if (about === null) return null;
    const columns: Numbers[] = [];
    for (const name of ['start', 'length', 'group', 'place', 'value'] as const) {
      columns.push(await unpack(about[name]));
    }
    const groups: GroupSums[] = [];
    for (const { bytes, busy } of about.groups) {
      groups.push({
        bytes: bytes === null ? null : sums(await unpack(bytes)),
        busy: busy === null ? null : sums(await unpack(busy)),
      });
    }
    return new Slices(about, columns, groups);
  }

  /** Numbers of the slices that may touch a piece: all that do are among them. */
  inSight(from: number, to: number): { readonly first: number; readonly last: number } {
    let [low, high] = [0, this.#ends.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) > from) high = middle;
      else low = middle + 1;
    }
    return { first: low * CHUNK, last: indexAt(this.start, to) };
  }

  /** Whether each slice of a piece is drawn: all of them are here, and not too many. */
  each(from: number, to: number): boolean {
    const { first, last } = this.inSight(from, to);
    const { until } = this.about;
    return last - first < MOST_IN_SIGHT && (until === null || to <= until);
  }

  /**
   * Bytes or busy ns of each group in `count` equal parts of a piece: exact from the slices where few are in sight, else from
   * the bins, spread evenly within each.
   */
  parts(from: number, to: number, count: number, what: 'bytes' | 'busy'): Float64Array[] {
    const result = this.about.groups.map(() => new Float64Array(count));
    if (this.each(from, to)) this.#fromSlices(result, from, to, what);
    else this.#fromBins(result, from, to, what);
    return result;
  }

  #fromBins(result: Float64Array[], from: number, to: number, what: 'bytes' | 'busy'): void {
    const { binNs, bins } = this.about;
    for (const [index, parts] of result.entries()) {
      const sum = this.#sums[index]?.[what];
      if (!sum) continue;
      const until = (time: number): number => {
        const at = Math.min(Math.max(time / binNs, 0), bins);
        const bin = Math.min(Math.floor(at), bins - 1);
        const [before, after] = [sum[bin] as number, sum[bin + 1] as number];
        return before + (after - before) * (at - bin);
      };
      const step = (to - from) / parts.length;
      let before = until(from);
      for (let at = 0; at < parts.length; at++) {
        const after = until(from + (at + 1) * step);
        parts[at] = after - before;
        before = after;
      }
    }
  }

  #fromSlices(result: Float64Array[], from: number, to: number, what: 'bytes' | 'busy'): void {
    const { first, last } = this.inSight(from, to);
    const count = result[0]?.length ?? 0;
    const step = (to - from) / count;
    const busyUntil = result.map(() => from);
    for (let at = first; at <= last; at++) {
      const group = this.group[at] as number;
      const parts = result[group] as Float64Array;
      const [start, length] = [this.start[at] as number, this.length[at] as number];
      const end = Math.min(start + length, to);
      // Busy is busy, by one kernel or by two.
      const begin = Math.max(start, what === 'busy' ? (busyUntil[group] as number) : from);
      if (what === 'busy') busyUntil[group] = Math.max(busyUntil[group] as number, end);
      if (end < begin) continue;
      const each = what === 'busy' ? 1 : (this.value[at] as number) / Math.max(length, 1);
      const lastPart = Math.min(count - 1, Math.floor((end - from) / step));
      for (let part = Math.max(0, Math.floor((begin - from) / step)); part <= lastPart; part++) {
        const partEnd = from + (part + 1) * step;
        const inside = Math.min(end, partEnd) - Math.max(begin, partEnd - step);
        if (inside > 0) parts[part] = (parts[part] as number) + inside * each;
      }
    }
  }

  /** The slice of a group at a time, or the one whose edge is at most `near` away. */
  at(group: number, time: number, near: number): number | null {
    const { first, last } = this.inSight(time - near, time + near);
    let best: number | null = null;
    let distance = near;
    for (let at = last; at >= first; at--) {
      if (this.group[at] !== group) continue;
      const start = this.start[at] as number;
      const away = Math.max(start - time, time - start - (this.length[at] as number), 0);
      if (away > distance) continue;
      best = at;
      distance = away;
      if (away === 0) break;
    }
    return best;
  }
}
