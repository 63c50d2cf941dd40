import type { Colours, ReportSlices, SliceGroup } from './format.ts';
import type { Packer } from './pack.ts';
import { RESOLUTION } from './series-collector.ts';

/** Slices that are kept one by one, copies and kernels each; of more the first ones, and all in the bins. */
export const MOST_SLICES: number = 2 ** 21 + 2 ** 19;
const CHUNK = 65_536;
/** Groups that are told apart; what comes later is in the last one. */
const MOST_GROUPS = 16;

interface Group {
  readonly label: string;
  readonly colours: Colours;
  readonly down: boolean;
  readonly bytes: Float64Array | null;
  readonly busy: Float64Array;
  /** End of what was busy so far: work that runs side by side counts once. */
  busyUntil: number;
}

/** What the totals say of a group. */
export interface GroupTotals {
  readonly label: string;
  count: number;
  bytes: number;
  ns: number;
}

/** Slices of one kind; times are ns since the beginning of the piece. */
export class SliceCollector {
  readonly totals: GroupTotals[] = [];
  total = 0;
  #until: number | null = null;
  readonly #length: number;
  readonly #binNs: number;
  readonly #withBytes: boolean;
  readonly #groups: Group[] = [];
  readonly #groupNumbers = new Map<string, number>();
  readonly #places = new Map<string, number>();
  readonly #names = new Map<string, number>();
  readonly #columns: Float64Array[][] = [[], [], [], [], []];
  /** Start, length, group, place, value of the slices that came since the last chunk was full. */
  readonly #open = [0, 1, 2, 3, 4].map(() => new Float64Array(CHUNK));
  #rows = 0;
  #kept = 0;

  constructor(length: number, withBytes: boolean) {
    this.#length = length;
    this.#binNs = Math.max(1, length / RESOLUTION);
    this.#withBytes = withBytes;
  }

  group(label: string, colours: (index: number) => Colours, down: boolean): number {
    const known = this.#groupNumbers.get(label);
    if (known !== undefined) return known;
    const index = Math.min(this.#groups.length, MOST_GROUPS - 1);
    if (this.#groups.length < MOST_GROUPS) {
      const last = index === MOST_GROUPS - 1;
      this.#groups.push({
        label: last ? 'all others' : label,
        colours: colours(index),
        down,
        bytes: this.#withBytes ? new Float64Array(RESOLUTION) : null,
        busy: new Float64Array(RESOLUTION),
        busyUntil: 0,
      });
      this.totals.push({ label: last ? 'all others' : label, count: 0, bytes: 0, ns: 0 });
    }
    this.#groupNumbers.set(label, index);
    return index;
  }

  place = (text: string): number => numberOf(this.#places, text);
  name = (text: string): number => numberOf(this.#names, text);

  /** A slice that touches the piece. */
  add(start: number, length: number, group: number, place: number, value: number): void {
    const row = this.#rows++;
    const cells = [start, length, group, place, value];
    for (let column = 0; column < cells.length; column++) {
      (this.#open[column] as Float64Array)[row] = cells[column] as number;
    }
    if (this.#rows === CHUNK) this.#pass();
  }

  async pack(packer: Packer, title: string, simulated: boolean): Promise<ReportSlices | null> {
    this.#pass();
    if (this.total === 0) return null;
    const whole = this.#columns.map((pieces) => {
      const joined = new Float64Array(this.#kept);
      let at = 0;
      for (const piece of pieces.splice(0)) {
        joined.set(piece, at);
        at += piece.length;
      }
      return joined;
    });
    sortByStart(whole);
    const [start, length, group, place, value] = whole as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const groups: SliceGroup[] = [];
    for (const { label, colours, down, bytes, busy } of this.#groups) {
      groups.push({
        label,
        colours,
        down,
        bytes: bytes === null ? null : await packer.measured(bytes),
        busy: await packer.measured(busy),
      });
    }
    return {
      title,
      groups,
      places: [...this.#places.keys()],
      names: [...this.#names.keys()],
      binNs: this.#binNs,
      bins: RESOLUTION,
      start: await packer.exact(start, true),
      length: await packer.exact(length),
      group: await packer.exact(group),
      place: await packer.exact(place),
      value: await packer.exact(value),
      simulated,
      total: this.total,
      until: this.#until,
    };
  }

  /** Sorts what came since the last time and takes it into totals, bins and columns. */
  #pass(): void {
    const columns = this.#open.map((column) => column.slice(0, this.#rows));
    this.#rows = 0;
    sortByStart(columns);
    const [start, length, group, , value] = columns as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    for (let at = 0; at < start.length; at++) {
      this.#count(
        start[at] as number,
        length[at] as number,
        group[at] as number,
        value[at] as number,
      );
    }
    const room = Math.max(0, Math.min(start.length, MOST_SLICES - this.#kept));
    if (room < start.length) this.#until ??= start[room] as number;
    for (const [index, column] of columns.entries()) {
      this.#columns[index]?.push(column.subarray(0, room));
    }
    this.#kept += room;
    this.total += start.length;
  }

  #count(start: number, length: number, index: number, value: number): void {
    const group = this.#groups[index] as Group;
    const totals = this.totals[index] as GroupTotals;
    totals.count++;
    totals.ns += length;
    const { bytes, busy } = group;
    if (bytes !== null) totals.bytes += value;
    const binNs = this.#binNs;
    const end = Math.min(start + length, this.#length);
    const last = Math.min(RESOLUTION - 1, Math.floor(end / binNs));
    const idleUntil = Math.max(start, group.busyUntil);
    for (let bin = Math.max(0, Math.floor(start / binNs)); bin <= last; bin++) {
      const until = Math.min(end, (bin + 1) * binNs);
      const part = until - Math.max(start, bin * binNs);
      if (bytes !== null) {
        // A copy of no length moves its bytes in the bin where it is.
        const share = length > 0 ? Math.max(0, part) / length : 1;
        bytes[bin] = (bytes[bin] as number) + value * share;
        if (length === 0) break;
      }
      const more = until - Math.max(idleUntil, bin * binNs);
      if (more > 0) busy[bin] = (busy[bin] as number) + more;
    }
    group.busyUntil = Math.max(group.busyUntil, end);
  }
}

function numberOf(known: Map<string, number>, text: string): number {
  const number = known.get(text) ?? known.size;
  known.set(text, number);
  return number;
}

/** Brings all columns into the order of the first, unless they are in it. */
function sortByStart(columns: Float64Array[]): void {
  const [start] = columns;
  if (start === undefined) return;
  let sorted = true;
  for (let at = 1; sorted && at < start.length; at++) {
    sorted = (start[at - 1] as number) <= (start[at] as number);
  }
  if (sorted) return;
  const order = Uint32Array.from({ length: start.length }, (_, at) => at);
  order.sort((a, b) => (start[a] as number) - (start[b] as number));
  for (const [index, column] of columns.entries()) {
    columns[index] = Float64Array.from(order, (from) => column[from] as number);
  }
}
