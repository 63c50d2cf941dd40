import { type Binding, loadBinding, type NativeBatch, type NativeTable } from '../addon.ts';
import type { Data, DataType, RecordBatch, Struct, Utf8, Vector } from '../arrow.ts';
import {
  type ArrowLibrary,
  type Column,
  makeBatch,
  NO_BITS,
  tableSchema,
  wordsVector,
} from './columns.ts';
import type { Row, TableInfo } from './types.ts';

type Cells = BigInt64Array | BigUint64Array | Float64Array | Uint32Array | Int32Array | Uint8Array;

const NO_CHILDREN: Data[] = [];

/** A view of the values of one column in a slab, without copying. */
function cellsOf(column: Column, buffer: ArrayBuffer, offset: number, rows: number): Cells {
  switch (column.type) {
    case 'time':
    case 'i64':
      return new BigInt64Array(buffer, offset, rows);
    case 'u64':
      return new BigUint64Array(buffer, offset, rows);
    case 'f64':
      return new Float64Array(buffer, offset, rows);
    case 'u32':
    case 'nameId':
      return new Uint32Array(buffer, offset, rows);
    case 'i32':
    case 'name':
      return new Int32Array(buffer, offset, rows);
    case 'u8':
      return new Uint8Array(buffer, offset, rows);
    default:
      return new Uint8Array(buffer, offset, (rows + 7) >> 3); // bits
  }
}

const slabs = new WeakMap<RecordBatch, ArrayBuffer>();

/**
 * Gives the memory of a batch of native code back to its sampler at once, for whoever knows that nobody reads it any more:
 * it is empty from then on. Batches of other origin stay as they are.
 */
export function giveBack(batch: RecordBatch): void {
  const buffer = slabs.get(batch);
  if (buffer !== undefined) loadBinding().detachBuffer(buffer);
}

/** One table of native code: turns its slabs into record batches and rows. */
export class NativeTableReader {
  readonly info: TableInfo;
  readonly native: NativeTable;
  readonly #arrow: ArrowLibrary;
  readonly #binding: Binding;
  readonly #id: number;
  readonly #index: number;
  readonly #rowType: Struct;
  readonly #layouts = new Map<number, readonly number[]>();
  /** By column; empty for columns without names. All id columns share the list of the first. */
  readonly #words: string[][];
  readonly #dictionaries = new Map<
    number,
    { readonly size: number; readonly words: Vector<Utf8> }
  >();
  readonly #idColumn: number;
  #idsTold = 0;

  constructor(
    arrow: ArrowLibrary,
    binding: Binding,
    id: number,
    index: number,
    native: NativeTable,
  ) {
    this.#arrow = arrow;
    this.#binding = binding;
    this.#id = id;
    this.#index = index;
    this.native = native;
    const { name, source, kind, grain, columns, simulated } = native;
    const keys = columns.slice(1).filter((column) => column.kind === 'key');
    const schema = tableSchema(arrow, columns, {
      kind,
      grain,
      keys: JSON.stringify(keys.map((column) => column.name)),
      ...(simulated ? { simulated: 'Simulated' } : {}),
    });
    this.info = {
      name,
      source,
      kind,
      grain,
      keys: keys.map((column) => column.name),
      intervalMs: kind === 'sample' ? native.intervalNs / 1e6 : null,
      schema,
      simulated,
    };
    this.#rowType = new arrow.Struct(schema.fields);
    this.#words = columns.map(() => []);
    this.#idColumn = columns.findIndex((column) => column.type === 'nameId');
  }

