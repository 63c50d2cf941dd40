import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import { pidOption, pids } from './process-options.ts';
import type { TickOptions } from './tick-options.ts';

export const processDescriptor: SourceDescriptor = {
  name: 'process',
  help: 'CPU, faults, memory by kind, page tables, switches and I/O of a process or a process tree.',
  defaultIntervalMs: 100,
  options: {
    pid: pidOption('pid', 'A process; default this one.'),
    tree: pidOption('tree', 'A process and its descendants, also those to come.'),
  },
  needs: '',
};

/** Options of {@link process}; at most one of `pid` and `tree`. */
export interface ProcessOptions extends TickOptions {
  /** A process. Default: this process. */
  readonly pid?: number;
  /** A process and its descendants, also those to come. */
  readonly tree?: number;
}

/**
 * Table `process`: one row per tick and process, keyed by `pid` and `start_time`: name, state, threads, CPU time (in steps of
 * one clock tick, 10 ms), faults, memory by kind and page tables (bytes), switches of the main thread, bytes read and
 * written. Table `process.memory`, once a second at most, because the kernel walks the page tables for it: proportional
 * and private memory, huge pages by kind, hugetlb pages, `oom_score`.
 *
 * `faults_perf` counts the faults of all threads by perf since the source was opened; `faults_unseen` is what getrusage
 * counted more: faults in populate, mlock and pinning, which perf cannot see. Both are null where perf may not count the
 * kernel (`no_permission`), before Linux 5.13 (`needs_linux_5.13`), and for processes of too many threads.
 *
 * What belongs to other users is null where the kernel says so (`no_permission`). When a process ends its rows end, with
 * a row of `state`.
 *
 * Default interval 100 ms; a row costs about 20 us.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_GONE`.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.process({ tree: 4711 })] });
 * ```
 */
export function process(options: ProcessOptions = {}): SourceSpec {
  const { pid, tree, ...rest } = options;
  return {
    source: 'process',
    ...rest,
    options: { ...pids({ pid, tree }) },
  };
}
