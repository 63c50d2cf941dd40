import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const numaDescriptor: SourceDescriptor = {
  name: 'numa',
  help: 'Every NUMA node: allocation counters (numastat) and its own meminfo in bytes.',
  defaultIntervalMs: 1000,
  options: {},
  needs: '',
};

/**
 * Table `numa`: one row per tick and NUMA node, key `node` (its number): the counters of the node's `numastat` since boot
 * (`numa_hit`, `numa_miss`, `numa_foreign`, `interleave_hit`, `local_node`, `other_node`, in pages) and every line of its
 * `meminfo`, named and in bytes as in table `meminfo`.
 *
 * Default interval 1 s; two files per node.
 */
export function numa(options: TickOptions = {}): SourceSpec {
  return { source: 'numa', ...options, options: {} };
}
