import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

export const thermalDescriptor: SourceDescriptor = {
  name: 'thermal',
  help: 'Thermal zones, CPU frequencies, and how often CPUs were throttled for heat.',
  defaultIntervalMs: 1000,
  options: {},
  needs: 'thermal zones or cpufreq (a guest has neither, as a rule)',
};

/**
 * Tables `thermal` and `thermal.cpufreq`.
 *
 * - `thermal`: one row per tick and zone, key `zone`: `temperature_celsius` and the zone's `type`.
 * - `thermal.cpufreq`: one row per tick and CPU, key `cpu`: `frequency_hertz` (what the governor has chosen), and since boot
 *   `core_throttles`, `core_throttle_ns`, `package_throttles`, `package_throttle_ns` (Intel).
 *
 * Default interval 1 s; one file per zone, up to five per CPU. `ERR_UNAVAILABLE` where the machine has nothing of both.
 */
export function thermal(options: TickOptions = {}): SourceSpec {
  return { source: 'thermal', ...options, options: {} };
}
