import { cgroupDescriptor } from './cgroup.ts';
import { cpuDescriptor } from './cpu.ts';
import { cudaDescriptor } from './cuda.ts';
import type { SourceDescriptor } from './descriptor.ts';
import { diskDescriptor } from './disk.ts';
import { gpuDescriptor } from './gpu.ts';
import { hugepagesDescriptor } from './hugepages.ts';
import { meminfoDescriptor } from './meminfo.ts';
import { netDescriptor } from './net.ts';
import { numaDescriptor } from './numa.ts';
import { pageFaultsDescriptor } from './page-faults.ts';
import { pcieDescriptor } from './pcie.ts';
import { perfDescriptor } from './perf.ts';
import { pmSamplingDescriptor } from './pm-sampling.ts';
import { pressureDescriptor } from './pressure.ts';
import { processDescriptor } from './process.ts';
import { thermalDescriptor } from './thermal.ts';
import { vmstatDescriptor } from './vmstat.ts';

/** Every source that can be asked for, in the order that `warpgauge sources` lists them. */
export const SOURCES: readonly SourceDescriptor[] = [
  vmstatDescriptor,
  meminfoDescriptor,
  hugepagesDescriptor,
  pressureDescriptor,
  cpuDescriptor,
  diskDescriptor,
  netDescriptor,
  numaDescriptor,
  pcieDescriptor,
  thermalDescriptor,
  gpuDescriptor,
  pmSamplingDescriptor,
  cudaDescriptor,
  perfDescriptor,
  pageFaultsDescriptor,
  processDescriptor,
  cgroupDescriptor,
];
