import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { utcOffsetNs } from '../../clock.ts';
import { WarpgaugeError } from '../../errors.ts';
import type { SampledBatch, Sampler, SamplerStats, StateRow, TableInfo } from '../types.ts';
import { ClockWatch } from './clock-watch.ts';
import { FlightRing } from './flight-ring.ts';
import { isNameTable, KnownNames } from './known-names.ts';
import { type RecordingEnd, removeRecording } from './manifest.ts';
import { checkMarkName } from './mark-inbox.ts';
import { outputError } from './output-error.ts';
import { newRun, type PartOptions, RecordingPart } from './part.ts';

const TICK_MS = 1000;
const FLIGHT_MAX_BYTES = 256 * 1024 ** 2;

/** All options of a recorder, checked and complete; see `RecordOptions` for what they mean. */
export interface RecorderOptions {
  /** An empty folder. */
  readonly out: string;
  readonly batchMs: number;
  readonly holdMs: number;
  readonly maxBytes: number | null;
  readonly rotateMs: number | null;
  readonly keep: number | null;
  readonly lastMs: number | null;
  readonly limited: boolean;
  readonly argv: readonly string[];
  readonly command: readonly string[] | null;
  readonly signal: AbortSignal | null;
  /** Told of marks that other processes set (`warpgauge mark`). */
  readonly onMark?: ((name: string) => void) | undefined;
}

/** What a recording has written so far. */
export interface RecordingStats {
  readonly sampler: SamplerStats;
  /** Rows and bytes on disk, in all parts that were written. */
  readonly rows: number;
  readonly bytes: number;
  /** Folders that hold them, in order. */
  readonly parts: readonly string[];
  /** Bytes that a flight recorder keeps in memory. */
  readonly keptBytes: number;
}

/** How a recording ended. */
export interface RecordingResult {
  readonly end: RecordingEnd;
  readonly parts: readonly string[];
}

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** A running recording; see `monitor.record`. */
export interface Recording extends AsyncDisposable {
  /** The folder that was asked for. With `rotateMs` or `lastMs` it holds one folder per part. */
  readonly dir: string;
  readonly tables: readonly TableInfo[];
  /** What could not be had, or not at the asked rate. */
  readonly states: readonly StateRow[];
  /** Names this moment in the table `mark`. */
  mark(name: string, attributes?: Attributes): void;
  stats(): RecordingStats;
  /** Flight recorder only: writes what the last `lastMs` brought and goes on. Returns the folder. */
  dump(): Promise<string>;
  /**
   * Resolves when the recording has ended, by itself (duration, `maxBytes`, signal) or by `close`; rejects with
   * `ERR_OUTPUT` when the disk did not take what was written: the files then end with their last whole batch.
   */
  readonly done: Promise<RecordingResult>;
  /** Ends the recording; what was sampled is written. Idempotent; rejects as `done` does. `end` is for the manifest. */
  close(end?: 'closed' | 'command' | 'interrupted'): Promise<RecordingResult>;
}

/** Writes what a sampler gives into a folder. */
export class Recorder implements Recording {
  readonly dir: string;
  readonly #sampler: Sampler;
  readonly #options: RecorderOptions;
  readonly #clocks = new ClockWatch();
  readonly #ring: FlightRing | null;
  /** Where there is more than one folder to write them into. */
  readonly #names: KnownNames | null;
  readonly #run = newRun();
  #part: RecordingPart | null = null;
  #parts: string[] = [];
  /** Bytes and rows of the parts that are closed, by folder. */
  readonly #closed = new Map<string, { readonly bytes: number; readonly rows: number }>();
  #partStarted = 0;
  #number = 0;
  /** Rows of the table `state` that the sampler has given. */
  #statesTaken = 0;
  #end: RecordingEnd | null = null;
  #error: WarpgaugeError | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  #ticking = false;
  #done: Promise<RecordingResult> | null = null;

  private constructor(sampler: Sampler, options: RecorderOptions) {
    this.dir = options.out;
    this.#sampler = sampler;
    this.#options = options;
    this.#ring =
      options.lastMs === null
        ? null
        : new FlightRing(
            options.lastMs + 2 * options.batchMs,
            options.maxBytes ?? FLIGHT_MAX_BYTES,
          );
    this.#names = options.lastMs === null && options.rotateMs === null ? null : new KnownNames();
  }

