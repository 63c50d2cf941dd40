import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const meminfoDescriptor: SourceDescriptor = {
  name: 'meminfo',
  help: 'Every line of /proc/meminfo in bytes: free, available, cached, anonymous, huge pages.',
  defaultIntervalMs: 100,
  options: {},
  needs: '',
};

/**
 * Table `meminfo`: one row per tick with every line of `/proc/meminfo` of the running kernel. Names are the kernel's in
 * snake_case; what it gives in kB is in bytes (`MemAvailable` is `mem_available_bytes`, `Active(anon)` is
 * `active_anon_bytes`), the `HugePages_` lines are counts of pages of the default size (`huge_pages_free`).
 *
 * Default interval 100 ms; a read costs about 6 us.
 */
export function meminfo(options: TickOptions = {}): SourceSpec {
  return { source: 'meminfo', ...options, options: {} };
}
