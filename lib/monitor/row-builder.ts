import type { Data, DataType, RecordBatch, Schema, Struct, Utf8, Vector } from '../arrow.ts';
import { invalidArgument } from '../errors.ts';
import { type ArrowLibrary, type Column, makeBatch, wordsVector } from './columns.ts';
import type { Row } from './types.ts';

type Cell = bigint | number | string | boolean | null | undefined;
type Numbers =
  | BigInt64Array
  | BigUint64Array
  | Float64Array
  | Uint32Array
  | Int32Array
  | Uint8Array;

function makeNumbers(type: Column['type'], rows: number): Numbers {
  switch (type) {
    case 'time':
    case 'i64':
      return new BigInt64Array(rows);
    case 'u64':
      return new BigUint64Array(rows);
    case 'f64':
      return new Float64Array(rows);
    case 'u32':
    case 'nameId':
      return new Uint32Array(rows);
    case 'i32':
    case 'name':
      return new Int32Array(rows);
    default:
      return new Uint8Array(rows); // u8, and one byte per flag until the batch is made
  }
}

function grow(old: Numbers, to: number): Numbers {
  const made = new (old.constructor as new (length: number) => Numbers)(to);
  (made as Uint8Array).set(old as Uint8Array);
  return made;
}

function toBits(flags: Uint8Array, rows: number): Uint8Array {
  const bits = new Uint8Array((rows + 7) >> 3);
  for (let at = 0; at < rows; at++) {
    if (flags[at] !== 0) bits[at >> 3] = (bits[at >> 3] as number) | (1 << (at & 7));
  }
  return bits;
}

const RANGES: Readonly<Record<string, readonly [bigint, bigint]>> = {
  time: [-(2n ** 63n), 2n ** 63n - 1n],
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
  u64: [0n, 2n ** 64n - 1n],
  u32: [0n, 2n ** 32n - 1n],
  nameId: [0n, 2n ** 32n - 1n],
  i32: [-(2n ** 31n), 2n ** 31n - 1n],
  u8: [0n, 255n],
};

/** The cells of one column until the next batch is made. */
class ColumnBuilder {
  readonly column: Column;
  readonly #label: string;
  #numbers: Numbers;
  #texts: string[] = [];
  #valid: Uint8Array;
  readonly #words: string[] = [];
  readonly #codes = new Map<string, number>();
  #dictionary: Vector<Utf8> | null = null;

  constructor(table: string, column: Column, rows: number) {
    this.column = column;
    this.#label = `${table}.${column.name}`;
    this.#numbers = makeNumbers(column.type, rows);
    this.#valid = new Uint8Array(rows);
  }

