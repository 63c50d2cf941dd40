import { loadBinding } from '../addon.ts';
import { utcOffsetNs } from '../clock.ts';

/**
 * Now, in UTC nanoseconds, on the clock of every `time` column: CLOCK_MONOTONIC plus one offset per process, so that it
 * never steps. The same in all worker threads of the process.
 *
 * @example
 * ```ts
 * const begin = monitor.now();
 * await work();
 * console.log(`${monitor.now() - begin} ns`);
 * ```
 */
export function now(): bigint {
  return loadBinding().monotonicNs() + utcOffsetNs();
}
