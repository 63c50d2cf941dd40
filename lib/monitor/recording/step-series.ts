import { type Data, DataType, type Field, type RecordBatch } from '../../arrow.ts';
import {
  type Halves,
  halvesReader,
  type NumberReader,
  numberReader,
  validReader,
} from './cell-numbers.ts';
import type { RecordedTable } from './open-recording.ts';

/** Entities of a table that are followed; more of them (processes, interfaces) are counted. */
const MAX_KEYS = 64;

/** One number over time: `value` holds from `at` to the next step of the series; NaN: nothing is known. */
export type StepSink = (series: StepSeries, at: number, value: number) => void;

/** A column of a table for one value of its keys. */
export interface StepSeries {
  readonly table: RecordedTable;
  readonly column: string;
  /** Text of the key columns, `null` where there are none. */
  readonly key: string | null;
  readonly keys: Readonly<Record<string, string>>;
  /** Unit of the values: of a counter per second. */
  readonly unit: string;
  /**
   * `rate`: of a counter, per second between two rows; `value`: of a gauge, from one row to the next; `window`: of what was
   * measured over a window that ends with its row, which another column tells the length of.
   */
  readonly of: 'rate' | 'value' | 'window';
}

interface Followed {
  readonly series: StepSeries;
  /** Position among the measured columns. */
  readonly position: number;
  /** Of a window: whether values are amounts, whose rate is drawn. */
  readonly amount: boolean;
  lastHigh: number;
  lastLow: number;
  /** -Infinity: no row yet. */
  lastTime: number;
}

/** Windows that follow each other within this share of their length leave no gap: their times are rounded to ns. */
const SAME = 0.01;

interface Cells extends Halves {
  readonly valid: (at: number) => boolean;
  readonly window: NumberReader;
}

const words = new WeakMap<object, readonly string[]>();

/** Text of a key cell; `-` for null. */
export function keyText(data: Data, at: number): string {
  const valid =
    data.nullCount === 0 ||
    (((data.nullBitmap[(data.offset + at) >> 3] ?? 0) >> ((data.offset + at) & 7)) & 1) === 1;
  if (!valid) return '-';
  if (!DataType.isDictionary(data.type)) return String((data.values as ArrayLike<unknown>)[at]);
  const dictionary = data.dictionary?.data[0];
  if (dictionary === undefined) return '-';
  let known = words.get(dictionary);
  if (known === undefined) {
    known = (data.dictionary?.toJSON() ?? []) as string[];
    words.set(dictionary, known);
  }
  return known[(data.values as Int32Array)[at] ?? 0] ?? '-';
}

/** Whether the cells of a column are measurements: numbers that are no key, state or time. */
export function isMeasured(field: Field, keys: readonly string[]): boolean {
  const kind = field.metadata.get('kind');
  if (field.name === 'time' || keys.includes(field.name)) return false;
  if (kind === 'key' || kind === 'state') return false;
  return DataType.isInt(field.type) || DataType.isFloat(field.type);
}

/** Column with the lengths of the windows that a column's values were measured over; -1: it was not. */
function windowOf(field: Field, fields: readonly Field[]): number {
  const name = field.metadata.get('window');
  return name === undefined || !name.endsWith('_ns')
    ? -1
    : fields.findIndex((one) => one.name === name);
}

/**
 * The rows of a `sample` table as steps: a gauge holds from its row to the next one, a counter becomes its rate between two
 * rows and begins at the first of them, a window lies before its row. What a null, a reset counter or the end leaves open is NaN. Times are ns since `start`.
 */
export class StepReader {
  /** Keys beyond the first 64, which are not followed. */
  readonly moreKeys: Set<string> = new Set();
  readonly #table: RecordedTable;
  readonly #start: bigint;
  readonly #sink: StepSink;
  readonly #measured: readonly number[];
  readonly #keys: readonly number[];
  readonly #followed = new Map<string, Followed[]>();

