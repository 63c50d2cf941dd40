import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { RecordBatch, Schema } from '../../arrow.ts';
import { giveBack } from '../batch.ts';
import { mergeBatches } from './merge-batches.ts';
import { outputError } from './output-error.ts';
import { StreamSerializer } from './stream-serializer.ts';

/** writev takes no more buffers than this in one call (IOV_MAX). */
const MAX_BUFFERS = 1024;
/** Fewer rows than these wait for more: their message would be larger than they are. */
const FEW_ROWS = 10;

export interface TableFileOptions {
  /** Longest time that fewer than ten rows wait for more, ms; 0: each batch is written as it comes. */
  readonly holdMs: number;
  /** Whether the batches are the file's alone: their memory goes back when they are written. */
  readonly ownsBatches: boolean;
}

/** Writes all of `buffers` at `position`; the kernel may take less than it was given. */
async function writeAll(
  file: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = [...buffers];
  let at = position;
  while (rest.length > 0) {
    const some = rest.slice(0, MAX_BUFFERS);
    let { bytesWritten } = await file.writev(some, at);
    if (bytesWritten === 0) throw Object.assign(new Error('nothing was written'), { code: 'EIO' });
    at += bytesWritten;
    let whole = 0;
    while (whole < some.length && bytesWritten >= (some[whole] as Uint8Array).byteLength) {
      bytesWritten -= (some[whole] as Uint8Array).byteLength;
      whole++;
    }
    rest = rest.slice(whole);
    if (bytesWritten > 0) rest[0] = (rest[0] as Uint8Array).subarray(bytesWritten);
  }
}

/**
 * One table of a recording on disk: an Arrow stream to which whole batches are appended. Every call must be awaited
 * before the next: that is the back-pressure. At any moment the file is valid up to its last whole batch.
 */
export class TableFile {
  readonly path: string;
  /** Rows and bytes that are in the file. */
  rows = 0;
  bytes = 0;
  readonly #file: FileHandle;
  readonly #schema: Schema;
  readonly #options: TableFileOptions;
  readonly #serializer = new StreamSerializer();
  readonly #hash: Hash = createHash('sha256');
  #held: RecordBatch[] = [];
  #heldRows = 0;
  #heldSince = 0;

  private constructor(path: string, file: FileHandle, schema: Schema, options: TableFileOptions) {
    this.path = path;
    this.#file = file;
    this.#schema = schema;
    this.#options = options;
  }

  /** Makes the file and writes the schema. */
  static async create(path: string, schema: Schema, options: TableFileOptions): Promise<TableFile> {
    try {
      const table = new TableFile(path, await open(path, 'wx'), schema, options);
      await table.#append(table.#serializer.begin(schema), 0);
      return table;
    } catch (cause) {
      throw outputError(path, cause);
    }
  }

  /** Appends a batch; fewer than ten rows, with those kept before them, are kept for `holdMs`. */
  async write(batch: RecordBatch): Promise<void> {
    if (batch.numRows === 0) return;
    if (this.#held.length === 0) this.#heldSince = performance.now();
    this.#held.push(batch);
    this.#heldRows += batch.numRows;
    return this.flush(this.#heldRows < FEW_ROWS ? this.#options.holdMs : 0);
  }

  /** Writes the batches that are kept back for longer than `olderThanMs`. */
  async flush(olderThanMs: number): Promise<void> {
    if (this.#held.length === 0) return;
    if (olderThanMs > 0 && performance.now() - this.#heldSince < olderThanMs) return;
    const [held, rows] = [this.#held, this.#heldRows];
    this.#held = [];
    this.#heldRows = 0;
    await this.#append(this.#serializer.serialize(mergeBatches(this.#schema, held)), rows);
    if (this.#options.ownsBatches) held.forEach(giveBack);
  }

  /** Writes what would be kept back for too long if it were left to the next call, `nextMs` from now. */
  flushOld(nextMs: number): Promise<void> {
    return this.flush(this.#options.holdMs - nextMs);
  }

  /** Writes what is kept back and the end of the stream, or abandons the file; returns its SHA-256. */
  async close(): Promise<string> {
    try {
      await this.flush(0);
      await this.#append(this.#serializer.end(), 0);
    } catch (error) {
      await this.abandon();
      throw error;
    }
    await this.#file.close();
    return this.#hash.digest('hex');
  }

  /** After a failed write: the file ends with its last whole batch and is no longer written. Never throws. */
  async abandon(): Promise<void> {
    this.#held = [];
    await this.#file.truncate(this.bytes).catch(() => undefined);
    await this.#file.close().catch(() => undefined);
  }

  async #append(buffers: readonly Uint8Array[], rows: number): Promise<void> {
    try {
      await writeAll(this.#file, buffers, this.bytes);
    } catch (cause) {
      throw outputError(this.path, cause);
    }
    for (const buffer of buffers) {
      this.#hash.update(buffer);
      this.bytes += buffer.byteLength;
    }
    this.rows += rows;
  }
}
