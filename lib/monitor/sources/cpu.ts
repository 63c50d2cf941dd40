import { invalidArgument } from '../../errors.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

function parsePer(text: string): string {
  if (text !== 'cpu' && text !== 'total') throw invalidArgument('per', 'cpu or total', text);
  return text;
}

export const cpuDescriptor: SourceDescriptor = {
  name: 'cpu',
  help: 'CPU times since boot, per CPU or in total; context switches, interrupts, forks.',
  defaultIntervalMs: 100,
  options: {
    per: {
      help: 'One row per CPU (cpu) or one for all (total). Default cpu.',
      expects: 'cpu or total',
      parse: parsePer,
    },
  },
  needs: '',
};

/** Options of {@link cpu}. */
export interface CpuOptions extends TickOptions {
  /** `cpu`: one row per CPU and tick; `total`: one row for all of them. Default `cpu`. */
  readonly per?: 'cpu' | 'total';
}

/**
 * Tables `cpu` and `cpu.system`, from `/proc/stat`.
 *
 * - `cpu`: `user_ns`, `nice_ns`, `system_ns`, `idle_ns`, `iowait_ns`, `irq_ns`, `softirq_ns`, `steal_ns`, `guest_ns`,
 *   `guest_nice_ns` since boot, in steps of one clock tick (10 ms); key `cpu`, its number (none with `per: 'total'`). guest
 *   is part of user. The kernel lets idle and iowait go back a little.
 * - `cpu.system`: `ctxt`, `intr`, `softirq`, `processes` (forks) since boot; `procs_running`, `procs_blocked` now.
 *
 * Default interval 100 ms; a read costs about 16 us on two CPUs and more with every interrupt line of the machine.
 */
export function cpu(options: CpuOptions = {}): SourceSpec {
  const { per, ...ticks } = options;
  return { source: 'cpu', ...ticks, options: per === undefined ? {} : { per: parsePer(per) } };
}
