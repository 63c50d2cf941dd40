import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const hugepagesDescriptor: SourceDescriptor = {
  name: 'hugepages',
  help: 'Pools of huge pages: per size and NUMA node, and what the whole pool has reserved.',
  defaultIntervalMs: 1000,
  options: {},
  needs: '',
};

/**
 * Tables `hugepages` and `hugepages.pool`, counts of pages.
 *
 * - `hugepages`: one row per tick, page size and NUMA node, keys `page_size` (`2m`, `1g`) and `node`: `nr_hugepages`,
 *   `free_hugepages`, `surplus_hugepages`, and `page_size_bytes`.
 * - `hugepages.pool`: one row per tick and page size, the same three for the whole machine, and `resv_hugepages` (promised
 *   to mappings, not yet touched) and `nr_overcommit_hugepages` (how many the kernel may add by itself).
 *
 * Default interval 1 s; about 1 us per file, three files per row of `hugepages`, five per row of `hugepages.pool`.
 */
export function hugepages(options: TickOptions = {}): SourceSpec {
  return { source: 'hugepages', ...options, options: {} };
}
