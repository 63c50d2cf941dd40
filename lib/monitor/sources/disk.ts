import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const diskDescriptor: SourceDescriptor = {
  name: 'disk',
  help: 'Every block device of /proc/diskstats: operations, bytes, times, requests in flight.',
  defaultIntervalMs: 100,
  options: {},
  needs: '',
};

/**
 * Table `disk`: one row per tick and block device (disks, partitions, loop and ram devices), key `device`. Since boot:
 * `reads`, `reads_merged`, `read_bytes`, `read_ns`, the same for writes and discards, `flushes`, `flush_ns`, `io_ns` (time
 * with a request in flight), `weighted_io_ns`; now: `in_flight`. Times have the kernel's resolution of 1 ms. Discards need
 * Linux 4.18 and flushes 5.5, else they are null. A device that appears is a new key; one that goes is absent from then on.
 *
 * Default interval 100 ms; a read costs about 16 us with 10 devices.
 */
export function disk(options: TickOptions = {}): SourceSpec {
  return { source: 'disk', ...options, options: {} };
}
