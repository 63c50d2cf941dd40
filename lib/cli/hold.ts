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

/** Waits for Ctrl-C or the end of `--ttl`; true: it was interrupted, and the exit code is set. */
export async function whileHeld(
  signal: AbortSignal,
  { ttlMs, expires }: { readonly ttlMs: number | undefined; readonly expires: string | null },
): Promise<boolean> {
  explain(`held by pid ${process.pid} until ${expires === null ? '' : `${expires} or `}Ctrl-C`);
  await untilAborted(ttlMs === undefined ? signal : firstOf(signal, AbortSignal.timeout(ttlMs)));
  if (signal.aborted) process.exitCode = INTERRUPTED;
  return signal.aborted;
}
