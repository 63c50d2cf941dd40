import type { CallCost, TableInfo, TableStats, TickCounts } from './types.ts';

/** A table without its schema, which travels as Arrow IPC beside it. */
export type TableHeader = Omit<TableInfo, 'schema'>;

/** A row of the `state` table; its time as text, because JSON has no 64-bit integers. */
export interface StateHeader {
  readonly time: string;
  readonly source: string;
  readonly table: string;
  readonly key: string;
  readonly field: string;
  readonly state: string;
  readonly reason: string;
  readonly code: number;
}

/** What a helper counts, and what its parent adds up of all helpers so far; memory is that of the present one. */
export interface IsolatedStats {
  readonly tables: readonly TableStats[];
  readonly cpuNs: number;
  readonly memoryBytes: number;
}

/** What the helper process tells its parent; each with a payload of bytes, empty where nothing is said. */
export type FrameHeader =
  /** One table; the payload is its schema as Arrow IPC. */
  | { readonly kind: 'table'; readonly table: TableHeader }
  /** All tables were told and sampling runs. `utcOffsetNs` is the helper's, see clock.ts. */
  | { readonly kind: 'ready'; readonly utcOffsetNs: string }
  /** One batch as an Arrow IPC stream of its own. */
  | {
      readonly kind: 'batch';
      readonly source: string;
      readonly table: string;
      readonly dropped: { readonly batches: number; readonly rows: number };
      /** Of this helper. */
      readonly counts?: TickCounts;
    }
  | { readonly kind: 'states'; readonly states: readonly StateHeader[] }
  | ({ readonly kind: 'stats' } & IsolatedStats)
  /** The source could not be opened: an ErrorRecord. The helper ends. */
  | { readonly kind: 'error'; readonly error: Readonly<Record<string, unknown>> };

/** What the parent tells the helper, one JSON text per line on its standard input. */
export type Command =
  | {
      readonly kind: 'start';
      readonly spec: {
        readonly source: string;
        readonly instance?: string;
        readonly intervalMs?: number;
        readonly options: Readonly<Record<string, string>>;
      };
      readonly batchMs?: number;
      readonly maxUndeliveredBytes?: number;
    }
  | { readonly kind: 'pause' | 'resume' | 'close' };

export interface Frame {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
}

const PREFIX_BYTES = 8;
/** A length beyond this is not a frame of ours: something else wrote into the pipe. */
const MAX_BYTES = 2 ** 30;

/** The bytes of a frame: lengths of header and payload (u32, little endian), then both. */
export function encodeFrame(header: FrameHeader, payload: Uint8Array = new Uint8Array()): Buffer[] {
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(text.length, 0);
  prefix.writeUInt32LE(payload.length, 4);
  return [prefix, text, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)];
}

/** Takes frames out of a stream of bytes that arrives in pieces of any size. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** Whole frames that `piece` completes. Payloads start on a 64-byte boundary of a buffer of their own. */
  push(piece: Buffer): Frame[] {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    const frames: Frame[] = [];
    while (this.#bytes >= PREFIX_BYTES) {
      const prefix = this.#peek(PREFIX_BYTES);
      const headerBytes = prefix.readUInt32LE(0);
      const payloadBytes = prefix.readUInt32LE(4);
      if (headerBytes > MAX_BYTES || payloadBytes > MAX_BYTES) {
        throw new Error('the helper process wrote something that is no frame');
      }
      if (this.#bytes < PREFIX_BYTES + headerBytes + payloadBytes) break;
      this.#take(new Uint8Array(PREFIX_BYTES));
      const header = new Uint8Array(headerBytes);
      const payload = new Uint8Array(payloadBytes);
      this.#take(header);
      this.#take(payload);
      frames.push({ header: JSON.parse(Buffer.from(header).toString()) as FrameHeader, payload });
    }
    return frames;
  }

  #peek(bytes: number): Buffer {
    const first = this.#pieces[0];
    if (first !== undefined && first.length >= bytes) return first;
    this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0] as Buffer;
  }

  #take(into: Uint8Array): void {
    let at = 0;
    while (at < into.length) {
      const first = this.#pieces[0] as Buffer;
      const part = first.subarray(0, into.length - at);
      into.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#pieces.shift();
      else this.#pieces[0] = first.subarray(part.length);
    }
    this.#bytes -= into.length;
  }
}

function mergeHistograms(
  a: CallCost['histogram'],
  b: CallCost['histogram'],
): CallCost['histogram'] {
  const sums = new Map<number, number>();
  for (const { upToNs, calls } of [...a, ...b]) sums.set(upToNs, (sums.get(upToNs) ?? 0) + calls);
  return [...sums]
    .map(([upToNs, calls]) => ({ upToNs, calls }))
    .sort((x, y) => x.upToNs - y.upToNs);
}

/** The costs of a helper that went away, so that sums do not fall when the next one starts. */
export function addStats(before: TableStats | undefined, now: TableStats): TableStats {
  if (before === undefined) return now;
  const costs: CallCost[] = now.costs.map((cost) => {
    const old = before.costs.find((candidate) => candidate.name === cost.name);
    return old === undefined
      ? cost
      : {
          ...cost,
          calls: old.calls + cost.calls,
          maxNs: Math.max(old.maxNs, cost.maxNs),
          totalNs: old.totalNs + cost.totalNs,
          histogram: mergeHistograms(old.histogram, cost.histogram),
        };
  });
  return {
    ...now,
    rows: before.rows + now.rows,
    ticks: before.ticks + now.ticks,
    missed: before.missed + now.missed,
    droppedBatches: before.droppedBatches + now.droppedBatches,
    droppedRows: before.droppedRows + now.droppedRows,
    costs,
  };
}
