import type { FileHandle } from 'node:fs/promises';
import { Message } from '../../arrow.ts';

/** One message of an Arrow stream on disk. */
export interface StreamMessage {
  readonly kind: 'schema' | 'dictionary' | 'batch' | 'end';
  readonly offset: number;
  readonly bytes: number;
  /** Rows of a batch; 0 for all else. */
  readonly rows: number;
}

/** What a table file holds that can be trusted. */
export interface StreamScan {
  /** Messages up to the last whole batch, in their order. */
  readonly messages: readonly StreamMessage[];
  /** End of the last whole batch, or of the schema where there is none; 0: not even the schema is whole. */
  readonly validBytes: number;
  /** Size of the file. */
  readonly bytes: number;
  readonly rows: number;
  /** The stream has its end marker and nothing behind it: it was closed. */
  readonly complete: boolean;
}

const CONTINUATION = 0xffffffff;
const PREFIX_BYTES = 8;
const END_BYTES = 8;
/** Larger metadata than any table has: a length beyond it is no length. */
const MAX_METADATA_BYTES = 1 << 28;

async function readExactly(
  file: FileHandle,
  offset: number,
  bytes: number,
): Promise<Buffer | null> {
  const buffer = Buffer.allocUnsafe(bytes);
  let at = 0;
  while (at < bytes) {
    const { bytesRead } = await file.read(buffer, at, bytes - at, offset + at);
    if (bytesRead === 0) return null;
    at += bytesRead;
  }
  return buffer;
}

function decode(
  metadata: Buffer,
): { kind: StreamMessage['kind']; rows: number; body: number } | null {
  try {
    const message = Message.decode(metadata);
    const body = message.bodyLength;
    if (!Number.isSafeInteger(body) || body < 0) return null;
    if (message.isSchema()) return { kind: 'schema', rows: 0, body };
    if (message.isDictionaryBatch()) return { kind: 'dictionary', rows: 0, body };
    if (message.isRecordBatch()) {
      return { kind: 'batch', rows: (message.header() as { length: number }).length, body };
    }
  } catch {
    // bytes that are no message: the file ends before them
  }
  return null;
}

/** The message at `offset`, or null where none is whole. Reads its metadata, not its body. */
async function messageAt(
  file: FileHandle,
  offset: number,
  size: number,
): Promise<StreamMessage | null> {
  if (offset + PREFIX_BYTES > size) return null;
  const prefix = await readExactly(file, offset, PREFIX_BYTES);
  if (prefix === null || prefix.readUInt32LE(0) !== CONTINUATION) return null;
  const length = prefix.readInt32LE(4);
  if (length === 0) return { kind: 'end', offset, bytes: END_BYTES, rows: 0 };
  if (length < 0 || length > MAX_METADATA_BYTES) return null;
  if (offset + PREFIX_BYTES + length > size) return null;
  const metadata = await readExactly(file, offset + PREFIX_BYTES, length);
  const decoded = metadata === null ? null : decode(metadata);
  if (decoded === null) return null;
  const bytes = PREFIX_BYTES + length + decoded.body;
  if (offset + bytes > size) return null;
  return { kind: decoded.kind, offset, bytes, rows: decoded.rows };
}

/**
 * Finds the whole batches of an Arrow stream by walking from message to message, so that a file of any size is scanned in
 * the time that its headers take. Anything that is no whole message ends the walk.
 */
export async function scanStream(file: FileHandle): Promise<StreamScan> {
  const { size } = await file.stat();
  const messages: StreamMessage[] = [];
  let offset = 0;
  let whole = 0;
  let validBytes = 0;
  let rows = 0;
  let complete = false;
  for (;;) {
    const message = await messageAt(file, offset, size);
    if (message === null || (messages.length === 0) !== (message.kind === 'schema')) break;
    offset += message.bytes;
    if (message.kind === 'end') {
      complete = offset === size;
      break;
    }
    messages.push(message);
    if (message.kind === 'dictionary') continue;
    rows += message.rows;
    validBytes = offset;
    whole = messages.length;
  }
  return { messages: messages.slice(0, whole), validBytes, bytes: size, rows, complete };
}

/** The bytes of one message. */
export async function readMessage(file: FileHandle, message: StreamMessage): Promise<Buffer> {
  const bytes = await readExactly(file, message.offset, message.bytes);
  if (bytes === null) throw new Error(`the file became shorter than ${message.offset} bytes`);
  return bytes;
}