  /**
   * Starts to write into an empty folder. The sampler is the recorder's from here on: it is closed with the recording,
   * and also when this fails.
   */
  static async start(sampler: Sampler, options: RecorderOptions): Promise<Recording> {
    const recorder = new Recorder(sampler, options);
    try {
      if (recorder.#ring === null) await recorder.#openPart();
    } catch (error) {
      await sampler.close();
      throw error;
    }
    recorder.#done = recorder.#record();
    // Who only awaits close() must not be told of an unhandled rejection.
    recorder.#done.catch(() => undefined);
    return recorder;
  }

  get done(): Promise<RecordingResult> {
    return this.#done as Promise<RecordingResult>;
  }

  get tables(): readonly TableInfo[] {
    return this.#sampler.tables;
  }

  get states(): readonly StateRow[] {
    return this.#sampler.states;
  }

  mark(name: string, attributes?: Attributes): void {
    checkMarkName(name);
    if (attributes === undefined) this.#sampler.mark(name);
    else this.#sampler.mark(name, attributes);
  }

  stats(): RecordingStats {
    let bytes = this.#part?.bytes ?? 0;
    let rows = this.#part?.rows ?? 0;
    for (const part of this.#closed.values()) {
      bytes += part.bytes;
      rows += part.rows;
    }
    return {
      sampler: this.#sampler.stats(),
      rows,
      bytes,
      parts: [...this.#parts],
      keptBytes: this.#ring === null ? 0 : this.#ring.bytes + (this.#names?.bytes ?? 0),
    };
  }

  async dump(): Promise<string> {
    const ring = this.#ring;
    if (ring === null) {
      throw new WarpgaugeError('ERR_RECORDING', 'Only a flight recorder (lastMs) can be dumped');
    }
    // Rows of this moment are still on their way: after one batch they are here.
    await sleep(Math.ceil(this.#options.batchMs * 1.5));
    return this.#exclusive(() => this.#dump(ring));
  }

  async close(end: RecordingEnd = 'closed'): Promise<RecordingResult> {
    this.#end ??= end;
    await this.#sampler.close();
    return this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #record(): Promise<RecordingResult> {
    const { signal } = this.#options;
    const onAbort = (): void => this.#stop('interrupted');
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    const timer = setInterval(() => void this.#tick(), TICK_MS);
    try {
      for await (const given of this.#sampler) await this.#exclusive(() => this.#take(given));
    } catch (error) {
      this.#fail(error);
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', onAbort);
      await this.#sampler.close();
    }
    return this.#exclusive(() => this.#finish());
  }

  async #take(given: SampledBatch): Promise<void> {
    if (this.#error !== null) return;
    const { table, batch } = given;
    if (this.#ring !== null) return this.#keep(this.#ring, given);
    const { maxBytes, rotateMs } = this.#options;
    // Before the batch, not after it: there is no part without rows.
    if (rotateMs !== null && performance.now() - this.#partStarted >= rotateMs) {
      await this.#rotate();
    }
    await this.#part?.write(table, batch);
    if (table === 'state') this.#statesTaken += batch.numRows;
    if (isNameTable(table)) this.#names?.add(table, batch);
    if (maxBytes !== null && rotateMs === null && (this.#part?.bytes ?? 0) >= maxBytes) {
      this.#stop('max-bytes');
    }
  }

  /** What a flight recorder writes has all states and names, however old. */
  #keep(ring: FlightRing, given: SampledBatch): void {
    if (isNameTable(given.table)) this.#names?.add(given.table, given.batch);
    else if (given.table !== 'state') ring.add(given);
  }

  /** Once a second. A tick that finds the one before it at work (a slow disk) is left out. */
  async #tick(): Promise<void> {
    if (this.#ticking) return;
    this.#ticking = true;
    try {
      await this.#exclusive(async () => {
        if (this.#error !== null) return;
        await this.#part?.tick(this.#sampler.stats(), TICK_MS);
      });
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#ticking = false;
    }
  }

  async #openPart(): Promise<void> {
    const { out, rotateMs } = this.#options;
    this.#number++;
    const dir = rotateMs === null ? out : join(out, partName(this.#number));
    const stats = this.#sampler.stats();
    // What the sampler did before the first part is in its first batches.
    const part = await RecordingPart.create({
      ...this.#partOptions(dir, this.#number === 1 ? zeroOf(stats) : stats),
      part: rotateMs === null ? null : this.#number,
      live: true,
    });
    this.#part = part;
    this.#parts.push(part.dir);
    this.#partStarted = performance.now();
    await part.state(this.#sampler.states.slice(0, this.#statesTaken));
    for (const { table, batch } of this.#names ?? []) await part.write(table, batch);
  }

  async #rotate(): Promise<void> {
    await this.#closePart('rotated');
    await this.#openPart();
    await this.#forgetParts();
  }

  async #forgetParts(): Promise<void> {
    const { keep, maxBytes } = this.#options;
    const tooMany = (): boolean => keep !== null && this.#parts.length > keep;
    const tooLarge = (): boolean => maxBytes !== null && this.stats().bytes > maxBytes;
    while (this.#parts.length > 1 && (tooMany() || tooLarge())) {
      const dir = this.#parts.shift() as string;
      this.#closed.delete(dir);
      await removeRecording(dir).catch((cause) => {
        throw outputError(dir, cause);
      });
    }
  }

  async #closePart(end: RecordingEnd): Promise<void> {
    const part = this.#part;
    if (part === null) return;
    await part.close(this.#sampler.stats(), end);
    this.#closed.set(part.dir, { bytes: part.bytes, rows: part.rows });
    this.#part = null;
  }

  async #dump(ring: FlightRing): Promise<string> {
    this.#number++;
    const { batches, countsOf } = ring.contents();
    const stats = countsOf(this.#sampler.stats());
    const part = await RecordingPart.create({
      ...this.#partOptions(join(this.dir, partName(this.#number)), zeroOf(stats)),
      part: this.#number,
      live: false,
    });
    try {
      for (const { table, batch } of [...(this.#names ?? []), ...batches]) {
        await part.write(table, batch);
      }
      await part.state(this.#sampler.states);
      await part.close(stats, 'closed');
    } catch (cause) {
      const error = outputError(part.dir, cause);
      await part.fail(stats, error);
      throw error;
    }
    this.#parts.push(part.dir);
    this.#closed.set(part.dir, { bytes: part.bytes, rows: part.rows });
    return part.dir;
  }

  async #finish(): Promise<RecordingResult> {
    const end = this.#end ?? (this.#options.limited ? 'duration' : 'closed');
    if (this.#error === null) {
      try {
        if (this.#ring === null) await this.#closePart(end);
        else await this.#dump(this.#ring);
      } catch (error) {
        this.#fail(error);
      }
    }
    if (this.#error !== null) {
      await this.#part?.fail(this.#sampler.stats(), this.#error);
      throw this.#error;
    }
    return { end, parts: [...this.#parts] };
  }

  #fail(error: unknown): void {
    this.#error ??= outputError(this.dir, error);
    this.#stop('failed');
  }

  #stop(end: RecordingEnd): void {
    this.#end ??= end;
    this.#sampler.close().catch(() => undefined); // closed again, and awaited, when the batches end
  }

  #partOptions(dir: string, before: SamplerStats): Omit<PartOptions, 'part' | 'live'> {
    const { batchMs, holdMs, argv, command, onMark } = this.#options;
    return {
      onMark,
      dir,
      tables: this.#sampler.tables,
      utcOffsetNs: utcOffsetNs(),
      batchMs,
      holdMs,
      argv,
      command,
      run: this.#run,
      clocks: this.#clocks,
      before,
    };
  }

  /** Batches, ticks and dumps come one after the other. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

const partName = (number: number): string => String(number).padStart(6, '0');

/** Counts that a difference to is the counts themselves. */
function zeroOf(stats: SamplerStats): SamplerStats {
  return { ...stats, tables: [] };
}
