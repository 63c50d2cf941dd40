import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Busy and total ticks of all processors, from the first line of /proc/stat. */
function ticks(): { busy: number; total: number } {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const total = fields.slice(0, 8).reduce((sum, n) => sum + n, 0);
  return { busy: total - (fields[3] ?? 0) - (fields[4] ?? 0), total };
}

/**
 * Waits until other programs leave the processors alone, for tests whose subject is the noise of a quiet machine.
 *
 * @returns null when it is quiet, else why a test should be skipped.
 */
export async function whyNotQuiet(timeoutMs = 120_000, maxBusy = 0.1): Promise<string | null> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const before = ticks();
    await sleep(2000);
    const after = ticks();
    const share = (after.busy - before.busy) / Math.max(1, after.total - before.total);
    if (share <= maxBusy) return null;
    if (Date.now() > deadline)
      return `other programs use ${Math.round(100 * share)} % of the processors`;
  }
}
