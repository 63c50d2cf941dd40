import type { StepSeries } from '../../monitor/recording/step-series.ts';
import type { Colours, ReportSeries } from './format.ts';
import type { Packer } from './pack.ts';
import { keyLabel } from './panels.ts';

/**
 * Steps of one series that are kept as they are; of a longer series min, mean and max of as many bins of equal length.
 * 131,072 bins are 27 ms each in an hour: 34 for each pixel of a wide screen.
 */
export const RESOLUTION = 131_072;

/** One number over time, in bounded memory. Steps come in the order of time, ns since the beginning of the piece. */
export class SeriesCollector {
  readonly series: StepSeries;
  /** Over the piece: the mean is over time. */
  least: number = Number.POSITIVE_INFINITY;
  largest: number = Number.NEGATIVE_INFINITY;
  readonly #length: number;
  readonly #binNs: number;
  #times: Float64Array = new Float64Array(1024);
  #values: Float64Array = new Float64Array(1024);
  #count = 0;
  #bins: { min: Float64Array; max: Float64Array; sum: Float64Array; known: Float64Array } | null =
    null;
  #at = 0;
  #value = Number.NaN;
  #area = 0;
  #known = 0;

  constructor(series: StepSeries, length: number) {
    this.series = series;
    this.#length = length;
    this.#binNs = Math.max(1, length / RESOLUTION);
  }

  get moved(): boolean {
    return this.largest > this.least;
  }

  get mean(): number | null {
    return this.#known > 0 ? this.#area / this.#known : null;
  }

  /** Every step is kept. */
  get whole(): boolean {
    return this.#bins === null;
  }

  get binNs(): number {
    return this.#binNs;
  }

  step(at: number, value: number): void {
    this.#close(at);
    this.#at = at;
    this.#value = value;
  }

  /** No more steps come: what the last one says holds to the end of the piece only if it ended there. */
  end(): void {
    this.#close(this.#length);
    this.#at = this.#length;
    this.#value = Number.NaN;
  }

  async pack(packer: Packer, label: string, colours: Colours): Promise<ReportSeries> {
    const { table, column } = this.series;
    const about = {
      label,
      origin: [table.name, column, keyLabel(this.series)].filter((part) => part !== '').join(' '),
      colours,
      simulated: table.simulated,
      binNs: this.#binNs,
    };
    if (this.#bins === null) {
      return {
        ...about,
        times: await packer.exact(this.#times.subarray(0, this.#count), true),
        values: await packer.measured(this.#values.subarray(0, this.#count)),
        min: null,
        max: null,
      };
    }
    const { min, max, sum, known } = this.#bins;
    return {
      ...about,
      times: null,
      values: await packer.measured(sum.map((area, at) => area / (known[at] as number))),
      min: await packer.measured(min.map((value, at) => (known[at] === 0 ? Number.NaN : value))),
      max: await packer.measured(max.map((value, at) => (known[at] === 0 ? Number.NaN : value))),
    };
  }

  /** The step that was open ends at `to`. */
  #close(to: number): void {
    const from = Math.max(0, this.#at);
    const until = Math.min(to, this.#length);
    const value = this.#value;
    if (until <= from) return;
    if (!Number.isNaN(value)) {
      this.least = Math.min(this.least, value);
      this.largest = Math.max(this.largest, value);
      this.#area += value * (until - from);
      this.#known += until - from;
    }
    if (this.#bins !== null) {
      this.#fill(from, until, value);
      return;
    }
    this.#push(from, value);
    if (this.#count >= RESOLUTION) this.#fold();
    else if (until === this.#length) this.#push(until, Number.NaN);
  }

  #push(at: number, value: number): void {
    if (this.#count === this.#times.length) {
      const grow = (from: Float64Array): Float64Array => {
        const larger = new Float64Array(2 * from.length);
        larger.set(from);
        return larger;
      };
      this.#times = grow(this.#times);
      this.#values = grow(this.#values);
    }
    this.#times[this.#count] = at;
    this.#values[this.#count++] = value;
  }

  /** From now on bins. */
  #fold(): void {
    this.#bins = {
      min: new Float64Array(RESOLUTION).fill(Number.POSITIVE_INFINITY),
      max: new Float64Array(RESOLUTION).fill(Number.NEGATIVE_INFINITY),
      sum: new Float64Array(RESOLUTION),
      known: new Float64Array(RESOLUTION),
    };
    const open = this.#at;
    for (let at = 0; at < this.#count; at++) {
      const from = this.#times[at] as number;
      // The last one is the step that is being closed: fill() below takes it to its end.
      const to = at + 1 < this.#count ? (this.#times[at + 1] as number) : open;
      this.#fill(from, to, this.#values[at] as number);
    }
    this.#times = new Float64Array(0);
    this.#values = new Float64Array(0);
  }

  #fill(from: number, to: number, value: number): void {
    if (Number.isNaN(value) || this.#bins === null) return;
    const { min, max, sum, known } = this.#bins;
    const binNs = this.#binNs;
    const last = Math.min(RESOLUTION - 1, Math.floor(to / binNs));
    for (let bin = Math.floor(from / binNs); bin <= last; bin++) {
      const part = Math.min(to, (bin + 1) * binNs) - Math.max(from, bin * binNs);
      if (part <= 0) continue;
      if (value < (min[bin] as number)) min[bin] = value;
      if (value > (max[bin] as number)) max[bin] = value;
      sum[bin] = (sum[bin] as number) + value * part;
      known[bin] = (known[bin] as number) + part;
    }
  }
}
