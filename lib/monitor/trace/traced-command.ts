import type { Binding, NativeTrace } from '../../addon.ts';
import type { CommandEnd, HeldCommand } from '../recording/held-command.ts';
import type { Row, SampledBatch, Sampler, SamplerStats, StateRow, TableInfo } from '../types.ts';
import { removeTraceFolder } from './environment.ts';

/** A command that runs and is traced: a sampler that ends when the command has ended. */
export interface TracedCommand extends Sampler {
  readonly pid: number;
  /** Resolves when the command has ended; what it recorded is still being read then. */
  readonly ended: Promise<CommandEnd>;
  /** Begins or stops tracing in all its processes; they need up to `flushMs` to hear it. */
  setTracing(tracing: boolean): void;
  /** Whether its processes are asked to trace at this moment. */
  readonly tracing: boolean;
  /** Passes a signal on to the command. */
  kill(signal: NodeJS.Signals): void;
}

/** When to trace. */
export interface TraceWindow {
  readonly delayMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly startMark: string | undefined;
  readonly stopMark: string | undefined;
}

/** What `monitor.traceCommand` gives. */
export class TracedSampler implements TracedCommand {
  readonly pid: number;
  readonly ended: Promise<CommandEnd>;
  readonly #sampler: Sampler;
  readonly #child: HeldCommand;
  readonly #binding: Binding;
  readonly #trace: NativeTrace;
  readonly #dir: string;
  readonly #window: TraceWindow;
  #timer: NodeJS.Timeout | undefined;
  #tracing: boolean;
  #closed: Promise<void> | null = null;

  constructor(
    sampler: Sampler,
    child: HeldCommand,
    binding: Binding,
    trace: NativeTrace,
    dir: string,
    window: TraceWindow,
  ) {
    this.#sampler = sampler;
    this.#child = child;
    this.#binding = binding;
    this.#trace = trace;
    this.#dir = dir;
    this.#window = window;
    this.#tracing = window.delayMs === undefined && window.startMark === undefined;
    this.pid = child.pid;
    this.ended = child.ended;
  }

  get tracing(): boolean {
    return this.#tracing;
  }

  get tables(): readonly TableInfo[] {
    return this.#sampler.tables;
  }

  get states(): readonly StateRow[] {
    return this.#sampler.states;
  }

  /** Lets the command run. */
  start(): void {
    const { delayMs, durationMs } = this.#window;
    if (delayMs !== undefined) this.#after(delayMs, true);
    else if (this.#tracing && durationMs !== undefined) this.#after(durationMs, false);
    this.#child.release();
    // In a turn of its own, so that who waits for the end can say why before all is over.
    const close = (): void => void setImmediate(() => void this.close());
    this.ended.then(close, close);
  }

  setTracing(tracing: boolean): void {
    if (this.#closed !== null) return;
    clearTimeout(this.#timer);
    this.#tracing = tracing;
    this.#binding.setTracing(this.#trace.id, tracing);
    if (tracing && this.#window.durationMs !== undefined) {
      this.#after(this.#window.durationMs, false);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  [Symbol.asyncIterator](): AsyncIterator<SampledBatch, undefined> {
    return this.#sampler[Symbol.asyncIterator]() as AsyncIterator<SampledBatch, undefined>;
  }

  latest(): Readonly<Record<string, readonly Row[]>> {
    return this.#sampler.latest();
  }

  stats(): SamplerStats {
    return this.#sampler.stats();
  }

  pause(): void {
    this.#sampler.pause();
  }

  flush(): void {
    this.#sampler.flush();
  }

  resume(): void {
    this.#sampler.resume();
  }

  mark(name: string, attributes?: Readonly<Record<string, string | number | boolean>>): void {
    if (attributes === undefined) this.#sampler.mark(name);
    else this.#sampler.mark(name, attributes);
    this.seeMark(name);
  }

  /** A mark that was set by another way, such as `warpgauge mark`. */
  seeMark(name: string): void {
    if (name === this.#window.startMark) this.setTracing(true);
    else if (name === this.#window.stopMark) this.setTracing(false);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#child.abandon();
    try {
      await this.#sampler.close();
    } finally {
      this.#binding.releaseTrace(this.#trace.id);
      await removeTraceFolder(this.#dir);
    }
  }

  #after(ms: number, tracing: boolean): void {
    this.#timer = setTimeout(() => this.setTracing(tracing), ms);
    this.#timer.unref();
  }
}
