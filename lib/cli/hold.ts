import type { Command } from 'commander';
import type { GuardianReport } from '../mitigate/index.ts';
import { parseDurationNs } from '../units.ts';
import { INTERRUPTED } from './failure.ts';
import { firstOf, untilAborted } from './interrupt.ts';
import { explain } from './output.ts';

/** Flags of a command whose change may end by itself. */
export interface HoldFlags {
  readonly hold?: true;
  readonly ttl?: string;
  readonly guardian: boolean;
}

/** Adds `--hold`, `--ttl` and `--no-guardian`. `back`: what is done at the end; `recover`: what does it after a kill. */
export function holdOptions(command: Command, back: string, recover: string): Command {
  return command
    .option('--hold', `keep it until Ctrl-C (or --ttl), then ${back}`)
    .option('--ttl <time>', `${back} after this time, such as 10m`)
    .option('--no-guardian', `after a kill of --hold, or a --ttl, leave it to: ${recover}`);
}

/** `--ttl` in ms. */
export function ttlMsOf({ ttl }: HoldFlags): number | undefined {
  return ttl === undefined ? undefined : parseDurationNs('--ttl', ttl) / 1e6;
}

/** How long a change lives and who ends it. One that is to stay needs nobody to put it back. */
export function leaseOf(flags: HoldFlags): {
  readonly guardian: boolean;
  readonly ttlMs?: number;
} {
  const ttlMs = ttlMsOf(flags);
  const ends = flags.hold === true || ttlMs !== undefined;
  return { guardian: flags.guardian && ends, ...(ttlMs === undefined ? {} : { ttlMs }) };
}

/** Says who puts back what a killed process held. */
export function explainGuardian(guardian: GuardianReport): void {
  explain(
    guardian.pid === null ? `no guardian: ${guardian.reason}` : `guardian: pid ${guardian.pid}`,
  );
}

/** Timers of Node take no more; what is longer ends at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Aborts when `ms` are over, however many; not before. `close` ends it sooner. */
export function afterMs(ms: number): { readonly signal: AbortSignal; close(): void } {
  const abort = new AbortController();
  const end = performance.now() + ms;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    const left = Math.ceil(end - performance.now());
    if (left <= 0) abort.abort();
    else timer = setTimeout(wait, Math.min(left, LONGEST_TIMER_MS));
  };
  wait();
  return { signal: abort.signal, close: () => clearTimeout(timer) };
}

/** Waits for Ctrl-C or the end of `--ttl`; true: it was interrupted, and the exit code is set. */
export async function whileHeld(
  signal: AbortSignal,
  { ttlMs, expires }: { readonly ttlMs: number | undefined; readonly expires: string | null },
): Promise<boolean> {
  explain(`held by pid ${process.pid} until ${expires === null ? '' : `${expires} or `}Ctrl-C`);
  if (ttlMs === undefined) await untilAborted(signal);
  else {
    const over = afterMs(ttlMs);
    await untilAborted(firstOf(signal, over.signal));
    over.close();
  }
  if (signal.aborted) process.exitCode = INTERRUPTED;
  return signal.aborted;
}
