// Samplers of simulated GPUs of which each call hangs. Used by sampling.ts and sampling-workers.ts.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { monitor } from 'warpgauge';

/** Libraries of which each is a driver of its own. */
export const LIBRARIES = (process.env['WARPGAUGE_TEST_LIBRARIES'] ?? '').split(':');

/** Of the library that WARPGAUGE_NVML of the main thread names. */
export function sampleGpu(isolate: boolean): Promise<monitor.Sampler> {
  const gpu = monitor.gpu({ intervalMs: 10, driverShare: 1, isolate });
  return monitor.sample({ sources: [gpu], batchMs: 20, keepAlive: true });
}

/** Every call of every library hangs from now on; returns a moment later. */
export async function hangGpus(): Promise<void> {
  const script = process.env['WARPGAUGE_FAKE_SCRIPT'] ?? '';
  writeFileSync(`${script}.new`, `${readFileSync(script, 'utf8')}nvml.0.hang_ms.* = 60000\n`);
  renameSync(`${script}.new`, script);
  await new Promise((resolve) => setTimeout(resolve, 150));
}
