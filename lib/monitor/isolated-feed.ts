import type { RecordBatch } from '../arrow.ts';
import type { ErrorCode, WarpgaugeError } from '../errors.ts';
import { IsolatedSource } from './isolated.ts';
import type { IsolatedStats } from './isolated-frames.ts';
import { now } from './now.ts';
import type { CheckedOptions } from './sampler-options.ts';
import type { Row, SampledBatch, SourceSpec, StateRow, TableInfo } from './types.ts';

/** What is the caller's mistake, and therefore rejects `sample()`; the rest is what the machine lacks. */
const REJECTED: readonly ErrorCode[] = [
  'ERR_INVALID_ARGUMENT',
  'ERR_UNKNOWN_SOURCE',
  'ERR_UNKNOWN_EVENT',
  'ERR_GONE',
  'ERR_PERMISSION',
];

interface Waiting {
  readonly given: SampledBatch;
  readonly bytes: number;
}

function bytesOf(batch: RecordBatch): number {
  let bytes = 0;
  for (const { values, nullBitmap, valueOffsets } of batch.data.children) {
    bytes += (values?.byteLength ?? 0) + nullBitmap.byteLength + (valueOffsets?.byteLength ?? 0);
  }
  return bytes;
}

/** An isolated source inside a sampler: its batches wait here until somebody takes them. */
export class IsolatedFeed {
  #source: IsolatedSource | null = null;
  readonly #instance: string;
  readonly #waiting: Waiting[] = [];
  readonly #states: StateRow[] = [];
  readonly #dropped = new Map<string, { batches: number; rows: number }>();
  readonly #droppedBefore = new Map<string, { batches: number; rows: number }>();
  #waitingBytes = 0;
  #onBatch: (() => void) | null = null;
  #onState: ((row: StateRow) => void) | null = null;

  private constructor(instance: string) {
    this.#instance = instance;
  }

  /**
   * Starts the helper of a source. What the machine lacks is a state of a feed without tables.
   *
   * @throws WarpgaugeError what opening the source throws that is the caller's mistake, unless the source is optional.
   */
  static async open(
    spec: SourceSpec,
    { batchMs, maxUndeliveredBytes }: CheckedOptions,
  ): Promise<IsolatedFeed> {
    const instance = spec.instance ?? spec.source;
    const feed = new IsolatedFeed(instance);
    try {
      feed.#source = await IsolatedSource.open(
        spec,
        { instance, batchMs, maxUndeliveredBytes },
        {
          batch: (given) => feed.#take(given),
          state: (row) => feed.#tell(row),
        },
      );
    } catch (error) {
      const failure = error as WarpgaugeError;
      if (!spec.optional && REJECTED.includes(failure.code)) throw error;
      feed.failure = failure;
      feed.#tell({
        time: now(),
        source: instance,
        table: '',
        key: '',
        field: '',
        state: 'unavailable',
        reason: `${failure.code}: ${failure.message}`,
        code: failure.status ?? 0,
      });
    }
    return feed;
  }

  /** Why there is no helper. */
  failure: WarpgaugeError | null = null;

  get tables(): readonly TableInfo[] {
    return this.#source?.tables ?? [];
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Tells `onState` all states so far and those to come, and `onBatch` whenever there is something to take. */
  attach(onBatch: () => void, onState: (row: StateRow) => void): void {
    this.#onBatch = onBatch;
    this.#onState = onState;
    for (const row of this.#states.splice(0)) onState(row);
    if (this.#waiting.length > 0) onBatch();
  }

  take(): SampledBatch | null {
    const first = this.#waiting.shift();
    if (first === undefined) return null;
    this.#waitingBytes -= first.bytes;
    const { table, dropped } = first.given;
    const before = this.#droppedBefore.get(table);
    this.#droppedBefore.delete(table);
    if (before === undefined) return first.given;
    return {
      ...first.given,
      dropped: {
        batches: dropped.batches + before.batches,
        rows: dropped.rows + before.rows,
      },
    };
  }

  /** Drops the oldest batch that nobody took; false when there is none. */
  dropOldest(): boolean {
    const first = this.#waiting.shift();
    if (first === undefined) return false;
    this.#waitingBytes -= first.bytes;
    const { table, batch, dropped } = first.given;
    for (const sums of [this.#dropped, this.#droppedBefore]) {
      const sum = sums.get(table) ?? { batches: 0, rows: 0 };
      sum.batches += 1;
      sum.rows += batch.numRows;
      sums.set(table, sum);
    }
    // What the helper itself had dropped before this batch is still to be told.
    const before = this.#droppedBefore.get(table);
    if (before !== undefined) {
      before.batches += dropped.batches;
      before.rows += dropped.rows;
    }
    return true;
  }

  latest(): Record<string, readonly Row[]> {
    return this.#source?.latest() ?? {};
  }

  stats(): IsolatedStats {
    const none: IsolatedStats = { tables: [], cpuNs: 0, memoryBytes: 0 };
    const { tables, cpuNs, memoryBytes } = this.#source?.stats() ?? none;
    return {
      cpuNs,
      memoryBytes,
      tables: tables.map((table) => {
        const dropped = this.#dropped.get(table.table) ?? { batches: 0, rows: 0 };
        return {
          ...table,
          rows: table.rows - dropped.rows,
          droppedBatches: table.droppedBatches + dropped.batches,
          droppedRows: table.droppedRows + dropped.rows,
        };
      }),
    };
  }

  setPaused(paused: boolean): void {
    if (paused) this.#source?.pause();
    else this.#source?.resume();
  }

  /** Whether the helper keeps this process alive. */
  hold(hold: boolean): void {
    if (hold) this.#source?.ref();
    else this.#source?.unref();
  }

  async close(): Promise<void> {
    await this.#source?.close();
  }

  #take(given: SampledBatch): void {
    const bytes = bytesOf(given.batch);
    this.#waiting.push({ given, bytes });
    this.#waitingBytes += bytes;
    this.#onBatch?.();
  }

  #tell(row: StateRow): void {
    if (this.#onState === null) this.#states.push(row);
    else this.#onState({ ...row, source: this.#instance });
  }
}

/** Opens the isolated sources of a sampler, all or none. */
export async function openIsolated(options: CheckedOptions): Promise<IsolatedFeed[]> {
  const settled = await Promise.allSettled(
    options.isolated.map((spec) => IsolatedFeed.open(spec, options)),
  );
  const feeds = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const rejected = settled.find((each) => each.status === 'rejected');
  const lacking = feeds.find((feed) => feed.failure !== null);
  // As for sources of this process: when nothing at all can be had, that is an error.
  const nothing =
    options.sources.length === 0 &&
    options.tables === 0 &&
    feeds.every((feed) => feed.failure !== null) &&
    lacking;
  if (rejected === undefined && !nothing) return feeds;
  await Promise.all(feeds.map((feed) => feed.close()));
  throw rejected?.reason ?? lacking?.failure;
}
