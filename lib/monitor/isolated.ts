import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { RecordBatch, Schema } from '../arrow.ts';
import { utcOffsetNs } from '../clock.ts';
import { type ErrorCode, WarpgaugeError } from '../errors.ts';
import {
  addStats,
  type Command,
  type Frame,
  type FrameHeader,
  FrameReader,
  type IsolatedStats,
  type TableHeader,
} from './isolated-frames.ts';
import type { Row, SampledBatch, SourceSpec, StateRow, TableInfo, TableStats } from './types.ts';

/** Where an isolated source delivers; called on the thread that opened it. */
export interface IsolatedSink {
  batch(batch: SampledBatch): void;
  state(row: StateRow): void;
}

export interface IsolatedOptions {
  /** Name of the source in tables and states; default: the source's name. */
  readonly instance: string;
  readonly batchMs?: number;
  readonly maxUndeliveredBytes?: number;
  /** Keep the process alive. Default false; `ref()` changes it. */
  readonly keepAlive?: boolean;
  /** First wait before a helper that died is started again, ms; doubles up to 30 s. Default 1,000. */
  readonly restartMs?: number;
}

const RESTART_MAX_MS = 30_000;
/** A helper that ran this long was sound: the next wait is the first one again. */
const SOUND_MS = 60_000;
/** close() waits this long for the helper to hand over what it has, then kills it. */
const CLOSE_MS = 450;
/** And this long for a second after another was slow: several that hang must not take a second together. */
const CLOSE_NEXT_MS = 100;
const SLOW_CLOSE_MS = 300;
let slowCloseAt = Number.NEGATIVE_INFINITY;
const CHILD = fileURLToPath(new URL('./isolated-child.js', import.meta.url));

interface Helper {
  readonly child: ChildProcess;
  readonly frames: FrameReader;
  readonly startedAt: number;
  /** What to add to the times of this helper to be on our offset to UTC. */
  shiftNs: bigint;
  ready: boolean;
}

/**
 * A source that a helper process reads, so that a crash of a driver library leaves this process alive: it is then a row of
 * the `state` table (`crashed`, with the number of the signal), and the helper is started again after 1 s, 2 s ... 30 s.
 * Batches arrive as Arrow IPC through a pipe; times are on the clock of this process. What the helper had not
 * delivered when it crashed, at most `batchMs`, is lost.
 */
export class IsolatedSource {
  readonly #spec: SourceSpec;
  readonly #options: IsolatedOptions;
  readonly #sink: IsolatedSink;
  readonly #tables = new Map<string, TableInfo>();
  readonly #latest = new Map<string, RecordBatch>();
  readonly #before = new Map<string, TableStats>();
  readonly #now = new Map<string, TableStats>();
  #cpuBeforeNs = 0;
  #cpuNowNs = 0;
  #memoryBytes = 0;
  #helper: Helper | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waitMs: number;
  #closed = false;
  #paused = false;
  #refed: boolean;
  #settle: { resolve: () => void; reject: (error: WarpgaugeError) => void } | undefined;
  #arrow: typeof import('../arrow.ts') | undefined;

  private constructor(spec: SourceSpec, options: IsolatedOptions, sink: IsolatedSink) {
    this.#spec = spec;
    this.#options = options;
    this.#sink = sink;
    this.#waitMs = options.restartMs ?? 1000;
    this.#refed = options.keepAlive ?? false;
  }

  /**
   * Starts the helper and waits until it samples.
   *
   * @throws {WarpgaugeError} What opening the source in the helper threw; ERR_CHILD_DIED if it died while opening.
   */
  static async open(
    spec: SourceSpec,
    options: IsolatedOptions,
    sink: IsolatedSink,
  ): Promise<IsolatedSource> {
    const source = new IsolatedSource(spec, options, sink);
    source.#arrow = await import('../arrow.ts');
    await new Promise<void>((resolve, reject) => {
      source.#settle = { resolve, reject };
      source.#start();
    });
    return source;
  }

