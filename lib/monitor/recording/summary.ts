import { type Data, DataType, type Field, type RecordBatch } from '../../arrow.ts';
import type { TableKind } from '../types.ts';
import { Distribution } from './distribution.ts';
import type { RecordingEnd } from './manifest.ts';
import type { OpenRecording, RecordedTable } from './open-recording.ts';

/** More entities than this in a table (processes, cgroups) are counted, not described. */
const MAX_KEYS = 64;
/** Tables of the recorder itself: their numbers are not measurements. */
const OWN = ['clock', 'state', 'mark', 'action'];

/** Numbers of one column, over the whole recording or over a section of it. */
export interface ColumnSummary {
  readonly column: string;
  /** Value of the key columns; null where the table has none. */
  readonly key: string | null;
  readonly unit: string;
  /** `rate`: of a counter, per second between two rows; `value`: of a gauge. */
  readonly of: 'rate' | 'value';
  /** What a counter gained from the first row to the last; null for gauges. */
  readonly total: number | null;
  readonly min: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
  /** True: more than 4,096 different values, quantiles are within 0.1 %. */
  readonly approximate: boolean;
}

export interface TableSummary {
  readonly name: string;
  readonly kind: TableKind;
  readonly intervalMs: number | null;
  readonly rows: number;
  readonly ticks: number | null;
  readonly missed: number | null;
  readonly dropped: number;
  /** The file ends in the middle of a batch: rows are those before it. */
  readonly torn: boolean;
  readonly simulated: boolean;
  /** Columns whose value changed; the others are left out. */
  readonly moved: readonly ColumnSummary[];
  /** Entities beyond the first 64, which are not described. */
  readonly moreKeys: number;
}

/** What lies between one mark and the next. */
export interface SectionSummary {
  /** Name of the mark that begins it; null: before the first mark. */
  readonly mark: string | null;
  /** ISO 8601; null for what lies before the first mark. */
  readonly from: string | null;
  readonly durationNs: number;
  readonly tables: readonly {
    readonly name: string;
    readonly rows: number;
    readonly moved: readonly ColumnSummary[];
  }[];
}

/** `warpgauge show --json`. */
export interface RecordingSummary {
  readonly schema: 'warpgauge/recording-summary/1';
  readonly dir: string;
  readonly run: string;
  readonly started: string;
  readonly ended: string | null;
  readonly end: RecordingEnd;
  /** A process is still writing it. */
  readonly running: boolean;
  /** From the first row to the last. */
  readonly durationNs: number;
  readonly simulated: boolean;
  readonly command: readonly string[] | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly tables: readonly TableSummary[];
  readonly sections: readonly SectionSummary[];
  /** Why something could not be had: the `state` table. */
  readonly states: readonly {
    readonly table: string;
    readonly key: string;
    readonly field: string;
    readonly state: string;
    readonly reason: string;
    /** errno or nvmlReturn_t; of `too_slow` the shortest interval that can be kept here, ns. 0: none. */
    readonly code: number;
  }[];
}

interface Series {
  readonly column: string;
  readonly key: string | null;
  readonly unit: string;
  readonly counter: boolean;
  last: bigint | number | null;
  lastTime: bigint;
  moved: boolean;
  readonly whole: Distribution;
  total: number;
  readonly sections: (Distribution | undefined)[];
  readonly totals: number[];
}

const isValid = ({ nullCount, nullBitmap, offset }: Data, at: number): boolean =>
  nullCount === 0 || (((nullBitmap[(offset + at) >> 3] ?? 0) >> ((offset + at) & 7)) & 1) === 1;

const wordsOf = new WeakMap<Data, string[]>();

/** Text of a key cell. */
function keyText(data: Data, at: number): string {
  if (!isValid(data, at)) return '-';
  if (!DataType.isDictionary(data.type)) return String((data.values as ArrayLike<unknown>)[at]);
  const [dictionary] = data.dictionary?.data ?? [];
  if (dictionary === undefined) return '-';
  let words = wordsOf.get(dictionary);
  if (words === undefined) {
    words = (data.dictionary?.toJSON() ?? []) as string[];
    wordsOf.set(dictionary, words);
  }
  return words[(data.values as Int32Array)[at] ?? 0] ?? '-';
}

