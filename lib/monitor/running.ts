/** What has threads that must end with this JavaScript environment. */
export interface Running {
  /** Ends the threads; what was measured may be lost. Never throws. */
  stopNow(): void;
  /** Tells a span that has ended. */
  endSpan(row: SpanRow): void;
}

/** A row of the table `span`. */
export interface SpanRow {
  /** When it began: UTC, ns. */
  readonly time: bigint;
  readonly duration_ns: bigint;
  readonly name: string;
  readonly attributes: string | null;
}

const running = new Set<Running>();
let listening = false;

function stopAll(): void {
  for (const one of running) one.stopNow();
  running.clear();
}

/**
 * Keeps a sampler from being collected while it runs, and ends its threads when the process ends: `process.exit()` and an
 * uncaught exception run no cleanup hook of the addon on the main thread, but they do emit `exit`.
 */
export function addRunning(one: Running): void {
  running.add(one);
  if (listening) return;
  listening = true;
  process.once('exit', stopAll);
}

export function removeRunning(one: Running): void {
  running.delete(one);
}

export function runningSamplers(): Iterable<Running> {
  return running;
}
