import { type Data, DataType, type RecordBatch, type Schema } from '../../arrow.ts';
import { WarpgaugeError } from '../../errors.ts';
import type { Sampler, TableInfo } from '../types.ts';
import { StreamSerializer } from './stream-serializer.ts';
import { isoTime } from './summary.ts';

/** Takes bytes and resolves when it wants more; false: nobody reads any more. */
export type ByteSink = (bytes: Uint8Array | string) => Promise<boolean>;

/** Tables that every sampler has, and names of ids: not what somebody means who wants one table. */
const isAside = (name: string): boolean =>
  ['state', 'mark', 'span'].includes(name) || name.endsWith('.name');

/** Integers as numbers where a double holds them exactly, else as text. */
function jsonInteger(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** Reads cells of one column as JSON values. */
function cellReader(data: Data): (at: number) => unknown {
  const { type, values, nullCount, nullBitmap, offset } = data;
  const isNull = (at: number): boolean =>
    nullCount > 0 && (((nullBitmap[(offset + at) >> 3] ?? 0) >> ((offset + at) & 7)) & 1) === 0;
  let read: (at: number) => unknown;
  if (DataType.isTimestamp(type)) {
    read = (at) => isoTime((values as BigInt64Array)[at] as bigint);
  } else if (DataType.isBool(type)) {
    read = (at) =>
      ((((values as Uint8Array)[(offset + at) >> 3] ?? 0) >> ((offset + at) & 7)) & 1) === 1;
  } else if (DataType.isDictionary(type)) {
    const words = data.dictionary?.toJSON() ?? [];
    read = (at) => words[(values as Int32Array)[at] as number] ?? null;
  } else if (DataType.isUtf8(type)) {
    const offsets = data.valueOffsets as Int32Array;
    const bytes = Buffer.from(
      (values as Uint8Array).buffer,
      (values as Uint8Array).byteOffset,
      (values as Uint8Array).byteLength,
    );
    read = (at) => bytes.toString('utf8', offsets[at], offsets[at + 1]);
  } else {
    read = (at) => {
      const value = (values as ArrayLike<bigint | number>)[at];
      if (typeof value === 'bigint') return jsonInteger(value);
      return Number.isFinite(value) ? value : null;
    };
  }
  return (at) => (isNull(at) ? null : read(at));
}

/**
 * The rows of a batch as JSON lines: `{"table":"vmstat","time":"2026-11-20T18:00:00.000000001Z","pgfault":12,...}`. Integers
 * beyond 2^53 are text, what could not be read is null.
 */
export function jsonLines(table: string, batch: RecordBatch): string {
  const columns = batch.schema.fields.map(({ name }, index) => ({
    name,
    read: cellReader(batch.data.children[index] as Data),
  }));
  let lines = '';
  for (let at = 0; at < batch.numRows; at++) {
    const row: Record<string, unknown> = { table };
    for (const { name, read } of columns) row[name] = read(at);
    lines += `${JSON.stringify(row)}\n`;
  }
  return lines;
}

/** All rows of a sampler as JSON lines, until it ends or nobody reads any more. Closes the sampler. */
export async function streamRows(sampler: Sampler, write: ByteSink): Promise<void> {
  try {
    for await (const { table, batch } of sampler) {
      if (!(await write(jsonLines(table, batch)))) break;
    }
  } finally {
    await sampler.close();
  }
}

/** The one table that a stream can hold. @throws WarpgaugeError `ERR_INVALID_ARGUMENT` when there are more. */
export function onlyTable(tables: readonly TableInfo[]): TableInfo {
  const own = tables.filter(({ name }) => !isAside(name));
  const [only] = own;
  if (only !== undefined && own.length === 1) return only;
  const names = own.map(({ name }) => name).join(', ');
  throw new WarpgaugeError(
    'ERR_INVALID_ARGUMENT',
    `Expected sources with one table for --out - but they have ${own.length === 0 ? 'none' : names}; use --jsonl for rows of all of them, or --out DIR`,
  );
}

/** One table as an Arrow IPC stream, until the sampler ends or nobody reads any more. Closes the sampler. */
export async function streamArrow(sampler: Sampler, write: ByteSink): Promise<void> {
  const serializer = new StreamSerializer();
  const writeAll = async (buffers: readonly Uint8Array[]): Promise<boolean> => {
    // One write per message: a reader that ends in between sees whole messages.
    return write(Buffer.concat(buffers));
  };
  try {
    const { name, schema } = onlyTable(sampler.tables);
    let open = await writeAll(serializer.begin(schema as Schema));
    for await (const { table, batch } of sampler) {
      if (!open) return;
      if (table === name) open = await writeAll(serializer.serialize(batch));
    }
    if (open) await writeAll(serializer.end());
  } finally {
    await sampler.close();
  }
}