  constructor(
    table: RecordedTable,
    start: bigint,
    wanted: (column: string) => boolean,
    sink: StepSink,
  ) {
    const { fields } = table.schema;
    this.#table = table;
    this.#start = start;
    this.#sink = sink;
    const indices = fields.map((_, index) => index);
    this.#measured = indices.filter((index) => {
      const field = fields[index] as Field;
      return isMeasured(field, table.keys) && wanted(field.name);
    });
    this.#keys = indices.filter((index) => table.keys.includes(fields[index]?.name ?? ''));
  }

  /** Whether any column is wanted at all. */
  get empty(): boolean {
    return this.#measured.length === 0;
  }

  read(batch: RecordBatch): void {
    const columns = batch.data.children;
    const time = numberReader(columns[0] as Data, this.#start);
    const cells = this.#measured.map((index): Cells => {
      const data = columns[index] as Data;
      const window = columns[windowOf(batch.schema.fields[index] as Field, batch.schema.fields)];
      const lasted = window === undefined ? () => Number.NaN : numberReader(window);
      return { ...halvesReader(data), valid: validReader(data), window: lasted };
    });
    for (let at = 0; at < batch.numRows; at++) {
      const now = time(at);
      for (const followed of this.#of(columns, at)) {
        const { valid, high, low, window } = cells[followed.position] as Cells;
        if (followed.series.of === 'rate') {
          if (valid(at)) this.#rate(followed, high(at), low(at), now);
          continue;
        }
        const value = valid(at) ? high(at) * 2 ** 32 + low(at) : Number.NaN;
        if (followed.series.of === 'window') {
          this.#window(followed, value, now, window(at));
        } else {
          followed.lastTime = now;
          this.#sink(followed.series, now, value);
        }
      }
    }
  }

  /** No more rows come. */
  end(): void {
    const intervalNs = (this.#table.intervalMs ?? 0) * 1e6;
    for (const { series, lastTime } of [...this.#followed.values()].flat()) {
      // A rate is known up to the last row; a gauge holds until the next one would have come.
      const until = series.of === 'value' ? lastTime + intervalNs : lastTime;
      if (Number.isFinite(lastTime)) this.#sink(series, until, Number.NaN);
    }
  }

  #window(followed: Followed, value: number, end: number, lasted: number): void {
    const { series, amount, lastTime } = followed;
    if (!(lasted > 0) || end <= lastTime) return;
    let begin = end - lasted;
    // Nothing is known of windows that were lost; of two that overlap the later one begins where the earlier ends.
    if (begin > lastTime + lasted * SAME && Number.isFinite(lastTime))
      this.#sink(series, lastTime, Number.NaN);
    else begin = Math.max(begin, lastTime);
    followed.lastTime = end;
    this.#sink(series, begin, amount ? (value * 1e9) / lasted : value);
  }

  #rate(followed: Followed, high: number, low: number, now: number): void {
    const { lastHigh, lastLow, lastTime } = followed;
    if (now <= lastTime) return;
    followed.lastHigh = high;
    followed.lastLow = low;
    followed.lastTime = now;
    if (!Number.isFinite(lastTime)) return;
    const gained = (high - lastHigh) * 2 ** 32 + (low - lastLow);
    // A counter that went back was reset (a device came anew): nothing is known of what lies between.
    const rate = gained < 0 ? Number.NaN : (gained * 1e9) / (now - lastTime);
    this.#sink(followed.series, lastTime, rate);
  }

  #of(columns: readonly Data[], at: number): readonly Followed[] {
    const [first = -1] = this.#keys;
    const key =
      this.#keys.length === 0
        ? ''
        : this.#keys.length === 1
          ? keyText(columns[first] as Data, at)
          : this.#keys.map((index) => keyText(columns[index] as Data, at)).join(' ');
    const known = this.#followed.get(key);
    if (known !== undefined) return known;
    if (this.#followed.size >= MAX_KEYS) {
      this.moreKeys.add(key);
      return [];
    }
    const { fields } = this.#table.schema;
    const keys = Object.fromEntries(
      this.#keys.map((index) => [fields[index]?.name ?? '', keyText(columns[index] as Data, at)]),
    );
    const made = this.#measured.map((index, position): Followed => {
      const { name, metadata } = fields[index] as Field;
      const counter = metadata.get('kind') === 'counter';
      const unit = metadata.get('unit') ?? '1';
      const windowed = !counter && windowOf(fields[index] as Field, fields) >= 0;
      // A share of a window is a share, watts are watts; bytes of a window are a rate.
      const amount = windowed && ['bytes', 'joules'].includes(unit);
      return {
        series: {
          table: this.#table,
          column: name,
          key: this.#keys.length === 0 ? null : key,
          keys,
          unit: counter || amount ? perSecond(unit) : unit,
          of: counter ? 'rate' : windowed ? 'window' : 'value',
        },
        position,
        amount,
        lastHigh: 0,
        lastLow: 0,
        lastTime: Number.NEGATIVE_INFINITY,
      };
    });
    this.#followed.set(key, made);
    return made;
  }
}

/** Nanoseconds per second are a share of the time. */
function perSecond(unit: string): string {
  if (unit === 'ns') return 'ns/s';
  return unit === '1' || unit === '' ? '1/s' : `${unit}/s`;
}