function isMeasured(field: Field, keys: readonly string[]): boolean {
  const kind = field.metadata.get('kind');
  if (field.name === 'time' || keys.includes(field.name)) return false;
  if (kind === 'key' || kind === 'state') return false;
  return DataType.isInt(field.type) || DataType.isFloat(field.type);
}

/** Rows of one table, taken one after the other. */
class TableReader {
  readonly #table: RecordedTable;
  readonly #bounds: readonly bigint[];
  readonly #measured: readonly number[];
  readonly #keys: readonly number[];
  readonly #series = new Map<string, Series[]>();
  readonly rows: number[];
  readonly moreKeys = new Set<string>();
  firstTime: bigint | null = null;
  lastTime: bigint | null = null;

  constructor(table: RecordedTable, bounds: readonly bigint[]) {
    const { fields } = table.schema;
    this.#table = table;
    this.#bounds = bounds;
    this.rows = new Array<number>(bounds.length + 1).fill(0);
    const indices = fields.map((_, index) => index);
    this.#measured = OWN.includes(table.name)
      ? []
      : indices.filter((index) => isMeasured(fields[index] as Field, table.keys));
    this.#keys = indices.filter((index) => table.keys.includes(fields[index]?.name ?? ''));
  }

  read(batch: RecordBatch): void {
    const columns = batch.data.children;
    const times = columns[0]?.values as BigInt64Array;
    for (let at = 0; at < batch.numRows; at++) {
      const time = times[at] as bigint;
      if (this.firstTime === null || time < this.firstTime) this.firstTime = time;
      if (this.lastTime === null || time > this.lastTime) this.lastTime = time;
      const section = this.#sectionOf(time);
      this.rows[section] = (this.rows[section] ?? 0) + 1;
      if (this.#measured.length === 0) continue;
      const series = this.#seriesOf(columns, at);
      if (series === null) continue;
      for (const [position, index] of this.#measured.entries()) {
        const data = columns[index] as Data;
        if (!isValid(data, at)) continue;
        const value = (data.values as ArrayLike<bigint | number>)[at] as bigint | number;
        addTo(series[position] as Series, value, time, section);
      }
    }
  }

  /** Number of bounds that are not after `time`. Marks are few. */
  #sectionOf(time: bigint): number {
    let section = 0;
    while (section < this.#bounds.length && (this.#bounds[section] as bigint) <= time) section++;
    return section;
  }

  #seriesOf(columns: readonly Data[], at: number): Series[] | null {
    const key = this.#keys.map((index) => keyText(columns[index] as Data, at)).join(' ');
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= MAX_KEYS) {
      this.moreKeys.add(key);
      return null;
    }
    const { fields } = this.#table.schema;
    const made = this.#measured.map((index): Series => {
      const { name, metadata } = fields[index] as Field;
      return {
        column: name,
        key: this.#keys.length === 0 ? null : key,
        unit: metadata.get('unit') ?? '1',
        counter: metadata.get('kind') === 'counter',
        last: null,
        lastTime: 0n,
        moved: false,
        whole: new Distribution(),
        total: 0,
        sections: [],
        totals: [],
      };
    });
    this.#series.set(key, made);
    return made;
  }

  /** Columns that moved, over the whole table, or within one section. */
  moved(section: number | null): ColumnSummary[] {
    return [...this.#series.values()].flat().flatMap((series) => {
      if (!series.moved) return [];
      const values = section === null ? series.whole : series.sections[section];
      if (values === undefined || values.count === 0) return [];
      const total = section === null ? series.total : (series.totals[section] ?? 0);
      const { column, key, unit, counter } = series;
      return [
        {
          column,
          key,
          unit,
          of: counter ? ('rate' as const) : ('value' as const),
          total: counter ? total : null,
          min: values.min,
          median: values.quantile(0.5) as number,
          p99: values.quantile(0.99) as number,
          max: values.max,
          approximate: values.approximate,
        },
      ];
    });
  }
}

