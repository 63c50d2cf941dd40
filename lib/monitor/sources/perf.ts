import { invalidArgument } from '../../errors.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor, SourceOption } from './descriptor.ts';
import { flagOption, pidOption, pids } from './process-options.ts';
import type { TickOptions } from './tick-options.ts';

/** An option that is any text of some form. */
function textOption(name: string, help: string, expects: string, form: RegExp): SourceOption {
  return {
    help,
    expects,
    parse: (text) => {
      if (!form.test(text)) throw invalidArgument(name, expects, text);
      return text;
    },
  };
}

export const perfDescriptor: SourceDescriptor = {
  name: 'perf',
  help: 'Counts of performance events: faults, switches, TLB and cache misses, tracepoints, any PMU.',
  defaultIntervalMs: 10,
  options: {
    events: textOption(
      'events',
      'Names as perf stat -e takes them, separated by + outside /.../; required.',
      'names of events separated by +, such as page-faults+dTLB-load-misses',
      /^[^+]/,
    ),
    pid: pidOption('pid', 'A process: all its threads, also those to come; default this one.'),
    tid: pidOption('tid', 'One thread.'),
    tree: pidOption('tree', 'A process and its descendants, also those to come.'),
    command: pidOption('command', 'A process that has not called exec yet, from its exec on.'),
    cpu: textOption(
      'cpu',
      'Everything that runs on these CPUs; with cgroup: of it.',
      'CPUs such as 0-3+8',
      /^\d+(-\d+)?([+,]\d+(-\d+)?)*$/,
    ),
    cgroup: textOption(
      'cgroup',
      'Everything in a cgroup: its folder, or its path in the v2 hierarchy.',
      'a path that begins with /',
      /^\//,
    ),
    system: flagOption('system', 'Everything on the machine.'),
    per: textOption(
      'per',
      'A row for each CPU or thread; default one row, the sum.',
      'cpu or thread',
      /^(cpu|thread)$/,
    ),
  },
  // Software counters, which every machine has.
  standard: { events: 'page-faults+context-switches' },
  needs:
    'perf events (kernel.perf_event_paranoid <= 2 for own processes, <= 0 for cpu, cgroup and system)',
};

/** Options of {@link perf}; at most one target, `cgroup` with `cpu` apart. */
export interface PerfOptions extends TickOptions {
  /**
   * Names as `perf stat -e` takes them: `page-faults`, `dTLB-load-misses`, `sched:sched_switch`, `r1a8`,
   * `cpu/event=0x3c,umask=1/u`, `uncore_imc/cas_count_read/`.
   */
  readonly events: readonly string[];
  /** A process: all its threads, present and future, without its children. Default: this process. */
  readonly pid?: number;
  /** One thread. */
  readonly tid?: number;
  /** A process and its descendants, present and future. */
  readonly tree?: number;
  /** Everything that runs on these CPUs. */
  readonly cpu?: readonly number[];
  /** Everything in a cgroup: its folder, or its path in the v2 hierarchy. */
  readonly cgroup?: string;
  /** Everything on the machine. Default false. */
  readonly system?: boolean;
  /** A row for each CPU or thread instead of one, the sum. */
  readonly per?: 'cpu' | 'thread';
}

/**
 * Table `perf`: one row per tick with the counts of all events since counting began; with `per` one for each CPU (key
 * `cpu`) or thread (keys `tid`, `thread_start_ns`).
 *
 * Columns are the events' names in snake_case (`dtlb_load_misses`), the attributes behind each in its metadata. Counts are
 * u64; events with a scale in sysfs are floats in base units (`power_energy_pkg_joules`), clocks are `_ns`. Then
 * `time_enabled_ns` and `time_running_ns`, summed over the row's threads or CPUs, and once more with the name in front for
 * each further kind of group (`cpu_time_enabled_ns`): software events share one group, those of each PMU another.
 *
 * `scaled` is true in rows where an event had to share its counter (more events than the CPU has counters): its value is
 * then count * enabled / running, as `perf stat` prints it, and never falls. Null is an event this machine cannot count
 * (reason in the metadata, a row in `state`), or one that never got a counter (`no_counter`). Where the kernel may not be
 * counted (kernel.perf_event_paranoid), user space alone is, and metadata and `state` say so.
 *
 * Default interval 10 ms. One read per group and thread: 1 us for a process with few threads, 55 us with 512 (the cost on
 * the real target is measured at start). `per: 'thread'` finds new threads within 100 ms (tree: 1 s), without what they did
 * before.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_EVENT` (with near names), `ERR_UNAVAILABLE` (none of the events can be
 * counted; tracefs is not mounted), `ERR_PERMISSION` (with the sysctl), `ERR_GONE`, `ERR_SYSCALL` (too few descriptors, with
 * the `ulimit -n` needed).
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({
 *   sources: [monitor.perf({ events: ['page-faults', 'dTLB-load-misses'], pid: 4711, intervalMs: 0.1 })],
 * });
 * ```
 */
export function perf(options: PerfOptions): SourceSpec {
  const { events, pid, tid, tree, cpu, cgroup, system, per, ...rest } = options;
  const given = { cgroup, system, per, cpu: cpu?.join('+') };
  const text: Record<string, string> = { events: events.join('+'), ...pids({ pid, tid, tree }) };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) text[name] = String(value);
  }
  return { source: 'perf', ...rest, options: text };
}
