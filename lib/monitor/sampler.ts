import { type Binding, loadBinding, type NativeSamplerStats } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { attributesText } from './attributes.ts';
import { NativeTableReader } from './batch.ts';
import type { ArrowLibrary } from './columns.ts';
import { column, FedTable, type FedTableSpec, fedInfo, TIME } from './fed-table.ts';
import type { IsolatedFeed } from './isolated-feed.ts';
import { type ScriptTable, scriptTable } from './js-table.ts';
import { now } from './now.ts';
import { addRunning, type Running, removeRunning, type SpanRow } from './running.ts';
import { type CheckedOptions, checkOptions } from './sampler-options.ts';
import type {
  Row,
  SampledBatch,
  SampleOptions,
  Sampler,
  SamplerStats,
  StateRow,
  TableInfo,
} from './types.ts';

/** Most rows that `states` keeps: a source that reports without end must not fill the memory. The table has all. */
const MAX_STATES = 65_536;

/** Batches that are wrapped at once; those not yet wrapped count for the bound and may be dropped. */
const DRAIN = 16;
/** setTimeout takes no more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const STATE: FedTableSpec = {
  name: 'state',
  source: 'state',
  kind: 'event',
  grain: 'one row per change',
  columns: [
    TIME,
    ...['source', 'table', 'key', 'field', 'state', 'reason'].map((name) => column(name, 'text')),
    column('code', 'i64', { unit: '1', source: 'errno or nvmlReturn_t' }),
  ],
};
const MARK: FedTableSpec = {
  name: 'mark',
  source: 'mark',
  kind: 'event',
  grain: 'one row per mark',
  columns: [TIME, column('name', 'text'), column('attributes', 'text', { nullable: true })],
};
const SPAN: FedTableSpec = {
  name: 'span',
  source: 'span',
  kind: 'span',
  grain: 'one row per span that has ended',
  columns: [
    TIME,
    column('duration_ns', 'i64', { unit: 'ns', source: 'CLOCK_MONOTONIC' }),
    column('name', 'text'),
    column('attributes', 'text', { nullable: true }),
  ],
};
const namesOf = (readers: readonly NativeTableReader[]): FedTableSpec => ({
  name: readers[0]?.native.names ?? '',
  source: readers[0]?.info.source ?? '',
  kind: 'event',
  grain: `one row per new id of ${readers.map(({ info }) => info.name).join(', ')}`,
  simulated: readers.some(({ info }) => info.simulated),
  columns: [TIME, column('id', 'u32', { unit: '' }), column('name', 'text')],
});

interface Waiter {
  readonly resolve: (result: IteratorResult<SampledBatch, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

interface NameTeller {
  readonly reader: NativeTableReader;
  readonly table: FedTable;
}

/** What is left to ask of a sampler whose native half is gone. */
interface Final {
  readonly stats: SamplerStats;
  readonly latest: Readonly<Record<string, readonly Row[]>>;
}

/** The engine's JavaScript half: wraps slabs when somebody takes them, and never sooner. */
export class NativeSampler implements Sampler, Running {
  readonly tables: readonly TableInfo[];
  readonly #binding: Binding;
  readonly #id: number;
  readonly #options: CheckedOptions;
  readonly #readers: readonly NativeTableReader[];
  readonly #fed: readonly FedTable[];
  readonly #isolated: readonly IsolatedFeed[];
  /** Where the names of a table are told, and by which reader: tables that share names have one. */
  readonly #names = new Map<NativeTableReader, NameTeller>();
  readonly #scripts: readonly { readonly table: ScriptTable; readonly sink: FedTable }[];
  readonly #state: FedTable;
  readonly #mark: FedTable;
  readonly #span: FedTable;
  readonly #states: StateRow[] = [];
  #nativeStates = 0;
  readonly #queue: SampledBatch[] = [];
  readonly #waiters: Waiter[] = [];
  #startNs = 0n;
  #flushTimer: NodeJS.Timeout | null = null;
  #endTimer: NodeJS.Timeout | null = null;
  #removeAbort: (() => void) | null = null;
  #final: Final | null = null;
  #closed: Promise<void> | null = null;

