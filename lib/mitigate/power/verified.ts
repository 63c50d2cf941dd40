import type { NativePowerGpu } from '../../addon.ts';
import { type ClockRange, eventReasonsOf, type PowerGpu } from './device.ts';

/** What reading says of a setting after the driver took it. */
export type PowerVerified =
  /** It reads so; of clocks: they lay within the range while the GPU worked. */
  | 'in_effect'
  /** It is installed, and something stronger holds: an out-of-band limit, heat, the power limit. */
  | 'limited'
  /** No driver tells a clock lock, and an idle GPU does not show it. */
  | 'unknown'
  | 'not_in_effect';

/** How a clock stood when it was looked at. */
export interface ClockObservation {
  /** nvmlDeviceGetClockInfo; null: it cannot be read. */
  readonly mhz: number | null;
  /** Whether a kernel ran meanwhile, as far as the driver tells. */
  readonly busy: boolean | null;
  readonly limitedBy: readonly string[];
}

/** Drivers round to their steps, of which the widest known is 15 MHz. */
const STEP_MHZ = 15;

const STRONGER = [
  'sw_power_cap',
  'hw_slowdown',
  'sw_thermal_slowdown',
  'hw_thermal_slowdown',
  'hw_power_brake_slowdown',
];

export function observeClock(gpu: NativePowerGpu, domain: 'sm' | 'memory'): ClockObservation {
  const { value: mhz } = domain === 'sm' ? gpu.smClockMhz : gpu.memoryClockMhz;
  return observation(mhz, gpu.utilizationPercent.value, eventReasonsOf(gpu.eventReasons.value));
}

/** The same of a GPU that was read for a plan. */
export function plannedClock(gpu: PowerGpu, domain: 'sm' | 'memory'): ClockObservation {
  const { nowMhz } = domain === 'sm' ? gpu.smClock : gpu.memoryClock;
  return observation(nowMhz, gpu.utilizationRatio, gpu.eventReasons);
}

function observation(
  mhz: number | null,
  used: number | null,
  reasons: readonly string[] | null,
): ClockObservation {
  return {
    mhz,
    // In MIG mode there is no utilization of the whole GPU; then the idle bit tells.
    busy: used !== null ? used > 0 : reasons === null ? null : !reasons.includes('gpu_idle'),
    limitedBy: (reasons ?? []).filter((reason) => STRONGER.includes(reason)),
  };
}

/** A lock has no getter: it is judged by the clock that it leads to. */
export function judgeClock(range: ClockRange, seen: ClockObservation): PowerVerified {
  const { mhz, busy, limitedBy } = seen;
  if (mhz === null) return 'unknown';
  if (mhz > range.max + STEP_MHZ) return 'not_in_effect';
  if (busy !== true) return 'unknown';
  if (mhz >= range.min - STEP_MHZ) return 'in_effect';
  return limitedBy.length > 0 ? 'limited' : 'not_in_effect';
}
