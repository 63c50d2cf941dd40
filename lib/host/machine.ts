import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { hostPath, listDir, parseKeyValues, parseList, readNumber, readText } from './sysfs.ts';

/**
 * Facts about the machine and this process that change what can be measured. Every reader takes the
 * root of a recorded tree, changes nothing and gives null for what cannot be read.
 */

/** Bytes of one base page, from the auxiliary vector that the kernel gave this process. */
export function readBasePageBytes(root?: string): number | null {
  const AT_PAGESZ = 6n;
  try {
    const vector = readFileSync(hostPath('/proc/self/auxv', root));
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      if (vector.readBigUInt64LE(at) === AT_PAGESZ) return Number(vector.readBigUInt64LE(at + 8));
    }
  } catch {
    // null, as for every other file
  }
  return null;
}

/** The first CPU's part of cpuinfo: on a large server the whole file takes longer than all other checks. */
function readFirstCpu(root?: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let text = '';
  try {
    const fd = openSync(hostPath('/proc/cpuinfo', root), 'r');
    try {
      const buffer = Buffer.alloc(8192);
      text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return values;
  }
  for (const line of (text.split('\n\n')[0] ?? '').split('\n')) {
    const [name = '', value] = line.split(/\s*:\s*/, 2);
    if (value !== undefined) values.set(name.trim(), value);
  }
  return values;
}

export interface Cpu {
  readonly model: string | null;
  /** CPUs that are online. */
  readonly count: number | null;
  /** CPUs this process may run on. */
  readonly allowed: number | null;
  readonly governor: string | null;
  /** Last-level cache of CPU 0. */
  readonly llc_bytes: number | null;
  /** CPU feature: 1 GB pages in page tables; null where the CPU does not list features that way. */
  readonly pdpe1gb: boolean | null;
}

function readCacheBytes(root?: string): number | null {
  const base = '/sys/devices/system/cpu/cpu0/cache';
  const units: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };
  let bytes: number | null = null;
  let highest = 0;
  for (const name of listDir(base, root)) {
    const level = readNumber(`${base}/${name}/level`, root);
    const size = /^(\d+)([KMG]?)$/.exec(readText(`${base}/${name}/size`, root) ?? '');
    if (level === null || !size || level < highest) continue;
    if (readText(`${base}/${name}/type`, root) === 'Instruction') continue;
    highest = level;
    bytes = Number(size[1]) * (units[size[2] as string] as number);
  }
  return bytes;
}

/** Number of CPUs in a list such as `0-3,8`; null when it is empty or absent. */
function listLength(text: string | null): number | null {
  return parseList(text).length || null;
}

export function readCpu(root?: string): Cpu {
  const cpu = readFirstCpu(root);
  const flags = cpu.get('flags')?.split(' ') ?? null;
  return {
    model: cpu.get('model name') ?? null,
    count: listLength(readText('/sys/devices/system/cpu/online', root)),
    allowed: listLength(readStatus(root).get('Cpus_allowed_list') ?? null),
    governor: readText('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor', root),
    llc_bytes: readCacheBytes(root),
    pdpe1gb: flags === null ? null : flags.includes('pdpe1gb'),
  };
}

/** Whether this is a virtual machine, and which; `hypervisor` null with `virtual` true: unnamed. */
export interface Virtualization {
  readonly virtual: boolean | null;
  readonly hypervisor: string | null;
  /** Vendor and product from the firmware tables. */
  readonly product: string | null;
}

export function readVirtualization(root?: string): Virtualization {
  const flags = readFirstCpu(root).get('flags')?.split(' ') ?? null;
  const clocks =
    readText('/sys/devices/system/clocksource/clocksource0/available_clocksource', root) ?? '';
  const dmi = ['sys_vendor', 'product_name']
    .map((name) => readText(`/sys/class/dmi/id/${name}`, root)?.trim())
    .filter((text) => text !== undefined && text !== '');
  const product = dmi.length > 0 ? dmi.join(' ') : null;
  let hypervisor = readText('/sys/hypervisor/type', root);
  if (hypervisor === null) {
    if (clocks.includes('kvm-clock')) hypervisor = 'kvm';
    else if (clocks.includes('hyperv')) hypervisor = 'hyperv';
    else if (/vmware/i.test(product ?? '')) hypervisor = 'vmware';
    else if (/kvm|qemu|amazon ec2|google compute engine/i.test(product ?? '')) hypervisor = 'kvm';
  }
  // Other architectures have no such flag: there a known hypervisor is the only sign.
  const virtual = flags !== null ? flags.includes('hypervisor') : hypervisor !== null ? true : null;
  return { virtual, hypervisor: virtual === true ? hypervisor : null, product };
}

