import { getSystemErrorName } from 'node:util';
import type { Binding } from '../addon.ts';

const SOFTWARE = 1;
const HARDWARE = 0;
const HW_CACHE = 3;
/** id | operation << 8 | result << 16, as perf_event_attr wants it: misses of loads and stores. */
const cacheMiss = (id: number, operation: number) => id | (operation << 8) | (1 << 16);

/** The events that warpgauge counts or may count, by the kernel's names. */
const EVENTS: readonly { readonly name: string; readonly type: number; readonly config: number }[] =
  [
    { name: 'page-faults', type: SOFTWARE, config: 2 },
    { name: 'minor-faults', type: SOFTWARE, config: 5 },
    { name: 'major-faults', type: SOFTWARE, config: 6 },
    { name: 'context-switches', type: SOFTWARE, config: 3 },
    { name: 'cpu-migrations', type: SOFTWARE, config: 4 },
    { name: 'task-clock', type: SOFTWARE, config: 1 },
    { name: 'cycles', type: HARDWARE, config: 0 },
    { name: 'instructions', type: HARDWARE, config: 1 },
    { name: 'cache-misses', type: HARDWARE, config: 3 },
    { name: 'dTLB-load-misses', type: HW_CACHE, config: cacheMiss(3, 0) },
    { name: 'dTLB-store-misses', type: HW_CACHE, config: cacheMiss(3, 1) },
    { name: 'LLC-load-misses', type: HW_CACHE, config: cacheMiss(2, 0) },
  ];

export interface PerfEventReport {
  readonly name: string;
  /** What can be counted; null: nothing. */
  readonly scope: 'user+kernel' | 'user' | null;
  /** Why not more than `scope`: the errno of the widest attempt that failed. */
  readonly reason: string | null;
}

/** Opens each event for this thread, with the kernel and, where that is refused, without; closes it again. */
export function probePerfEvents(
  binding: Binding,
  timed: <T>(name: string, probe: () => T) => T,
): PerfEventReport[] {
  return EVENTS.map(({ name, type, config }) =>
    timed(`perf ${name}`, (): PerfEventReport => {
      const all = binding.probePerfEvent(type, config, false);
      if (all === null) return { name, scope: 'user+kernel', reason: null };
      const reason = getSystemErrorName(-all);
      const user = binding.probePerfEvent(type, config, true);
      if (user === null) return { name, scope: 'user', reason };
      return { name, scope: null, reason: getSystemErrorName(-user) };
    }),
  );
}
