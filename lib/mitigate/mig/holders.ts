import { readdirSync } from 'node:fs';
import { readdir, readlink } from 'node:fs/promises';
import type { NativeMigGpu } from '../../addon.ts';
import type { Holder } from '../../errors.ts';
import { commandLine } from '../../host/process.ts';
import { hostPath, readText } from '../../host/sysfs.ts';

/** What is in use: a GPU, or one instance of it. */
export interface InUse {
  readonly gpu: NativeMigGpu;
  /** Id of a GPU instance. */
  readonly instance?: number | undefined;
  readonly root?: string | undefined;
}

/**
 * Who holds a GPU: the processes that NVML names, and where it names none those that have its device nodes open, as far as
 * we may look. Drivers answer IN_USE also for clients that no process list shows: see {@link listSuspects}.
 */
export async function listHolders(pids: readonly number[], of?: InUse): Promise<readonly Holder[]> {
  const found = pids.length > 0 || of === undefined ? pids : await openers(of);
  return [...new Set(found)].map((pid) => ({ pid, command: commandLine(pid) }));
}

/** By node: the capability files of the instance tell most; /dev/nvidiaN is open in all programs on the GPU. */
async function openers({ gpu, instance, root }: InUse): Promise<number[]> {
  const minor = minorOf(gpu.pciAddress, root);
  if (minor === null) return [];
  const own = instance === undefined ? [] : capabilitiesOf(minor, instance, root);
  const byInstance = own.length === 0 ? [] : await whoHas(own);
  if (byInstance.length > 0) return byInstance;
  // Those that NVML lists are elsewhere on the GPU; those with /dev/nvidiactl alone hold no GPU.
  const onGpu = await whoHas([hostPath(`/dev/nvidia${minor}`, root)]);
  return onGpu.filter((pid) => !gpu.pids.includes(pid));
}

async function whoHas(nodes: readonly string[]): Promise<number[]> {
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

function minorOf(pciAddress: string, root?: string): string | null {
  const text = readText(`/proc/driver/nvidia/gpus/${pciAddress}/information`, root) ?? '';
  return /^Device Minor:\s+(\d+)/m.exec(text)?.[1] ?? null;
}

/** The nodes that a program opens to use an instance: `gpu0/gi20/access 12`, `gpu0/gi20/ci0/access 13`. */
function capabilitiesOf(minor: string, instance: number, root?: string): string[] {
  const text = readText('/proc/driver/nvidia-caps/mig-minors', root) ?? '';
  return text.split('\n').flatMap((line) => {
    const [name = '', node] = line.split(' ');
    const ours = name.startsWith(`gpu${minor}/gi${instance}/`) && node !== undefined;
    return ours ? [hostPath(`/dev/nvidia-caps/nvidia-cap${node}`, root)] : [];
  });
}

/** As the kernel cuts them: 15 bytes. */
const SERVICES: readonly string[] = [
  'nvidia-persistenced',
  'nv-hostengine',
  'dcgm-exporter',
  'nv-fabricmanager',
  'nvsm_core',
].map((name) => name.slice(0, 15));

/** What is known to hold GPUs without being in any list, and is here: by name alone, so perhaps. */
export function listSuspects(root?: string): {
  readonly services: readonly Holder[];
  readonly modules: readonly string[];
} {
  const services = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => SERVICES.includes(readText(`/proc/${pid}/comm`, '/')?.trim() ?? ''))
    .map((pid) => ({ pid: Number(pid), command: commandLine(Number(pid)) }));
  const loaded = readText('/proc/modules', root) ?? '';
  return { services, modules: /^nvidia_drm /m.test(loaded) ? ['nvidia_drm'] : [] };
}
