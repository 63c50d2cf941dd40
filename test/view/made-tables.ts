import {
  Bool,
  type DataType,
  Dictionary,
  Field,
  Float64,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimestampNanosecond,
  Uint32,
  Uint64,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'warpgauge/arrow';
import type { TableInfo } from '#lib/monitor/types';

/** A column whose cells follow from the number of the row; null cells are null. Times are ns after {@link START}. */
export interface MadeColumn {
  readonly name: string;
  readonly type: 'time' | 'u64' | 'u32' | 'f64' | 'bool' | 'word';
  readonly kind?: 'key' | 'gauge' | 'counter' | 'state';
  readonly unit?: string;
  /** Column with the length of the window that a value was measured over. */
  readonly window?: string;
  /** Of a word: what the numbers of `value` mean. */
  readonly words?: readonly string[];
  readonly value: (n: number) => number | null;
}

export interface MadeTable {
  readonly info: TableInfo;
  readonly rows: number;
  readonly columns: readonly MadeColumn[];
}

/** A second that is easy to tell. */
export const START = 1_790_000_000_000_000_000n;

function typeOf({ type }: MadeColumn, index: number): DataType {
  if (type === 'time') return new TimestampNanosecond('UTC');
  if (type === 'u64') return new Uint64();
  if (type === 'u32') return new Uint32();
  if (type === 'f64') return new Float64();
  return type === 'bool' ? new Bool() : new Dictionary(new Utf8(), new Int32(), index);
}

/** A table of a simulated source. */
export function madeTable(
  name: string,
  kind: 'sample' | 'event' | 'span',
  rows: number,
  columns: readonly MadeColumn[],
  intervalMs: number | null = null,
): MadeTable {
  const fields = columns.map((column, index) => {
    const { unit = '', kind: what = '', window = '' } = column;
    const meaning = { unit, kind: what, window, source: 'Simulated' };
    return new Field(
      column.name,
      typeOf(column, index),
      column.name !== 'time',
      new Map(Object.entries(meaning).filter(([, text]) => text !== '')),
    );
  });
  const keys = columns.filter((one) => one.kind === 'key' && one.name !== 'time');
  return {
    rows,
    columns,
    info: {
      name,
      source: name.split('.')[0] as string,
      kind,
      grain: 'one row each',
      keys: kind === 'sample' ? keys.map((one) => one.name) : [],
      intervalMs,
      schema: new Schema(fields),
      simulated: true,
    },
  };
}

const [startLow, startHigh] = [Number(START & 0xffffffffn), Number(START >> 32n)];

function cells({ type, value }: MadeColumn, from: number, rows: number) {
  const bitmap = new Uint8Array(Math.ceil(rows / 8));
  let nulls = 0;
  const wide = type === 'time' || type === 'u64';
  const floats = new Float64Array(type === 'f64' ? rows : 0);
  const words = new Uint32Array(wide ? 2 * rows : type === 'f64' || type === 'bool' ? 0 : rows);
  const bits = new Uint8Array(type === 'bool' ? bitmap.length : 0);
  for (let at = 0; at < rows; at++) {
    const cell = value(from + at);
    if (cell === null) {
      nulls++;
      continue;
    }
    bitmap[at >> 3] = (bitmap[at >> 3] as number) | (1 << (at & 7));
    if (type === 'f64') floats[at] = cell;
    else if (type === 'bool') bits[at >> 3] = (bits[at >> 3] as number) | (cell << (at & 7));
    else if (!wide) words[at] = cell;
    else {
      const low = cell - Math.floor(cell / 2 ** 32) * 2 ** 32 + (type === 'time' ? startLow : 0);
      const high = Math.floor(cell / 2 ** 32) + (type === 'time' ? startHigh : 0);
      words[2 * at] = low % 2 ** 32;
      words[2 * at + 1] = high + Math.floor(low / 2 ** 32);
    }
  }
  const data =
    type === 'time'
      ? new BigInt64Array(words.buffer)
      : type === 'u64'
        ? new BigUint64Array(words.buffer)
        : type === 'f64'
          ? floats
          : type === 'bool'
            ? bits
            : type === 'word'
              ? new Int32Array(words.buffer)
              : words;
  return { data, nullCount: nulls, ...(nulls > 0 ? { nullBitmap: bitmap } : {}) };
}

/** Rows `from` to `from + rows`. */
export function madeBatch({ info, columns }: MadeTable, from: number, rows: number): RecordBatch {
  const schema = info.schema as Schema;
  const children = columns.map((column, index) =>
    makeData({
      type: schema.fields[index]?.type,
      length: rows,
      ...cells(column, from, rows),
      ...(column.type === 'word' ? { dictionary: dictionaryOf(column) } : {}),
    } as never),
  );
  const data = makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children });
  return new RecordBatch(schema, data);
}

const dictionaries = new WeakMap<MadeColumn, Vector<Utf8>>();
function dictionaryOf(column: MadeColumn) {
  const made = dictionaries.get(column) ?? vectorFromArray([...(column.words ?? [])], new Utf8());
  dictionaries.set(column, made);
  return made;
}

/** All batches of some tables, of at most `size` rows. */
export function* madeBatches(tables: readonly MadeTable[], size = 65_536) {
  for (const table of tables) {
    for (let from = 0; from < table.rows; from += size) {
      const rows = Math.min(size, table.rows - from);
      yield { table: table.info.name, batch: madeBatch(table, from, rows) };
    }
  }
}
