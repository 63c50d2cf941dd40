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
  /** Where that comes from (a function of NVML, a file), or why it is unknown. */
  readonly source: string;
  /** What speaks against it: sources that differ, or a node that is not there. null: nothing does. */
  readonly disagreement: string | null;
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

type Place = Pick<GpuPlace, 'node' | 'cpus' | 'source' | 'disagreement'>;

/** What one source says; node null: `source` is why it says none. */
interface Saying {
  readonly node: number | null;
  readonly source: string;
}

const UNKNOWN = 'unknown: ';

/** What sysfs says of a device: its node, or -1 where the firmware does not tell. */
function sysfsNode(address: string, nodes: readonly NumaNode[], root?: string): Saying {
  const file = `/sys/bus/pci/devices/${address}/numa_node`;
  const node = readNumber(file, root);
  if (node !== null && node >= 0) return { node, source: file };
  const only = nodes.length === 1 ? nodes[0] : undefined;
  if (node === -1 && only !== undefined) {
    return { node: only.node, source: `${NODES}: the only node` };
  }
  const why = node === null ? 'is not there' : 'says -1: the firmware does not tell';
  return { node: null, source: `${file} ${why}` };
}

/** What the driver says: the node of the memory, else the node that has all the CPUs. null: it does not tell. */
function nvmlNode(values: Answers, nodes: readonly NumaNode[]): Saying {
  const memory = listOf(values['nearNodes']);
  const name = 'nvmlDeviceGetMemoryAffinity';
  const [first, second] = memory;
  if (first !== undefined && second === undefined) return { node: first, source: name };
  const cpus = listOf(values['nearCpus']);
  const holding = nodes.filter((each) => cpus.length > 0 && hasAll(each.cpus, cpus));
  if (holding.length === 1) {
    return { node: holding[0]?.node ?? null, source: 'nvmlDeviceGetCpuAffinityWithinScope' };
  }
  // All nodes is what a driver says that knows of none.
  const why = second === undefined ? 'does not tell' : `names nodes ${memory.join(', ')}`;
  return { node: null, source: `${name} ${why}` };
}

type Answers = Readonly<Record<string, unknown>>;

const listOf = (value: unknown): number[] => (typeof value === 'string' ? parseList(value) : []);
const hasAll = (all: readonly number[], some: readonly number[]): boolean =>
  some.every((one) => all.includes(one));

/**
 * The driver first, because sysfs says -1 where the firmware tells it nothing and the driver knows; then sysfs. Where both
 * name a node and differ, that is for a person to see.
 */
function placeOf(address: string, values: Answers | null, root?: string): Place {
  const nodes = readNodes(root);
  const bySysfs = sysfsNode(address, nodes, root);
  const byNvml = values === null ? null : nvmlNode(values, nodes);
  const { node, source } = byNvml !== null && byNvml.node !== null ? byNvml : bySysfs;
  if (node === null) {
    const why = byNvml === null ? source : `${byNvml.source}; ${source}`;
    return { node, cpus: [], source: `${UNKNOWN}${why}`, disagreement: null };
  }
  const own = nodes.find((each) => each.node === node)?.cpus ?? [];
  const local = parseList(readText(`/sys/bus/pci/devices/${address}/local_cpulist`, root));
  const near = values === null ? [] : listOf(values['nearCpus']);
  const found: string[] = [];
  if (byNvml?.node != null && bySysfs.node !== null && byNvml.node !== bySysfs.node) {
    found.push(`${byNvml.source} says node ${byNvml.node}, ${bySysfs.source} node ${bySysfs.node}`);
  }
  if (nodes.length > 0 && !nodes.some((each) => each.node === node)) {
    found.push(`${source} says node ${node}, which is not in ${NODES}`);
  } else if (byNvml?.node === node && near.length > 0 && own.length > 0 && !overlap(own, near)) {
    found.push(`nvmlDeviceGetCpuAffinityWithinScope names no CPU of node ${node}`);
  }
  const cpus = own.length > 0 ? own : near.length > 0 ? near : local;
  return { node, cpus, source, disagreement: found.join('; ') || null };
}

const overlap = (some: readonly number[], others: readonly number[]): boolean =>
  some.some((one) => others.includes(one));

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
          ...placeOf(sysfsAddress(address), values, root),
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
    ...placeOf(address, null, root),
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