  reserve(rows: number): void {
    if (rows <= this.#valid.length) return;
    this.#numbers = grow(this.#numbers, rows);
    this.#valid = grow(this.#valid, rows) as Uint8Array;
  }

  /** Throws before anything is stored. */
  set(at: number, value: Cell): void {
    if (value === null || value === undefined) {
      if (!this.column.nullable) throw invalidArgument(this.#label, 'a value', value);
      this.#valid[at] = 0;
      this.#texts[at] = '';
      return;
    }
    this.#store(at, value);
    this.#valid[at] = 1;
  }

  /** Whole columns of the right element type are copied in one piece. */
  setAll(from: number, values: ArrayLike<Cell>): void {
    const type = this.column.type;
    if (
      type !== 'bool' &&
      type !== 'name' &&
      type !== 'text' &&
      values.constructor === this.#numbers.constructor
    ) {
      (this.#numbers as Uint8Array).set(values as unknown as Uint8Array, from);
      this.#valid.fill(1, from, from + values.length);
      return;
    }
    for (let at = 0; at < values.length; at++) this.set(from + at, values[at]);
  }

  get(at: number): Row[string] {
    if (this.#valid[at] === 0) return null;
    if (this.column.type === 'text') return this.#texts[at] ?? null;
    const value = this.#numbers[at] as bigint | number;
    if (this.column.type === 'name') return this.#words[Number(value)] ?? null;
    return this.column.type === 'bool' ? value === 1 : value;
  }

  /** The first `rows` cells as Arrow data of their own; the builder is empty afterwards. */
  take(arrow: ArrowLibrary, type: DataType, rows: number): Data {
    const nulls = this.column.nullable
      ? { nullCount: -1, nullBitmap: toBits(this.#valid, rows) }
      : { nullCount: 0 };
    const plain = { type, length: rows, ...nulls };
    const cells = this.#numbers.slice(0, rows);
    this.#valid.fill(0);
    switch (this.column.type) {
      case 'bool':
        return arrow.makeData({ ...plain, data: toBits(cells as Uint8Array, rows) } as never);
      case 'name':
        this.#dictionary ??= wordsVector(arrow, this.#words);
        return arrow.makeData({ ...plain, data: cells, dictionary: this.#dictionary } as never);
      case 'text': {
        const [words] = wordsVector(arrow, this.#texts.slice(0, rows)).data;
        this.#texts = [];
        const { valueOffsets, values } = words as Data<Utf8>;
        return arrow.makeData({ ...plain, valueOffsets, data: values } as never);
      }
      default:
        return arrow.makeData({ ...plain, data: cells } as never);
    }
  }

  #store(at: number, value: bigint | number | string | boolean): void {
    const { type } = this.column;
    if (type === 'text' || type === 'name') {
      if (typeof value !== 'string') throw invalidArgument(this.#label, 'a text', value);
      if (type === 'text') this.#texts[at] = value;
      else this.#numbers[at] = this.#code(value);
      return;
    }
    if (type === 'bool') {
      if (typeof value !== 'boolean') throw invalidArgument(this.#label, 'true or false', value);
      this.#numbers[at] = value ? 1 : 0;
      return;
    }
    if (type === 'f64') {
      if (typeof value !== 'number') throw invalidArgument(this.#label, 'a number', value);
      this.#numbers[at] = value;
      return;
    }
    const [least, most] = RANGES[type] as readonly [bigint, bigint];
    const isWhole = typeof value === 'bigint' || Number.isSafeInteger(value);
    const whole = isWhole ? BigInt(value as bigint | number) : null;
    if (whole === null || whole < least || whole > most) {
      throw invalidArgument(this.#label, `a whole number of ${least} to ${most}`, value);
    }
    const isBig = type === 'time' || type === 'i64' || type === 'u64';
    (this.#numbers as Uint32Array)[at] = (isBig ? whole : Number(whole)) as number;
  }

  #code(word: string): number {
    let code = this.#codes.get(word);
    if (code === undefined) {
      code = this.#words.length;
      this.#words.push(word);
      this.#codes.set(word, code);
      this.#dictionary = null;
    }
    return code;
  }
}

/** Rows that JavaScript appends, column by column, until a batch is made of them. */
export class RowBuilder {
  readonly #arrow: ArrowLibrary;
  readonly #schema: Schema;
  readonly #rowType: Struct;
  readonly #types: readonly DataType[];
  readonly #columns: readonly ColumnBuilder[];
  readonly #names: ReadonlySet<string>;
  readonly #table: string;
  #capacity = 64;
  #rows = 0;

  constructor(arrow: ArrowLibrary, table: string, columns: readonly Column[], schema: Schema) {
    this.#arrow = arrow;
    this.#table = table;
    this.#schema = schema;
    this.#rowType = new arrow.Struct(schema.fields);
    this.#types = schema.fields.map((field) => field.type);
    this.#columns = columns.map((column) => new ColumnBuilder(table, column, this.#capacity));
    this.#names = new Set(columns.map((column) => column.name));
  }

  get rows(): number {
    return this.#rows;
  }

  /** A row with a wrong value is not appended at all. */
  append(row: Readonly<Record<string, Cell>>): void {
    this.#checkNames(row);
    this.#reserve(this.#rows + 1);
    for (const column of this.#columns) column.set(this.#rows, row[column.column.name]);
    this.#rows++;
  }

  appendColumns(columns: Readonly<Record<string, ArrayLike<Cell>>>, rows: number): void {
    this.#checkNames(columns);
    for (const [name, values] of Object.entries(columns)) {
      if (values.length !== rows) {
        throw invalidArgument(`${this.#table}.${name}`, `${rows} values`, values.length);
      }
    }
    this.#reserve(this.#rows + rows);
    for (const column of this.#columns) {
      const values = columns[column.column.name];
      if (values !== undefined) column.setAll(this.#rows, values);
      else for (let at = 0; at < rows; at++) column.set(this.#rows + at, null);
    }
    this.#rows += rows;
  }

  row(at: number): Row {
    return Object.fromEntries(this.#columns.map((each) => [each.column.name, each.get(at)]));
  }

  /** All rows as a batch; null when there are none. */
  take(): RecordBatch | null {
    const length = this.#rows;
    if (length === 0) return null;
    const children = this.#columns.map((column, index) =>
      column.take(this.#arrow, this.#types[index] as DataType, length),
    );
    this.#rows = 0;
    return makeBatch(this.#arrow, this.#schema, this.#rowType, length, children);
  }

  #checkNames(given: Readonly<Record<string, unknown>>): void {
    for (const name of Object.keys(given)) {
      if (!this.#names.has(name)) {
        throw invalidArgument(`a column of ${this.#table}`, [...this.#names].join(', '), name);
      }
    }
  }

  #reserve(rows: number): void {
    if (rows <= this.#capacity) return;
    while (this.#capacity < rows) this.#capacity *= 2;
    for (const column of this.#columns) column.reserve(this.#capacity);
  }
}
