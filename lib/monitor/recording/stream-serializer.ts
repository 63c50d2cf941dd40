import {
  type Data,
  type RecordBatch,
  RecordBatchStreamWriter,
  type Schema,
  type Vector,
  vectorFromArray,
} from '../../arrow.ts';

/** Two dictionaries say the same, whether or not they are one object. */
function sameWords(a: Data, b: Data): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  const [left, right] = [a.valueOffsets as Int32Array, b.valueOffsets as Int32Array];
  for (let at = 1; at <= a.length; at++) {
    if ((left[at] ?? 0) - (left[0] ?? 0) !== (right[at] ?? 0) - (right[0] ?? 0)) return false;
  }
  const bytes = ({ values, valueOffsets, length }: Data): Buffer =>
    Buffer.from((values as Uint8Array).subarray(valueOffsets[0] ?? 0, valueOffsets[length] ?? 0));
  return bytes(a).equals(bytes(b));
}

/** The words of a dictionary in one piece: what follows the first piece would be written as a delta. */
function onePiece(dictionary: Vector): Data | undefined {
  if (dictionary.data.length <= 1) return dictionary.data[0];
  return vectorFromArray(dictionary.toJSON(), dictionary.type).data[0];
}

/**
 * Serializes record batches of one schema as an uncompressed Arrow IPC stream, each to the buffers that make it up:
 * columns are not copied. Two things differ from the writer of arrow-js 21.2, which this class is built on:
 *
 * - the bytes go to the caller at once. Deliberately not `toNodeStream()`: its queue knows no back-pressure (1 GB
 *   of batches made 1.1 GB of memory).
 * - a dictionary that grew is written whole, as a replacement. The original writes a delta, and Polars then refuses
 *   the file: "delta dictionary batches not supported".
 *
 * `_write` and `_writeDictionaries` are protected members of arrow-js: package-lock pins the version, and the tests
 * read what comes out with Polars.
 */
export class StreamSerializer extends RecordBatchStreamWriter {
  #chunks: Uint8Array[] = [];
  readonly #dictionaries = new Map<number, Data>();

  constructor() {
    super({ autoDestroy: false });
  }

  /** The message that opens the stream. */
  begin(schema: Schema): Uint8Array[] {
    this.reset(this._sink, schema);
    return this.#take();
  }

  /** The buffers of one batch, after those of dictionaries that are new. They alias the batch. */
  serialize(batch: RecordBatch): Uint8Array[] {
    // Deliberately not write(): it compares the schemas field by field, which costs more than the batch itself
    // at 200 columns.
    this._writeRecordBatch(batch);
    // arrow-js notes every batch for the footer of the file format, which a stream has not: a slow leak.
    this._recordBatchBlocks.length = 0;
    this._dictionaryBlocks.length = 0;
    return this.#take();
  }

  /** The end-of-stream marker. */
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

  protected override _writeDictionaries(batch: RecordBatch): this {
    for (const [id, dictionary] of batch.dictionaries) {
      const words = onePiece(dictionary);
      if (words === undefined) continue;
      const before = this.#dictionaries.get(id);
      if (before !== undefined && sameWords(before, words)) continue;
      this._writeDictionaryBatch(words, id, false);
      this.#dictionaries.set(id, words);
    }
    return this;
  }

  #take(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks;
  }
}
