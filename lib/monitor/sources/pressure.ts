import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const pressureDescriptor: SourceDescriptor = {
  name: 'pressure',
  help: 'Pressure stall information: the share of time in which tasks waited for CPU, memory, I/O.',
  defaultIntervalMs: 100,
  options: {},
  needs: 'a kernel with psi=1',
};

/**
 * Table `pressure`: one row per tick and resource, key `resource` (`cpu`, `memory`, `io`, `irq`): `some_total_ns` and
 * `full_total_ns`, the time since boot in which some or all runnable tasks waited for it, and the kernel's averages of that
 * share over 10, 60 and 300 s as ratios 0-1 (`some_avg10_ratio`), renewed every 2 s. What a kernel does not keep for a
 * resource (`some` of `irq`) is null.
 *
 * Default interval 100 ms; about 4 us per resource. Without pressure information: `ERR_UNAVAILABLE`, fix `boot with psi=1`.
 */
export function pressure(options: TickOptions = {}): SourceSpec {
  return { source: 'pressure', ...options, options: {} };
}