  /** Fixed after opening. */
  get tables(): readonly TableInfo[] {
    return [...this.#tables.values()];
  }

  /** Process id of the helper, undefined while there is none. */
  get pid(): number | undefined {
    return this.#helper?.child.pid;
  }

  /** Rows of the last tick of each sample table, as old as its last batch. */
  latest(): Record<string, readonly Row[]> {
    const rows: Record<string, readonly Row[]> = {};
    for (const [name, batch] of this.#latest) {
      const info = this.#tables.get(name);
      if (info?.kind === 'sample') rows[name] = lastTick(batch, info.intervalMs);
    }
    return rows;
  }

  /** Of all helpers so far, as the helper told at most 0.5 s ago. */
  stats(): IsolatedStats {
    const tables = [...this.#tables.keys()].flatMap((name) => {
      const now = this.#now.get(name) ?? this.#before.get(name);
      if (now === undefined) return [];
      return [this.#now.has(name) ? addStats(this.#before.get(name), now) : now];
    });
    return {
      tables,
      cpuNs: this.#cpuBeforeNs + this.#cpuNowNs,
      memoryBytes: this.#memoryBytes,
    };
  }

  pause(): void {
    this.#paused = true;
    this.#send({ kind: 'pause' });
  }

  resume(): void {
    this.#paused = false;
    this.#send({ kind: 'resume' });
  }

  ref(): void {
    this.#refed = true;
    this.#applyRef();
  }

  unref(): void {
    this.#refed = false;
    this.#applyRef();
  }

  /** Lets the helper hand over what it has and ends it, within 1 s also when it hangs. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const helper = this.#helper;
    if (helper === undefined) return;
    this.#refed = true;
    this.#applyRef();
    const begin = performance.now();
    const patience = begin - slowCloseAt < 1000 ? CLOSE_NEXT_MS : CLOSE_MS;
    await new Promise<void>((resolve) => {
      const kill = setTimeout(() => helper.child.kill('SIGKILL'), patience);
      helper.child.once('close', () => {
        clearTimeout(kill);
        resolve();
      });
      this.#send({ kind: 'close' });
    });
    if (performance.now() - begin >= SLOW_CLOSE_MS) slowCloseAt = performance.now();
  }

  #start(): void {
    // Not inherited: flags such as --test or --inspect are for this process.
    const child = spawn(process.execPath, [CHILD], {
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
      execArgv: [],
    } as Parameters<typeof spawn>[2]);
    const helper: Helper = {
      child,
      frames: new FrameReader(),
      startedAt: performance.now(),
      shiftNs: 0n,
      ready: false,
    };
    this.#helper = helper;
    // A pipe that breaks is seen as the end of the helper, below.
    child.stdin?.on('error', () => {});
    const pipe = child.stdio[3] as Socket;
    pipe.on('error', () => {});
    pipe.on('data', (piece: Buffer) => this.#receive(helper, piece));
    child.on('error', (cause) => this.#fail('ERR_CHILD_DIED', String(cause), { cause }));
    child.on('close', (status, signal) => this.#ended(helper, status, signal));
    this.#applyRef();
    const { source, instance, intervalMs, options } = this.#spec;
    this.#send({
      kind: 'start',
      spec: {
        source,
        options,
        ...(instance === undefined ? {} : { instance }),
        ...(intervalMs === undefined ? {} : { intervalMs }),
      },
      ...(this.#options.batchMs === undefined ? {} : { batchMs: this.#options.batchMs }),
      ...(this.#options.maxUndeliveredBytes === undefined
        ? {}
        : { maxUndeliveredBytes: this.#options.maxUndeliveredBytes }),
    });
  }

  #send(command: Command): void {
    const stdin = this.#helper?.child.stdin;
    if (stdin?.writable) stdin.write(`${JSON.stringify(command)}\n`);
  }

  #applyRef(): void {
    const child = this.#helper?.child;
    const handles = [child, child?.stdin, child?.stdio[3], this.#timer] as unknown[];
    for (const handle of handles as { ref(): void; unref(): void }[]) {
      if (this.#refed || this.#settle !== undefined) handle?.ref();
      else handle?.unref();
    }
  }

  #receive(helper: Helper, piece: Buffer): void {
    let frames: Frame[];
    try {
      frames = helper.frames.push(piece);
    } catch {
      helper.child.kill('SIGKILL'); // a library printed into our pipe: what follows cannot be read
      return;
    }
    for (const frame of frames) this.#take(helper, frame);
  }

  #take(helper: Helper, { header, payload }: Frame): void {
    const arrow = this.#arrow as typeof import('../arrow.ts');
    switch (header.kind) {
      case 'table':
        this.#table(header.table, arrow.tableFromIPC(payload).schema);
        break;
      case 'ready':
        helper.shiftNs = utcOffsetNs() - BigInt(header.utcOffsetNs);
        helper.ready = true;
        if (this.#paused) this.#send({ kind: 'pause' });
        if (this.#settle === undefined) this.#state('ok', '', 0);
        this.#settle?.resolve();
        this.#settle = undefined;
        this.#applyRef();
        break;
      case 'batch': {
        if (!this.#tables.has(header.table)) break; // the helper's own state and mark tables
        const batch = arrow.tableFromIPC(payload).batches[0];
        if (batch === undefined) break;
        shiftTimes(batch, helper.shiftNs, arrow.DataType.isTimestamp);
        this.#latest.set(header.table, batch);
        const { source, table, dropped } = header;
        this.#sink.batch({ source, table, batch, dropped, ...this.#counts(header) });
        break;
      }
      case 'states':
        for (const row of header.states) {
          this.#sink.state({ ...row, time: BigInt(row.time) + helper.shiftNs });
        }
        break;
      case 'stats':
        for (const table of header.tables) this.#now.set(table.table, table);
        this.#cpuNowNs = header.cpuNs;
        this.#memoryBytes = header.memoryBytes;
        break;
      case 'error': {
        const { code, message, fix, source, status } = header.error;
        this.#fail(code as ErrorCode, String(message), {
          ...(typeof fix === 'string' ? { fix } : {}),
          ...(typeof source === 'string' ? { source } : {}),
          ...(typeof status === 'number' ? { status } : {}),
        });
      }
    }
  }

  /** Those of the helpers before this one come first. */
  #counts({
    table,
    counts,
  }: FrameHeader & { readonly kind: 'batch' }): Pick<SampledBatch, 'counts'> {
    if (counts === undefined) return {};
    const before = this.#before.get(table);
    return {
      counts: {
        ticks: counts.ticks + (before?.ticks ?? 0),
        missed: counts.missed + (before?.missed ?? 0),
      },
    };
  }

  #table(header: TableHeader, schema: Schema): void {
    if (header.source !== this.#options.instance) return;
    // After a restart the first schema stays: readers of this sampler have seen it.
    if (!this.#tables.has(header.name)) this.#tables.set(header.name, { ...header, schema });
  }

  /** The source cannot be opened: rejects open(), or after a restart ends the attempts. */
  #fail(
    code: ErrorCode,
    message: string,
    details: ConstructorParameters<typeof WarpgaugeError>[2],
  ): void {
    if (this.#settle !== undefined) {
      this.#closed = true;
      this.#settle.reject(new WarpgaugeError(code, message, details));
      this.#settle = undefined;
    } else {
      this.#state('unavailable', code, details?.status ?? 0);
    }
  }

  #ended(helper: Helper, status: number | null, signal: NodeJS.Signals | null): void {
    if (this.#helper !== helper) return;
    this.#helper = undefined;
    for (const [name, table] of this.#now) {
      this.#before.set(name, addStats(this.#before.get(name), table));
    }
    this.#now.clear();
    this.#cpuBeforeNs += this.#cpuNowNs;
    this.#cpuNowNs = 0;
    this.#memoryBytes = 0;
    if (this.#closed) return;
    const how = signal === null ? `exit code ${status}` : signal;
    if (this.#settle !== undefined) {
      this.#fail(
        'ERR_CHILD_DIED',
        `The helper process that isolates ${this.#spec.source} died (${how}) while opening it`,
        { status: signal === null ? (status ?? 0) : constants.signals[signal] },
      );
      return;
    }
    this.#latest.clear();
    if (helper.ready) {
      this.#state(
        'crashed',
        signal === null ? 'exited' : signal.toLowerCase(),
        signal === null ? (status ?? 0) : constants.signals[signal],
      );
    }
    if (performance.now() - helper.startedAt > SOUND_MS) {
      this.#waitMs = this.#options.restartMs ?? 1000;
    }
    this.#timer = setTimeout(() => this.#start(), this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, RESTART_MAX_MS);
    this.#applyRef();
  }

  #state(state: string, reason: string, code: number): void {
    const time = process.hrtime.bigint() + utcOffsetNs();
    const source = this.#options.instance;
    this.#sink.state({ time, source, table: '', key: '', field: '', state, reason, code });
  }
}

