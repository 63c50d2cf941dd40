/** Aborts on Ctrl-C, on a polite kill and when the terminal goes; {@link Interrupt.close} gives the signals back. */
export interface Interrupt {
  readonly signal: AbortSignal;
  close(): void;
}

/**
 * From now on a signal no longer ends the process: the caller undoes what it did and then ends. A second
 * Ctrl-C changes nothing, because giving pages back is short and must not be cut.
 */
export function catchInterrupt(onFirst: () => void = () => {}): Interrupt {
  const abort = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (abort.signal.aborted) return;
    onFirst();
    abort.abort(name);
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  return {
    signal: abort.signal,
    close() {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

/** Resolves when the signal aborts; unlike the signal itself it keeps the process alive until then. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 2 ** 31 - 1);
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive);
        resolve();
      },
      { once: true },
    );
  });
}

/** Aborts with the first of several. Not AbortSignal.any: in Node 20 what it gives may be collected before it aborts. */
export function firstOf(...signals: readonly AbortSignal[]): AbortSignal {
  const abort = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) abort.abort();
    signal.addEventListener('abort', () => abort.abort(), { once: true });
  }
  return abort.signal;
}
