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
 * Records the machine: kernel, CPU, memory policy, limits, GPU driver. Changes nothing, initializes no driver.
 *
 * @example
 * ```ts
 * import { environment } from 'warpgauge';
 * const { kernel, hypervisor, hash } = await environment();
 * console.log(kernel, hypervisor, hash);
 * ```
 */
export async function environment(options?: EnvironmentOptions): Promise<EnvironmentRecord> {
  const room = await import('./environment.ts');
  return room.environment(options);
}
