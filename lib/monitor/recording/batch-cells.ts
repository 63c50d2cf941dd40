import { DataType, type RecordBatch, type Vector } from '../../arrow.ts';
import { type NumberReader, numberReader, validReader } from './cell-numbers.ts';
import type { OpenRecording, RecordedTable } from './open-recording.ts';

/** Reads a cell as text; null where it is null or the column does not exist. */
export type TextReader = (at: number) => string | null;

const decoder = new TextDecoder();
const decoded = new WeakMap<Vector, readonly string[]>();

function wordsOf(dictionary: Vector | undefined): readonly string[] {
  if (dictionary === undefined) return [];
  let words = decoded.get(dictionary);
  if (words === undefined) {
    words = Array.from({ length: dictionary.length }, (_, at) => String(dictionary.get(at)));
    decoded.set(dictionary, words);
  }
  return words;
}

/** The columns of one batch by name, for code that reads tables whose columns it knows. */
export class BatchCells {
  readonly rows: number;
  readonly #batch: RecordBatch;
  readonly #names: ReadonlyMap<number, string>;

  /** `names`: what the ids of columns mean that have no dictionary. */
  constructor(batch: RecordBatch, names: ReadonlyMap<number, string> = new Map()) {
    this.rows = batch.numRows;
    this.#batch = batch;
    this.#names = names;
  }

  /** Numbers, 64-bit ones relative to `base`; NaN where there is none. */
  number(column: string, base = 0n): NumberReader {
    const data = this.#data(column);
    return data === undefined ? () => Number.NaN : numberReader(data, base);
  }

  /** Words of a dictionary, text, names of ids, or the digits of a number. */
  text(column: string): TextReader {
    const data = this.#data(column);
    if (data === undefined) return () => null;
    const valid = validReader(data);
    const { type, values } = data;
    if (DataType.isDictionary(type)) {
      const words = wordsOf(data.dictionary);
      return (at) => (valid(at) ? (words[(values as Int32Array)[at] as number] ?? null) : null);
    }
    if (DataType.isUtf8(type)) {
      const offsets = data.valueOffsets as Int32Array;
      return (at) =>
        valid(at)
          ? decoder.decode((values as Uint8Array).subarray(offsets[at], offsets[at + 1]))
          : null;
    }
    return (at) => (valid(at) ? String((values as ArrayLike<unknown>)[at]) : null);
  }

  /** Names behind the ids of a column; an id without a name is shown as `#7`. */
  name(column: string): TextReader {
    const data = this.#data(column);
    if (data === undefined) return () => null;
    if (!DataType.isInt(data.type)) return this.text(column);
    const read = numberReader(data);
    return (at) => {
      const id = read(at);
      return Number.isNaN(id) ? null : (this.#names.get(id) ?? `#${id}`);
    };
  }

  #data(column: string) {
    const index = this.#batch.schema.fields.findIndex(({ name }) => name === column);
    return index < 0 ? undefined : this.#batch.data.children[index];
  }
}

/** Names of the ids in a table: out of `<table>.name`, or of the one names table that its source has. */
export async function namesOf(
  recording: OpenRecording,
  table: RecordedTable,
): Promise<ReadonlyMap<number, string>> {
  const names = new Map<number, string>();
  const [instance = ''] = table.name.split('.');
  const own = [`${table.name}.name`, `${instance}.name`].find((name) =>
    recording.tables.some((one) => one.name === name),
  );
  if (own === undefined) return names;
  for await (const batch of recording.batches(own)) {
    const cells = new BatchCells(batch);
    const [id, name] = [cells.number('id'), cells.text('name')];
    for (let at = 0; at < cells.rows; at++) {
      const text = name(at);
      if (text !== null) names.set(id(at), text);
    }
  }
  return names;
}
