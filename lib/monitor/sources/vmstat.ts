import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const vmstatDescriptor: SourceDescriptor = {
  name: 'vmstat',
  help: 'Every counter of /proc/vmstat: faults, reclaim, compaction, huge pages, NUMA.',
  defaultIntervalMs: 100,
  options: {},
  needs: '',
};

/**
 * Table `vmstat`: one row per tick with every line of `/proc/vmstat` of the running kernel, under the kernel's own names
 * (`pgfault`, `nr_free_pages`, `thp_fault_alloc`). `nr_*` are gauges but for the event counters among them; all else counts
 * since boot. Values keep the kernel's units, given in each column's metadata: `pages`, `huge pages`, `KiB` (`pgpgin`,
 * `pgpgout`, `nr_kernel_stack`) or `1`. The kernel folds its per-CPU parts in about once a second, so gauges may be off by
 * some tens of pages per CPU.
 *
 * Default interval 100 ms; a read costs about 20 us on a small machine.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.vmstat({ intervalMs: 10 })] });
 * ```
 */
export function vmstat(options: TickOptions = {}): SourceSpec {
  return { source: 'vmstat', ...options, options: {} };
}