  batch(given: NativeBatch): RecordBatch {
    const { rows, buffer } = given;
    const layout = this.#layout(given.capacity);
    const { fields } = this.info.schema;
    // Arrow's Data takes its buffers out of the list, so one list serves all columns of a wide table: less garbage brought the
    // event loop of `npm run bench -- sampler` from 1.05 to 0.85 %.
    const buffers: [undefined, Cells | undefined, Uint8Array] = [undefined, undefined, NO_BITS];
    const children = this.native.columns.map((column, index) => {
      const type = fields[index]?.type as DataType;
      const validity = layout[2 * index + 1] as number;
      buffers[1] = cellsOf(column, buffer, layout[2 * index] as number, rows);
      buffers[2] = validity < 0 ? NO_BITS : new Uint8Array(buffer, validity, (rows + 7) >> 3);
      const dictionary = column.type === 'name' ? this.#dictionary(index) : undefined;
      // Nulls are counted when somebody asks (-1).
      const nulls = validity < 0 ? 0 : -1;
      // Its types take the buffers of one concrete type; here they are those of `type`.
      const list = buffers as unknown as Data['buffers'];
      return new this.#arrow.Data(type, 0, rows, nulls, list, NO_CHILDREN, dictionary);
    });
    const batch = makeBatch(this.#arrow, this.info.schema, this.#rowType, rows, children);
    slabs.set(batch, buffer);
    return batch;
  }

  /** The rows of a slab as plain values. */
  rows(given: NativeBatch): Row[] {
    const { rows, buffer } = given;
    const layout = this.#layout(given.capacity);
    const list: Record<string, Row[string]>[] = Array.from({ length: rows }, () => ({}));
    for (const [index, column] of this.native.columns.entries()) {
      const cells = cellsOf(column, buffer, layout[2 * index] as number, rows);
      const validity = layout[2 * index + 1] as number;
      const bits = validity < 0 ? null : new Uint8Array(buffer, validity, (rows + 7) >> 3);
      const isNamed = column.type === 'name' || column.type === 'nameId';
      const words = isNamed ? this.words(column.type === 'nameId' ? this.#idColumn : index) : [];
      for (const [at, row] of list.entries()) {
        const isNull = bits !== null && (((bits[at >> 3] as number) >> (at & 7)) & 1) === 0;
        if (isNull) row[column.name] = null;
        else if (isNamed) row[column.name] = words[Number(cells[at])] ?? null;
        else if (column.type === 'bool')
          row[column.name] = ((Number(cells[at >> 3]) >> (at & 7)) & 1) === 1;
        else row[column.name] = cells[at] as bigint | number;
      }
    }
    return list;
  }

  /** The names of a column so far, by code. */
  words(column: number): readonly string[] {
    const words = this.#words[column] as string[];
    for (const word of this.#binding.samplerNames(this.#id, this.#index, column, words.length)) {
      words.push(word);
    }
    return words;
  }

  /** Cumulative counts by the names of the first key column: what `latest()` says of an event table. */
  eventCounts(): Row[] {
    const column = this.native.columns.findIndex(
      ({ kind, type }) => kind === 'key' && type === 'name',
    );
    if (column < 0) return [];
    const words = this.words(column);
    const name = this.native.columns[column]?.name as string;
    const counts = this.#binding.samplerEventCounts(this.#id, this.#index, words.length);
    return words.map((word, code) => ({ [name]: word, count: counts[code] ?? 0n }));
  }

  /** Ids and names that were not told yet. */
  newNames(): { readonly id: number; readonly name: string }[] {
    if (this.#idColumn < 0) return [];
    const from = this.#idsTold;
    const words = this.words(this.#idColumn);
    this.#idsTold = words.length;
    return words.slice(from).map((name, at) => ({ id: from + at, name }));
  }

  #layout(capacity: number): readonly number[] {
    let layout = this.#layouts.get(capacity);
    if (layout === undefined) {
      layout = this.#binding.samplerLayout(this.#id, this.#index, capacity);
      this.#layouts.set(capacity, layout);
    }
    return layout;
  }

  /** The same object until new names came, then a whole new one. */
  #dictionary(column: number): Vector<Utf8> {
    const words = this.words(column);
    const known = this.#dictionaries.get(column);
    if (known !== undefined && known.size === words.length) return known.words;
    const made = { size: words.length, words: wordsVector(this.#arrow, words) };
    this.#dictionaries.set(column, made);
    return made.words;
  }
}