  /** Use {@link sample}. */
  constructor(
    arrow: ArrowLibrary,
    binding: Binding,
    id: number,
    options: CheckedOptions,
    scripts: readonly ScriptTable[],
    isolated: readonly IsolatedFeed[],
  ) {
    this.#binding = binding;
    this.#id = id;
    this.#options = options;
    const natives = binding.openedSampler(id) ?? [];
    this.#readers = natives.map(
      (native, index) => new NativeTableReader(arrow, binding, id, index, native),
    );
    const fed: FedTable[] = [];
    const feed = (spec: FedTableSpec): FedTable => {
      const table = new FedTable(arrow, spec, fedInfo(arrow, spec), () => this.#onFed());
      fed.push(table);
      return table;
    };
    for (const name of new Set(this.#readers.map(({ native }) => native.names))) {
      const readers = this.#readers.filter(({ native }) => native.names === name);
      const [first] = readers;
      if (name === '' || first === undefined) continue;
      const teller = { reader: first, table: feed(namesOf(readers)) };
      for (const reader of readers) this.#names.set(reader, teller);
    }
    this.#scripts = scripts.map((table) => ({ table, sink: feed(table.spec) }));
    this.#mark = feed(MARK);
    this.#span = feed(SPAN);
    this.#state = feed(STATE);
    this.#fed = fed;
    this.#isolated = isolated;
    const infos = (tables: readonly { readonly info: TableInfo }[]) =>
      tables.map(({ info }) => info);
    this.tables = [
      ...infos(this.#readers),
      ...isolated.flatMap((source) => source.tables),
      ...infos(fed),
    ];
  }

  get states(): readonly StateRow[] {
    this.#readStates();
    return this.#states;
  }

  start(signal: AbortSignal | undefined): void {
    const { durationNs, keepAlive, batchMs } = this.#options;
    this.#startNs = this.#binding.startSampler(this.#id, durationNs);
    addRunning(this);
    for (const { table, sink } of this.#scripts) table.attach(sink);
    this.#hold();
    if (!keepAlive && this.#waiters.length === 0) this.#binding.holdSampler(this.#id, false);
    this.#flushTimer = setInterval(() => this.#flushFed(), batchMs);
    this.#flushTimer.unref();
    if (durationNs > 0) this.#armEnd();
    if (signal !== undefined) {
      const onAbort = (): void => void this.close();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#removeAbort = () => signal.removeEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
    }
    this.#readStates();
    for (const source of this.#isolated) {
      source.attach(
        () => this.#onFed(),
        (row) => this.#addStates([row]),
      );
    }
  }

  /** Native code has something: batches, states. */
  onReady(): void {
    if (this.#final !== null) return;
    try {
      this.#readStates();
      this.#serve();
    } catch (error) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) throw error;
      waiter.reject(error);
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<SampledBatch, undefined> {
    return { next: () => this.#next() };
  }

  latest(): Readonly<Record<string, readonly Row[]>> {
    if (this.#final !== null) return this.#final.latest;
    const tables: Record<string, readonly Row[]> = {};
    for (const [index, reader] of this.#readers.entries()) {
      if (reader.info.kind !== 'sample') {
        tables[reader.info.name] = reader.eventCounts();
        continue;
      }
      const last = this.#binding.samplerLatest(this.#id, index);
      tables[reader.info.name] = last === null ? [] : reader.rows(last);
    }
    for (const { table, sink } of this.#scripts) tables[table.name] = sink.latest();
    for (const source of this.#isolated) Object.assign(tables, source.latest());
    return tables;
  }

  stats(): SamplerStats {
    return this.#final === null ? this.#stats() : this.#final.stats;
  }

  pause(): void {
    this.#checkOpen();
    this.#binding.pauseSampler(this.#id, true);
    for (const source of this.#isolated) source.setPaused(true);
    this.#flushFed();
  }

  flush(): void {
    this.#checkOpen();
    this.#binding.flushSampler(this.#id);
    this.#flushFed();
  }

  resume(): void {
    this.#checkOpen();
    this.#binding.pauseSampler(this.#id, false);
    for (const source of this.#isolated) source.setPaused(false);
  }

  mark(name: string, attributes?: Readonly<Record<string, string | number | boolean>>): void {
    this.#checkOpen();
    if (typeof name !== 'string' || name === '') throw invalidArgument('name', 'a name', name);
    this.#mark.append({ time: now(), name, attributes: attributesText(attributes) });
    this.#mark.flush();
  }

  endSpan(row: SpanRow): void {
    if (this.#final === null) this.#span.append({ ...row });
  }

  stopNow(): void {
    try {
      if (this.#final === null) this.#binding.stopSampler(this.#id);
    } catch {
      // The environment is ending: its cleanup hook stops the threads.
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#flushTimer ?? undefined);
    clearTimeout(this.#endTimer ?? undefined);
    this.#removeAbort?.();
    removeRunning(this);
    for (const { table, sink } of this.#scripts) table.detach(sink);
    // Helpers end while the threads here do: one after the other could take more than a second.
    const isolated = Promise.all(this.#isolated.map((each) => each.close()));
    try {
      // Waits for the threads: they hand over what they have, at most half a second if a driver hangs.
      this.#binding.stopSampler(this.#id);
      await isolated;
      this.#readStates();
      this.#flushFed();
      const latest = this.latest();
      while (this.#drain() > 0);
      this.#final = { stats: this.#stats(), latest };
    } finally {
      this.#binding.releaseSampler(this.#id);
    }
    this.#serve();
  }

  #next(): Promise<IteratorResult<SampledBatch, undefined>> {
    if (this.#queue.length === 0 && this.#final === null) this.#drain();
    const value = this.#queue.shift();
    if (value !== undefined) return Promise.resolve({ value, done: false });
    if (this.#final !== null) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#hold();
    });
  }

  /** Gives waiting readers what there is. */
  #serve(): void {
    while (this.#waiters.length > 0) {
      if (this.#queue.length === 0 && this.#final === null) this.#drain();
      const value = this.#queue.shift();
      if (value !== undefined) this.#waiters.shift()?.resolve({ value, done: false });
      else if (this.#final !== null) this.#waiters.shift()?.resolve({ value, done: true });
      else return;
      this.#hold();
    }
  }

  /** Moves some batches into the queue; how many. Names come before the batches that use them. */
  #drain(): number {
    const before = this.#queue.length;
    const slabs = this.#binding.drainSampler(this.#id, DRAIN);
    const wrapped = slabs.map((slab): SampledBatch => {
      const reader = this.#readers[slab.table] as NativeTableReader;
      this.#tellNames(reader);
      return {
        source: reader.info.source,
        table: reader.info.name,
        batch: reader.batch(slab),
        dropped: { batches: slab.droppedBatches, rows: slab.droppedRows },
        ...(reader.info.kind === 'sample'
          ? { counts: { ticks: slab.ticks, missed: slab.missed } }
          : {}),
      };
    });
    for (const table of [...this.#fed, ...this.#isolated]) {
      for (let given = table.take(); given !== null; given = table.take()) this.#queue.push(given);
    }
    this.#queue.push(...wrapped);
    return this.#queue.length - before;
  }

  #tellNames(reader: NativeTableReader): void {
    const names = this.#names.get(reader);
    if (names === undefined) return;
    const time = now();
    for (const each of names.reader.newNames()) names.table.append({ time, ...each });
    names.table.flush();
  }

  #readStates(): void {
    if (this.#final !== null) return;
    const states = this.#binding.samplerStates(this.#id, this.#nativeStates);
    this.#nativeStates += states.length;
    if (states.length > 0) this.#addStates(states);
  }

  #addStates(states: readonly StateRow[]): void {
    if (this.#final !== null) return;
    for (const state of states) {
      this.#states.push(state);
      if (this.#states.length > MAX_STATES) this.#states.shift();
      this.#state.append({ ...state });
    }
    this.#state.flush();
  }

  #onFed(): void {
    const feeds = [...this.#fed, ...this.#isolated];
    const total = (): number => feeds.reduce((sum, feed) => sum + feed.waitingBytes, 0);
    while (total() > this.#options.maxUndeliveredBytes) {
      const largest = feeds.reduce((a, b) => (b.waitingBytes > a.waitingBytes ? b : a));
      if (!largest.dropOldest()) return;
    }
    // Not from within append(): a reader that is served there could append in turn.
    if (this.#waiters.length > 0) queueMicrotask(() => this.#final === null && this.#serve());
  }

  #flushFed(): void {
    for (const table of this.#fed) table.flush();
  }

  #stats(): SamplerStats {
    const native = this.#binding.samplerStats(this.#id) as NativeSamplerStats;
    const tables = native.tables.map((table, index) => {
      const { info } = this.#readers[index] as NativeTableReader;
      return { table: info.name, intervalMs: info.intervalMs, ...table };
    });
    const feeds = [...this.#fed, ...this.#isolated];
    const waiting = feeds.reduce((sum, feed) => sum + feed.waitingBytes, 0);
    const isolated = this.#isolated.map((source) => source.stats());
    return {
      tables: [
        ...tables,
        ...isolated.flatMap((source) => source.tables),
        ...this.#fed.map((table) => table.stats()),
      ],
      cpuNs: isolated.reduce((sum, source) => sum + source.cpuNs, native.cpuNs),
      undeliveredBytes: native.undeliveredBytes + waiting,
      memoryBytes: isolated.reduce(
        (sum, source) => sum + source.memoryBytes,
        native.memoryBytes + waiting,
      ),
      deliveredBytes: native.deliveredBytes,
      elapsedNs: native.elapsedNs,
    };
  }

  /** While somebody waits for a batch the process must not end for want of work. */
  #hold(): void {
    if (this.#final !== null) return;
    const hold = this.#options.keepAlive || this.#waiters.length > 0;
    this.#binding.holdSampler(this.#id, hold);
    for (const source of this.#isolated) source.hold(hold);
  }

  #armEnd(): void {
    const end = this.#startNs + BigInt(this.#options.durationNs);
    const leftMs = Number(end - this.#binding.monotonicNs()) / 1e6;
    const onTime = (): void => (leftMs > LONGEST_TIMER_MS ? this.#armEnd() : void this.close());
    this.#endTimer = setTimeout(onTime, Math.min(Math.max(Math.ceil(leftMs), 0), LONGEST_TIMER_MS));
    if (!this.#options.keepAlive) this.#endTimer.unref();
  }

  #checkOpen(): void {
    if (this.#closed !== null) throw new WarpgaugeError('ERR_CLOSED', 'The sampler is closed');
  }
}

/** A table of the script may have the name of one of a source (`cpu.system`): they would share a file. */
function checkTableNames(tables: readonly TableInfo[]): void {
  const names = tables.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw invalidArgument('tables', 'names that differ', twice);
}

/**
 * Samples what `sources` name, on threads of its own, until it is closed. Each batch is a whole Arrow record batch over the
 * memory that the thread wrote: nothing is copied. A batch that nobody takes waits; beyond `maxUndeliveredBytes` the oldest
 * is dropped, and the next one of its table says so in `dropped`.
 *
 * A source that this machine cannot have (no driver, no cgroup v2) is a row of the table `state`; when none can be had, and
 * there are no `tables`, the promise is rejected with the reason of the first.
 *
 * @throws WarpgaugeError `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_SOURCE`, `ERR_UNKNOWN_EVENT`, `ERR_GONE`, `ERR_PERMISSION`:
 *   each with the fix. `ERR_INTERRUPTED` when `signal` is aborted before all sources are open.
 * @example
 * ```ts
 * await using sampler = await monitor.sample({
 *   sources: [monitor.vmstat({ intervalMs: 10 })],
 *   durationMs: 1000,
 * });
 * for await (const { table, batch } of sampler) console.log(table, batch.numRows);
 * ```
 */
export async function sample(options: SampleOptions): Promise<Sampler> {
  const checked = checkOptions(options);
  const scripts = (options.tables ?? []).map(scriptTable);
  const arrow = await import('../arrow.ts');
  const binding = loadBinding();
  const interrupted = (): WarpgaugeError =>
    new WarpgaugeError('ERR_INTERRUPTED', 'The signal was aborted before sampling began', {
      cause: options.signal?.reason,
    });
  const isAborted = (): boolean => options.signal?.aborted === true;
  if (isAborted()) throw interrupted();
  // Loaded for whoever asks for it: it brings child_process.
  const { openIsolated } =
    checked.isolated.length > 0
      ? await import('./isolated-feed.ts')
      : { openIsolated: async () => [] };
  const isolated: readonly IsolatedFeed[] = await openIsolated(checked);

  let sampler: NativeSampler | null = null;
  let onOpened: (() => void) | null = null;
  const id = binding.openSampler(
    {
      sources: checked.sources,
      batchNs: Math.round(checked.batchMs * 1e6),
      maxUndeliveredBytes: checked.maxUndeliveredBytes,
      mayLackAll: scripts.length > 0 || isolated.some((source) => source.failure === null),
    },
    () => (sampler === null ? onOpened?.() : sampler.onReady()),
  );
  const stopOpening = (): void => onOpened?.();
  try {
    binding.holdSampler(id, true);
    options.signal?.addEventListener('abort', stopOpening, { once: true });
    while (binding.openedSampler(id) === null) {
      if (isAborted()) throw interrupted();
      await new Promise<void>((resolve) => {
        onOpened = resolve;
      });
    }
    sampler = new NativeSampler(arrow, binding, id, checked, scripts, isolated);
    checkTableNames(sampler.tables);
    sampler.start(options.signal);
    return sampler;
  } catch (error) {
    binding.releaseSampler(id);
    await Promise.all(isolated.map((source) => source.close()));
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', stopOpening);
  }
}
