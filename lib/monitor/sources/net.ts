import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const netDescriptor: SourceDescriptor = {
  name: 'net',
  help: 'Every network interface of /proc/net/dev: bytes, packets, errors, drops.',
  defaultIntervalMs: 100,
  options: {},
  needs: '',
};

/**
 * Table `net`: one row per tick and network interface, key `interface`: `receive_bytes`, `receive_packets`,
 * `receive_errors`, `receive_dropped` and so on, and the same for `transmit_`, as the driver counts them.
 *
 * Interfaces are those of this process's own network namespace: in a container its own. Under `WARPGAUGE_ROOT` they are
 * those of the host's process 1, because `/proc/net` always shows the reader's.
 *
 * Default interval 100 ms; a read costs about 11 us with four interfaces.
 */
export function net(options: TickOptions = {}): SourceSpec {
  return { source: 'net', ...options, options: {} };
}
