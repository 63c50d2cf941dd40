import { type Data, DataType, type RecordBatch } from '../../arrow.ts';

/** Reads cells of one batch by column name; a column that the table does not have is null in every row. */
export class BatchColumns {
  readonly rows: number;
  readonly #columns = new Map<string, Data>();
  readonly #words = new Map<string, readonly string[]>();

  constructor(batch: RecordBatch) {
    this.rows = batch.numRows;
    for (const [index, field] of batch.schema.fields.entries()) {
      const data = batch.data.children[index];
      if (data !== undefined) this.#columns.set(field.name, data);
    }
  }

  /** A number of any width; null where there is none. */
  number(name: string): (row: number) => number | null {
    const data = this.#columns.get(name);
    if (data === undefined) return () => null;
    const values = data.values as ArrayLike<number | bigint>;
    return (row) => (isValid(data, row) ? Number(values[data.offset + row]) : null);
  }

  /** Times and other 64-bit numbers that a double does not hold. */
  big(name: string): (row: number) => bigint | null {
    const data = this.#columns.get(name);
    if (data === undefined) return () => null;
    const values = data.values as ArrayLike<bigint>;
    return (row) => (isValid(data, row) ? (values[data.offset + row] ?? null) : null);
  }

  flag(name: string): (row: number) => boolean | null {
    const data = this.#columns.get(name);
    if (data === undefined) return () => null;
    const bits = data.values as Uint8Array;
    const at = (row: number): number => data.offset + row;
    return (row) =>
      isValid(data, row) ? (((bits[at(row) >> 3] as number) >> (at(row) & 7)) & 1) === 1 : null;
  }

  /** A text or a word of a dictionary. */
  text(name: string): (row: number) => string | null {
    const data = this.#columns.get(name);
    if (data === undefined) return () => null;
    if (!DataType.isDictionary(data.type)) {
      const { values, valueOffsets } = data as Data & { readonly valueOffsets: Int32Array };
      return (row) => {
        if (!isValid(data, row)) return null;
        const from = valueOffsets[row] as number;
        return Buffer.from((values as Uint8Array).subarray(from, valueOffsets[row + 1])).toString();
      };
    }
    const words = this.#wordsOf(name, data);
    const codes = data.values as Int32Array;
    return (row) =>
      isValid(data, row) ? (words[codes[data.offset + row] as number] ?? null) : null;
  }

  #wordsOf(name: string, data: Data): readonly string[] {
    let words = this.#words.get(name);
    if (words === undefined) {
      words = (data.dictionary?.toJSON() ?? []) as string[];
      this.#words.set(name, words);
    }
    return words;
  }
}

function isValid({ nullCount, nullBitmap, offset }: Data, row: number): boolean {
  if (nullCount === 0) return true;
  return (((nullBitmap[(offset + row) >> 3] ?? 0) >> ((offset + row) & 7)) & 1) === 1;
}