/** Free page reporting: the guest hands free memory back to the host, and faults it in again later. */
export interface PageReporting {
  readonly active: boolean;
  /** Smallest block that is reported: 2^order base pages. null: not told. */
  readonly order: number | null;
  /** Memory reported since boot, where the kernel counts it (upstream does not). */
  readonly reported_kib: number | null;
}

/** null: this kernel does not tell (built without it, or older than the parameter). */
export function readPageReporting(root?: string): PageReporting | null {
  const base = '/sys/module/page_reporting/parameters';
  const order = readNumber(`${base}/page_reporting_order`, root);
  if (order === null) return null;
  const reported = readNumber(`${base}/reported_kib`, root);
  // Without a reporting device the parameter keeps a number outside of the buddy allocator's orders.
  const set = order >= 0 && order <= 20;
  return { active: set, order: set ? order : null, reported_kib: reported };
}

/** /proc/self/status by name. */
export function readStatus(root?: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of (readText('/proc/self/status', root) ?? '').split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) values.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return values;
}

const CAPABILITIES = {
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
  CAP_PERFMON: 38,
} as const;
export type CapabilityName = keyof typeof CAPABILITIES;

/** Whether this process has each capability now; null where /proc does not tell. */
export function readCapabilities(root?: string): Readonly<Record<CapabilityName, boolean>> | null {
  const hex = readStatus(root).get('CapEff');
  if (hex === undefined || !/^[0-9a-f]+$/i.test(hex)) return null;
  const bits = BigInt(`0x${hex}`);
  const has = (bit: number) => ((bits >> BigInt(bit)) & 1n) === 1n;
  return {
    CAP_IPC_LOCK: has(CAPABILITIES.CAP_IPC_LOCK),
    CAP_SYS_ADMIN: has(CAPABILITIES.CAP_SYS_ADMIN),
    CAP_SYS_NICE: has(CAPABILITIES.CAP_SYS_NICE),
    CAP_PERFMON: has(CAPABILITIES.CAP_PERFMON),
  };
}

/** RLIMIT_MEMLOCK of this process. */
export interface Memlock {
  readonly unlimited: boolean;
  /** Soft limit; null when unlimited. */
  readonly soft_bytes: number | null;
  readonly hard_bytes: number | null;
}

export function readMemlock(root?: string): Memlock | null {
  const line = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(
    readText('/proc/self/limits', root) ?? '',
  );
  if (!line) return null;
  const bytes = (text: string | undefined) =>
    text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
  return {
    unlimited: line[1] === 'unlimited',
    soft_bytes: bytes(line[1]),
    hard_bytes: bytes(line[2]),
  };
}

export interface Memory {
  readonly total_bytes: number | null;
  readonly available_bytes: number | null;
  readonly swap_total_bytes: number | null;
  readonly swap_free_bytes: number | null;
}

export function readMemory(root?: string): Memory {
  const values = parseKeyValues(readText('/proc/meminfo', root));
  return {
    total_bytes: values.get('MemTotal') ?? null,
    available_bytes: values.get('MemAvailable') ?? null,
    swap_total_bytes: values.get('SwapTotal') ?? null,
    swap_free_bytes: values.get('SwapFree') ?? null,
  };
}

export interface NumaNode {
  readonly node: number;
  readonly cpus: string | null;
  readonly memory_bytes: number | null;
}

export interface Numa {
  /** Empty where the kernel has no NUMA. */
  readonly nodes: readonly NumaNode[];
  /** Automatic NUMA balancing: 0 off, 1 on, 2 tiering; null: not in this kernel. */
  readonly balancing: number | null;
}

export function readNuma(root?: string): Numa {
  const base = '/sys/devices/system/node';
  return {
    nodes: parseList(readText(`${base}/online`, root)).map((node) => {
      const total = /MemTotal:\s+(\d+) kB/.exec(
        readText(`${base}/node${node}/meminfo`, root) ?? '',
      );
      return {
        node,
        cpus: readText(`${base}/node${node}/cpulist`, root),
        memory_bytes: total ? Number(total[1]) * 1024 : null,
      };
    }),
    balancing: readNumber('/proc/sys/kernel/numa_balancing', root),
  };
}

/** A sign that this process runs in a container, as one word, or null. */
export function readContainer(root?: string): string | null {
  if (readText('/.dockerenv', root) !== null) return 'docker';
  if (readText('/run/.containerenv', root) !== null) return 'podman';
  const groups = readText('/proc/self/cgroup', root) ?? '';
  return /\b(kubepods|docker|containerd|libpod|lxc)\b/.exec(groups)?.[1] ?? null;
}

/** The kernel's release, such as `6.18.44`. */
export function readKernel(root?: string): string | null {
  return readText('/proc/sys/kernel/osrelease', root);
}