function addTo(series: Series, value: bigint | number, time: bigint, section: number): void {
  const { last, lastTime } = series;
  series.last = value;
  series.lastTime = time;
  if (last !== null && last !== value) series.moved = true;
  let number = Number(value);
  if (series.counter) {
    if (last === null) return;
    // Integers exactly: two counters near 2^63 may be a few apart. Energy is a counter of joules, with decimals.
    const gained =
      typeof value === 'bigint' && typeof last === 'bigint'
        ? Number(value - last)
        : Number(value) - Number(last);
    const elapsed = Number(time - lastTime);
    // A counter that went back was reset (a device came anew): nothing is known of what lies between.
    if (gained < 0 || elapsed <= 0) return;
    series.total += gained;
    series.totals[section] = (series.totals[section] ?? 0) + gained;
    number = (gained * 1e9) / elapsed;
  }
  if (Number.isNaN(number)) return;
  series.whole.add(number);
  const part = series.sections[section] ?? new Distribution();
  series.sections[section] = part;
  part.add(number);
}

/** ISO 8601 with nanoseconds. */
export function isoTime(time: bigint): string {
  const ns = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = new Date(Number((time - ns) / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(ns).padStart(9, '0')}Z`;
}

async function statesOf(recording: OpenRecording): Promise<RecordingSummary['states']> {
  if (!recording.tables.some(({ name }) => name === 'state')) return [];
  const table = await recording.table('state');
  const text = (row: number, name: string): string => String(table.getChild(name)?.get(row) ?? '');
  return Array.from({ length: table.numRows }, (_, row) => ({
    table: text(row, 'table') || text(row, 'source'),
    key: text(row, 'key'),
    field: text(row, 'field'),
    state: text(row, 'state'),
    reason: text(row, 'reason'),
    code: Number(table.getChild('code')?.get(row) ?? 0),
  }));
}

/**
 * Rows, losses and what moved in each table of a recording, and the same between one mark and the next. Reads the tables
 * batch by batch: memory does not depend on their size.
 */
export async function summarize(recording: OpenRecording): Promise<RecordingSummary> {
  const { dir, manifest, running } = recording;
  const marks = await recording.marks();
  const bounds = marks.map(({ time }) => time);
  const readers = new Map<string, TableReader>();
  for (const table of recording.tables) {
    const reader = new TableReader(table, bounds);
    for await (const batch of recording.batches(table.name)) reader.read(batch);
    readers.set(table.name, reader);
  }
  const measured = recording.tables.filter(({ name }) => !OWN.includes(name));
  const of = (name: string): TableReader => readers.get(name) as TableReader;
  const times = measured.flatMap(({ name }) => {
    const { firstTime, lastTime } = of(name);
    return firstTime === null || lastTime === null ? [] : [firstTime, lastTime];
  });
  const first = times.reduce<bigint | null>((low, t) => (low === null || t < low ? t : low), null);
  const last = times.reduce<bigint | null>(
    (high, t) => (high === null || t > high ? t : high),
    null,
  );
  const sections = [null, ...marks].map((mark, index): SectionSummary => {
    const from = mark?.time ?? first ?? 0n;
    const to = marks[index]?.time ?? last ?? from;
    return {
      mark: mark?.name ?? null,
      from: mark === null ? null : isoTime(mark.time),
      durationNs: Math.max(0, Number(to - from)),
      tables: measured.map(({ name }) => ({
        name,
        rows: of(name).rows[index] ?? 0,
        moved: of(name).moved(index),
      })),
    };
  });
  return {
    schema: 'warpgauge/recording-summary/1',
    dir,
    run: manifest.run,
    started: manifest.started,
    ended: manifest.ended,
    end: manifest.end,
    running,
    durationNs: first === null || last === null ? 0 : Number(last - first),
    simulated: manifest.simulated,
    command: manifest.command,
    error: manifest.error,
    tables: recording.tables.map((table) => ({
      name: table.name,
      kind: table.kind,
      intervalMs: table.intervalMs,
      rows: table.rows,
      ticks: table.ticks,
      missed: table.missed,
      dropped: table.dropped,
      torn: table.torn && !running,
      simulated: table.simulated,
      moved: of(table.name).moved(null),
      moreKeys: of(table.name).moreKeys.size,
    })),
    sections: marks.length === 0 ? [] : sections,
    states: await statesOf(recording),
  };
}
