import {
  type Data,
  DataType,
  type Field,
  Message,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  type Schema,
  Struct,
  type Vector,
  vectorFromArray,
} from '../arrow.ts';
import { cellKind, wordsOf } from './cells.ts';
import type { OutputFile } from './output-file.ts';
import type { Format, TableWriter } from './types.ts';

const isWords = ({ type }: Field): boolean => DataType.isDictionary(type);

/**
 * One dictionary per column for the whole file: the file format has no place for a second one, while a recording replaces
 * a dictionary whenever a name appears.
 */
class Dictionaries {
  readonly #schema: Schema;
  /** Number of each word, by column. */
  readonly #numbers: readonly Map<string, number>[];
  readonly #seen = new WeakSet<Vector>();
  readonly #renumbered = new WeakMap<Vector, Int32Array>();
  #vectors: readonly (Vector | null)[] = [];

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#numbers = schema.fields.map(() => new Map());
  }

  /** Notes the words of a batch. */
  add(batch: RecordBatch): void {
    for (const [index, data] of batch.data.children.entries()) {
      const { dictionary } = data;
      if (dictionary === undefined || this.#seen.has(dictionary)) continue;
      this.#seen.add(dictionary);
      const numbers = this.#numbers[index] as Map<string, number>;
      for (const word of wordsOf(dictionary)) {
        if (!numbers.has(word)) numbers.set(word, numbers.size);
      }
    }
  }

  /** No more words come. */
  close(): void {
    this.#vectors = this.#schema.fields.map(({ type }, index) =>
      DataType.isDictionary(type)
        ? vectorFromArray(
            [...(this.#numbers[index] as Map<string, number>).keys()],
            type.dictionary,
          )
        : null,
    );
  }

  /** What is written before the first batch. */
  *entries(): Generator<readonly [id: number, words: Data]> {
    for (const [index, { type }] of this.#schema.fields.entries()) {
      const words = this.#vectors[index]?.data[0];
      if (!DataType.isDictionary(type)) continue;
      yield [type.id, words ?? (makeData({ type: type.dictionary }) as Data)];
    }
  }

  /** The batch with the numbers of these dictionaries. */
  apply(batch: RecordBatch): RecordBatch {
    const { fields } = this.#schema;
    if (!fields.some(isWords)) return batch;
    const children = batch.data.children.map((data, index) => this.#column(data, index));
    const type = new Struct(fields);
    const length = batch.numRows;
    return new RecordBatch(this.#schema, makeData({ type, length, nullCount: 0, children }));
  }

  #column(data: Data, index: number): Data {
    const from = data.dictionary;
    const dictionary = this.#vectors[index];
    if (from === undefined || dictionary === undefined || dictionary === null) return data;
    let numbers = this.#renumbered.get(from);
    if (numbers === undefined) {
      const known = this.#numbers[index];
      numbers = Int32Array.from(wordsOf(from), (word) => known?.get(word) ?? 0);
      this.#renumbered.set(from, numbers);
    }
    const before = data.values as Int32Array;
    const values = new (before.constructor as Int32ArrayConstructor)(data.length);
    for (let at = 0; at < data.length; at++) values[at] = numbers[before[at] ?? 0] ?? 0;
    const { type, length, nullCount, offset } = data;
    // The bitmap of a slice begins at its offset; the new numbers begin at 0, so both move there.
    const nullBitmap = nullCount === 0 ? undefined : bitsFrom(data.nullBitmap, offset, length);
    return makeData({ type, length, nullCount, nullBitmap, data: values, dictionary } as never);
  }
}

function bitsFrom(bits: Uint8Array, offset: number, length: number): Uint8Array {
  if (offset === 0) return bits;
  const moved = new Uint8Array(Math.ceil(length / 8));
  for (let to = 0; to < length; to++) {
    const at = offset + to;
    if (((bits[at >> 3] ?? 0) >> (at & 7)) & 1)
      moved[to >> 3] = (moved[to >> 3] ?? 0) | (1 << (to & 7));
  }
  return moved;
}

/**
 * Serializes batches as an Arrow file, each to the buffers that make it up. Differs from the writer of arrow-js 21.2, whose
 * protected members it uses (package-lock pins the version, the tests read the files with Polars):
 *
 * - the bytes go to the caller at once, so that memory stays flat;
 * - the schema and the dictionaries come before the first batch, so that a file without rows has them too.
 */
class FileSerializer extends RecordBatchFileWriter {
  #chunks: Uint8Array[] = [];

  constructor() {
    super({ autoDestroy: false });
  }

  begin(schema: Schema, dictionaries: Dictionaries): Uint8Array[] {
    this.reset(this._sink, schema);
    // arrow-js leaves the schema to the footer; the format has it in both places.
    this._writeMessage(Message.from(schema));
    for (const [id, words] of dictionaries.entries()) this._writeDictionaryBatch(words, id, false);
    return this.#take();
  }

  serialize(batch: RecordBatch): Uint8Array[] {
    this._writeRecordBatch(batch);
    return this.#take();
  }

  end(): Uint8Array[] {
    if (this._schema !== null) this._writeFooter(this._schema);
    return this.#take();
  }

  protected override _write(chunk: ArrayBufferView): this {
    if (chunk.byteLength > 0) {
      this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      this._position += chunk.byteLength;
    }
    return this;
  }

  protected override _writeDictionaries(): this {
    return this;
  }

  #take(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks;
  }
}

class ArrowFileWriter implements TableWriter {
  readonly #file: OutputFile;
  readonly #dictionaries: Dictionaries;
  readonly #serializer = new FileSerializer();

  constructor(file: OutputFile, dictionaries: Dictionaries) {
    this.#file = file;
    this.#dictionaries = dictionaries;
  }

  async begin(schema: Schema): Promise<this> {
    await this.#file.writeMany(this.#serializer.begin(schema, this.#dictionaries));
    return this;
  }

  async write(batch: RecordBatch): Promise<void> {
    await this.#file.writeMany(this.#serializer.serialize(this.#dictionaries.apply(batch)));
  }

  async finish(): Promise<void> {
    await this.#file.writeMany(this.#serializer.end());
  }
}

/** The Arrow IPC *file* format, for readers that want to seek: one file per table. */
export const arrowFile: Format = {
  extension: 'arrow',
  cells: 1_000_000,
  parts: false,
  takes: (field) => cellKind(field) !== null,
  async prepare(_recording, { schema }, batches) {
    const dictionaries = new Dictionaries(schema);
    if (schema.fields.some(isWords)) {
      for await (const batch of batches()) dictionaries.add(batch);
    }
    dictionaries.close();
    return (file) => new ArrowFileWriter(file, dictionaries).begin(schema);
  },
};
