import { readdir, readFile, readlink } from 'node:fs/promises';
import type { NativeMigGpu } from '../../addon.ts';
import type { Holder } from '../../errors.ts';
import { commandLine } from '../../host/process.ts';

/**
 * Who holds a GPU: the processes that NVML names, and where it names none those that have its device nodes open, as far as
 * we may look. Drivers answer IN_USE also for clients that no process list shows: nvidia-persistenced, DCGM, a display
 * driver.
 */
export async function listHolders(
  pids: readonly number[],
  gpu?: NativeMigGpu,
): Promise<readonly Holder[]> {
  const found =
    pids.length > 0 || gpu === undefined
      ? pids
      : // Those that NVML lists are elsewhere on the GPU.
        (await openers(gpu.pciAddress)).filter((pid) => !gpu.pids.includes(pid));
  return [...new Set(found)].map((pid) => ({ pid, command: commandLine(pid) }));
}

/** Processes with /dev/nvidiaN of this GPU open; those with /dev/nvidiactl alone hold no GPU. */
async function openers(pciAddress: string): Promise<number[]> {
  const nodes = await nodesOf(pciAddress);
  if (nodes.length === 0) return [];
  const pids: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    try {
      for (const fd of await readdir(`/proc/${pid}/fd`)) {
        if (nodes.includes(await readlink(`/proc/${pid}/fd/${fd}`))) {
          pids.push(Number(pid));
          break;
        }
      }
    } catch {
      // Gone meanwhile, or not ours to look at.
    }
  }
  return pids;
}

async function nodesOf(pciAddress: string): Promise<string[]> {
  try {
    const text = await readFile(`/proc/driver/nvidia/gpus/${pciAddress}/information`, 'utf8');
    const minor = /^Device Minor:\s+(\d+)/m.exec(text)?.[1];
    return minor === undefined ? [] : [`/dev/nvidia${minor}`];
  } catch {
    return [];
  }
}
