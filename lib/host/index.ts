import type { DoctorOptions, DoctorReport } from './doctor.ts';
import type { EnvironmentOptions, EnvironmentRecord } from './environment.ts';

export type { DoctorLine, DoctorOptions, DoctorReport } from './doctor.ts';
export type { EnvironmentOptions, EnvironmentRecord } from './environment.ts';

// Both are loaded when they are called: importing the package stays cheap for who only samples.

/**
 * What this machine can and cannot measure, with the reason and the fix of each gap. Changes nothing: it reads
 * files of /proc and /sys, opens and closes counters on its own thread, and loads the GPU libraries without
 * calling into them, so no device node is created and no driver initialized. Never throws for what a machine
 * lacks.
 *
 * @example
 * ```ts
 * import { doctor } from 'warpgauge';
 * const report = await doctor();
 * for (const line of report.lines) if (line.level !== 'OK') console.log(line.check, line.value, line.fix);
 * ```
 */
export async function doctor(options?: DoctorOptions): Promise<DoctorReport> {
  const room = await import('./doctor.ts');
  return room.doctor(options);
}

/**
 * Records the machine: more than 100 facts of hardware, firmware, kernel, memory policy, GPU and limits, each null with
 * its reason. Changes nothing; asks NVML once where the kernel driver is present.
 *
 * @example
 * ```ts
 * import { environment } from 'warpgauge';
 * const { identity, digest, reasons } = await environment();
 * console.log(digest, identity, reasons);
 * ```
 */
export async function environment(options?: EnvironmentOptions): Promise<EnvironmentRecord> {
  const room = await import('./environment.ts');
  return room.environment(options);
}
