import { loadBinding } from '../addon.ts';
import { WarpgaugeError } from '../errors.ts';
import type { StateOptions } from '../host/state-folder.ts';
import { readJournal } from './transaction/journal.ts';
import type { Step } from './transaction/kind.ts';
import { listTransactions } from './transaction/settle.ts';

/** A change that is about to be made. */
export interface Upcoming {
  /** Name of its kind, which is that of its commands, too. */
  readonly action: 'mig' | 'power' | 'thp';
  /** The device of its lock. */
  readonly device: string;
  /** What somebody has done for a time, for the message: `GPU-... is divided`. */
  readonly what: string;
  /** Only what these steps set is in the way. Default: any change of the device. */
  readonly steps?: readonly Step[];
}

/**
 * What was made for a time and left by its process is taken back at that time. A change on top of it would then stand in
 * its way, be left as somebody else's, and put back a value that was to be gone: it is refused (`ERR_REFUSED`). Under the
 * lock of the device.
 */
export function refuseLeased(
  { action, device, what, steps }: Upcoming,
  options: StateOptions,
): void {
  for (const { state, path, pid, command, records } of listTransactions({ ...options, action })) {
    if (state !== 'committed') continue;
    const { header, entries } = readJournal(path);
    const expires = entries.findLast((entry) => entry.type === 'lease')?.expires ?? null;
    if (expires === null || header?.locks.includes(device) !== true) continue;
    const same = records.some(({ op, target }) =>
      steps?.some((step) => step.op === op && step.target === target),
    );
    if (steps !== undefined && !same) continue;
    const uptimeMs = Number(loadBinding().readClockAnchor().boottimeNs) / 1e6;
    const until = new Date(Date.now() + expires - uptimeMs).toISOString();
    throw new WarpgaugeError(
      'ERR_REFUSED',
      `${what} for a time until ${until}, by pid ${pid} (${command ?? 'unknown command'})`,
      { source: path, fix: `End that first: warpgauge ${action} release` },
    );
  }
}
