import type { RecordBatch, Schema } from 'apache-arrow';

/** One source of a sampler; made by `monitor.vmstat({...})` and its siblings, or parsed from `--source`. */
export interface SourceSpec {
  /** Name of the source: `vmstat`, `perf`, `gpu`. */
  readonly source: string;
  /** Names the tables where one source is asked for twice; default: the source's name, then `perf@2`. */
  readonly instance?: string;
  /** Time between two rows, ms; 0.05 to 86,400,000. Default: that of the source. */
  readonly intervalMs?: number;
  /**
   * True in default sets: a source that cannot be opened is a row of the `state` table. False: what the machine lacks
   * (no driver, no cgroup v2) is a state too, but bad input and missing permission reject `sample()`.
   */
  readonly optional?: boolean;
  /** The source's own options, as text: checked by its descriptor, read by native code. */
  readonly options: Readonly<Record<string, string>>;
}

/** How a table is to be read: one row per tick and key, one per event, or one per span of time. */
export type TableKind = 'sample' | 'event' | 'span';

/** One table of a running sampler or of a recording. */
export interface TableInfo {
  /** Full name, as in `batch.table` and in file names: `vmstat`, `gpu.pcie`, `perf@2`. */
  readonly name: string;
  /** Instance of the source that writes it. */
  readonly source: string;
  readonly kind: TableKind;
  /** What one row is, in words. */
  readonly grain: string;
  /** Names of the key columns; empty where a tick has one row. */
  readonly keys: readonly string[];
  /** Cadence the table really runs at, ms; null for event and span tables. */
  readonly intervalMs: number | null;
  /** Fields with unit, kind, source, window and reason in their metadata. */
  readonly schema: Schema;
  /** True when a driver library that calls itself "Simulated" is behind it. */
  readonly simulated: boolean;
}

/** What the iterator of a sampler gives. */
export interface SampledBatch {
  readonly source: string;
  readonly table: string;
  readonly batch: RecordBatch;
  /** Slabs and rows of this table lost since the batch before this one, because nobody took them in time. */
  readonly dropped: { readonly batches: number; readonly rows: number };
  /**
   * Sample tables of sources: ticks run and deadlines missed from the start of the table to the last tick in this batch.
   * The difference of two batches is exact for what lies between.
   */
  readonly counts?: TickCounts;
}

export interface TickCounts {
  readonly ticks: number;
  readonly missed: number;
}

/** Distribution of the cost of one kind of call, ns. */
export interface CallCost {
  readonly name: string;
  readonly calls: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
  readonly totalNs: number;
  /**
   * Calls by what they took, ascending, empty buckets left out: exact below 16 ns, then eight buckets for each power of
   * two. `upToNs` is the longest time that falls into the bucket.
   */
  readonly histogram: readonly { readonly upToNs: number; readonly calls: number }[];
}

export interface TableStats {
  readonly table: string;
  readonly rows: number;
  /** Ticks that were run. ticks + missed = deadlines that have passed. */
  readonly ticks: number;
  /** Deadlines that passed while the tick before them was still running or the thread was not scheduled. */
  readonly missed: number;
  readonly droppedBatches: number;
  readonly droppedRows: number;
  readonly intervalMs: number | null;
  readonly costs: readonly CallCost[];
}

export interface SamplerStats {
  readonly tables: readonly TableStats[];
  /** CPU time of the sampler's own threads since start, ns. */
  readonly cpuNs: number;
  /** Bytes of batches that wait to be taken. */
  readonly undeliveredBytes: number;
  /**
   * The sampler's own memory: batches being written, prepared ahead and waiting (`undeliveredBytes` of it), queues, and
   * kernel rings that sources have mapped; of isolated sources also what their helpers have. Bytes.
   */
  readonly memoryBytes: number;
  /** Bytes of batches of native tables that were taken and not collected yet: yours. */
  readonly deliveredBytes: number;
  readonly elapsedNs: number;
}

/** A row as plain values: `bigint` for 64-bit integers and times, `null` where there is no value. */
export type Row = Readonly<Record<string, bigint | number | string | boolean | null>>;

export interface SampleOptions {
  readonly sources: readonly SourceSpec[];
  /** Tables that JavaScript feeds: `monitor.table({...})`. */
  readonly tables?: readonly JsTable[];
  /** Longest time that a row waits before it is delivered, ms. Default 100. */
  readonly batchMs?: number;
  /** Bound on undelivered batches, bytes. Default 64 MiB. */
  readonly maxUndeliveredBytes?: number;
  /** Stop by itself after this time, ms: each table then has exactly duration / interval deadlines. */
  readonly durationMs?: number;
  /** Keep the process alive while sampling, also when nobody awaits a batch. Default false. */
  readonly keepAlive?: boolean;
  readonly signal?: AbortSignal;
}

/** A running sampler. `for await` over it gives batches until it is closed or its duration is over. */
export interface Sampler extends AsyncDisposable {
  readonly tables: readonly TableInfo[];
  /** What could not be had, or not at the asked rate: the last 65,536 rows of the `state` table so far. */
  readonly states: readonly StateRow[];
  [Symbol.asyncIterator](): AsyncIterator<SampledBatch>;
  /** Rows of the last tick of each sample table; cumulative counts per key of event tables. */
  latest(): Readonly<Record<string, readonly Row[]>>;
  stats(): SamplerStats;
  /** Ends the current batches, stops the ticks; deadlines that pass while paused are not counted. */
  pause(): void;
  /**
   * Asks for the rows so far at once, and not when they are `batchMs` old: for a dump of what just happened. Sources with
   * threads or processes of their own (`gpu`, `pm-sampling`) keep to `batchMs`.
   */
  flush(): void;
  resume(): void;
  /** Writes a row into the table `mark`: something happened now. */
  mark(name: string, attributes?: Readonly<Record<string, string | number | boolean>>): void;
  /** Stops the threads, hands over what there is; the iterator ends after the last batch. Idempotent. */
  close(): Promise<void>;
}

/** A row of the `state` table. */
export interface StateRow {
  /** UTC, ns. */
  readonly time: bigint;
  readonly source: string;
  readonly table: string;
  readonly key: string;
  readonly field: string;
  readonly state: string;
  readonly reason: string;
  /** errno or nvmlReturn_t; for `too_slow` the shortest interval that the source can keep here, ns. 0: none. */
  readonly code: number;
}

/** A table that JavaScript feeds, see `monitor.table`. */
export interface JsTable {
  readonly name: string;
  readonly info: Omit<TableInfo, 'schema'> & { readonly schema: Schema };
  /** Appends one row; a missing field is null. `time` (UTC ns, `monitor.now()`) defaults to now. */
  append(row: Readonly<Record<string, bigint | number | string | boolean | null>>): void;
  /** Appends many rows at once from typed arrays of one length. */
  appendColumns(
    columns: Readonly<Record<string, ArrayLike<bigint | number | string | boolean>>>,
  ): void;
}