/** Adds `shiftNs` to every timestamp of a batch that nobody else holds. */
function shiftTimes(
  batch: RecordBatch,
  shiftNs: bigint,
  isTimestamp: (type: unknown) => boolean,
): void {
  if (shiftNs === 0n) return;
  for (const column of batch.data.children) {
    if (!isTimestamp(column.type)) continue;
    const times = column.values as BigInt64Array;
    for (let row = 0; row < times.length; row++) times[row] = (times[row] ?? 0n) + shiftNs;
  }
}

/** Rows within half an interval of the last one: those of one tick also where devices are read one after the other. */
function lastTick(batch: RecordBatch, intervalMs: number | null): Row[] {
  const times = batch.data.children[0]?.values as BigInt64Array | undefined;
  const last = times?.[batch.numRows - 1];
  if (times === undefined || last === undefined) return [];
  const since = last - BigInt(Math.round((intervalMs ?? 0) * 5e5));
  const rows: Row[] = [];
  for (let row = 0; row < batch.numRows; row++) {
    if ((times[row] ?? 0n) < since) continue;
    const values: Record<string, Row[string]> = { ...(batch.get(row)?.toJSON() as Row) };
    values['time'] = times[row] ?? 0n; // Arrow's own getter answers in ms
    rows.push(values);
  }
  return rows;
}
