import { loadBinding } from '../addon.ts';
import { hostRoot, listDir, parseList, readNumber, readText } from '../host/sysfs.ts';

/** A NUMA node of this machine. */
export interface NumaNode {
  readonly node: number;
  readonly cpus: readonly number[];
  readonly total_bytes: number | null;
  readonly free_bytes: number | null;
}

/** A GPU and the node that it hangs on. */
export interface GpuPlace {
  /** Order of NVML; without NVML the order of PCI addresses, which is the same by default. */
  readonly index: number;
  readonly pci_address: string;
  /** null: NVML was not there to tell. */
  readonly uuid: string | null;
  /** null: unknown. A machine whose firmware does not tell is not a machine with everything on node 0. */
  readonly node: number | null;
  readonly cpus: readonly number[];
  /** Where that comes from, or why it is unknown. */
  readonly source: string;
  readonly simulated: boolean;
}

export interface NumaStatus {
  readonly nodes: readonly NumaNode[];
  /** kernel.numa_balancing: the kernel moves pages by itself; null: not told. */
  readonly balancing: number | null;
  readonly gpus: readonly GpuPlace[];
  /** Why `gpus` is empty, or null. */
  readonly gpus_why: string | null;
  /** Of this process: CPUs its main thread may run on, and memory nodes that its cpuset allows. */
  readonly allowed_cpus: readonly number[];
  readonly allowed_nodes: readonly number[];
}

const NODES = '/sys/devices/system/node';

export function readNodes(root?: string): NumaNode[] {
  return listDir(NODES, root).flatMap((name) => {
    const node = /^node(\d+)$/.exec(name)?.[1];
    if (node === undefined) return [];
    const meminfo = readText(`${NODES}/${name}/meminfo`, root) ?? '';
    const bytes = (field: string): number | null => {
      const kb = new RegExp(`\\b${field}:\\s+(\\d+) kB`).exec(meminfo)?.[1];
      return kb === undefined ? null : Number(kb) * 1024;
    };
    return [
      {
        node: Number(node),
        cpus: parseList(readText(`${NODES}/${name}/cpulist`, root)),
        total_bytes: bytes('MemTotal'),
        free_bytes: bytes('MemFree'),
      },
    ];
  });
}

/** NVIDIA's display and 3D controllers, by PCI address. */
function pciGpus(root?: string): string[] {
  const folder = '/sys/bus/pci/devices';
  return listDir(folder, root).filter((address) => {
    const text = (file: string) => readText(`${folder}/${address}/${file}`, root)?.trim();
    return text('vendor') === '0x10de' && /^0x030[02]/.test(text('class') ?? '');
  });
}

/** What sysfs says of a device: its node, or -1 where the firmware does not tell. */
function placeOf(address: string, root?: string): Pick<GpuPlace, 'node' | 'cpus' | 'source'> {
  const folder = `/sys/bus/pci/devices/${address}`;
  const file = `${folder}/numa_node`;
  const node = readNumber(file, root);
  if (node !== null && node >= 0) {
    const local = parseList(readText(`${folder}/local_cpulist`, root));
    const cpus = readNodes(root).find((each) => each.node === node)?.cpus ?? [];
    return { node, cpus: cpus.length > 0 ? cpus : local, source: file };
  }
  const nodes = readNodes(root);
  const only = nodes.length === 1 ? nodes[0] : undefined;
  if (node === -1 && only !== undefined) {
    return { node: only.node, cpus: only.cpus, source: `${NODES}: the only node` };
  }
  const why = node === null ? 'is not there' : 'says -1: the firmware does not tell';
  return { node: null, cpus: [], source: `unknown: ${file} ${why}` };
}

/** NVML writes eight digits of PCI domain, sysfs four. */
function sysfsAddress(address: string): string {
  return address.toLowerCase().replace(/^0000(?=[0-9a-f]{4}:)/, '');
}

async function nvmlGpus(root?: string): Promise<GpuPlace[] | { readonly why: string }> {
  const folder = hostRoot(root);
  try {
    const path = process.env['WARPGAUGE_NVML'] ?? '';
    const system = await loadBinding().readGpus(path, folder === '/' ? '' : folder);
    return system.gpus.flatMap(({ values }, index) => {
      const address = values['pciAddress'];
      if (typeof address !== 'string') return [];
      const { uuid } = values;
      return [
        {
          index,
          pci_address: sysfsAddress(address),
          uuid: typeof uuid === 'string' ? uuid : null,
          ...placeOf(sysfsAddress(address), root),
          simulated: system.simulated,
        },
      ];
    });
  } catch (error) {
    return { why: (error as Error).message };
  }
}

export async function readGpuPlaces(
  root?: string,
): Promise<{ readonly gpus: readonly GpuPlace[]; readonly why: string | null }> {
  const byNvml = await nvmlGpus(root);
  if (!('why' in byNvml)) return { gpus: byNvml, why: null };
  const gpus = pciGpus(root).map((address, index) => ({
    index,
    pci_address: address,
    uuid: null,
    ...placeOf(address, root),
    simulated: false,
  }));
  const why = gpus.length > 0 ? null : `no NVIDIA GPU on the PCI bus, and NVML: ${byNvml.why}`;
  return { gpus, why };
}

export async function readNumaStatus(root?: string): Promise<NumaStatus> {
  const { gpus, why } = await readGpuPlaces(root);
  const allowed = /^Mems_allowed_list:\s+(.*)$/m.exec(
    readText('/proc/self/status', root) ?? '',
  )?.[1];
  return {
    nodes: readNodes(root),
    balancing: readNumber('/proc/sys/kernel/numa_balancing', root),
    gpus,
    gpus_why: why,
    allowed_cpus: loadBinding().threadAffinity(0),
    allowed_nodes: parseList(allowed ?? null),
  };
}
