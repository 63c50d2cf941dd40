import { createHash } from 'node:crypto';
import { loadBinding } from '../addon.ts';
import { packageVersion } from '../version.ts';
import { readCgroupMemory, readCgroupMode } from './cgroup.ts';
import { type DriverReport, readDriver } from './drivers.ts';
import {
  type CgroupHugetlbLimit,
  type HugepagePool,
  readCgroupHugetlb,
  readHugepagePools,
  readThp,
  type ThpPolicy,
} from './hugepages.ts';
import {
  type Cpu,
  readBasePageBytes,
  readContainer,
  readCpu,
  readKernel,
  readMemlock,
  readMemory,
  readNuma,
  readPageReporting,
  readVirtualization,
} from './machine.ts';
import { readNumber, readText } from './sysfs.ts';

export interface EnvironmentOptions {
  /** Recorded tree that stands for `/`. Default: `WARPGAUGE_ROOT`, else the machine. */
  readonly root?: string;
}

/**
 * The machine behind a result, `warpgauge/environment/1`: what someone needs to know to compare two results.
 * Sizes in bytes unless named `_kb` or `_kib`; null: the machine does not tell.
 */
export interface EnvironmentRecord {
  readonly schema: 'warpgauge/environment/1';
  /** Equal on machines where the same numbers can be expected; pools, limits and names do not count. */
  readonly hash: string;
  readonly tool: { readonly version: string; readonly node: string; readonly glibc: string | null };
  /** ISO 8601, UTC. */
  readonly recorded: string;
  readonly kernel: string | null;
  readonly os: string | null;
  /** `kvm` and the like, `none`, or null where it is not known. */
  readonly hypervisor: string | null;
  readonly machine: string | null;
  readonly container: string | null;
  readonly page_reporting: boolean | null;
  readonly page_reporting_order: number | null;
  readonly base_page_bytes: number | null;
  readonly cpu: Cpu;
  readonly memory_bytes: number | null;
  readonly swap_bytes: number | null;
  readonly thp: ThpPolicy;
  readonly hugetlb: readonly HugepagePool[];
  readonly cgroup: {
    readonly mode: 'v1' | 'v2' | 'hybrid' | null;
    readonly memory_max_bytes: number | null;
    readonly hugetlb: readonly CgroupHugetlbLimit[];
  };
  readonly limits: {
    /** null with `memlock_unlimited`: there is no limit. */
    readonly memlock_bytes: number | null;
    readonly memlock_unlimited: boolean | null;
    readonly perf_event_paranoid: number | null;
    readonly io_uring_disabled: number | null;
  };
  readonly numa_nodes: number;
  readonly numa_balancing: number | null;
  readonly nvidia_driver: DriverReport;
  readonly host: {
    readonly hostname: string | null;
    /** First 16 hex digits of the SHA-256 of /etc/machine-id: tells machines apart, names none. */
    readonly machine_id_hash: string | null;
    readonly boot_id: string | null;
  };
}

/** What decides about the numbers: everything else of the record may differ between equal machines. */
const HASHED = [
  'kernel',
  'hypervisor',
  'machine',
  'page_reporting',
  'page_reporting_order',
  'base_page_bytes',
  'cpu.model',
  'cpu.count',
  'cpu.governor',
  'cpu.llc_bytes',
  'thp',
  'numa_nodes',
  'numa_balancing',
  'nvidia_driver.version',
  'tool',
] as const;

/** JSON with sorted keys: the same facts give the same text. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function readLibc(): string | null {
  try {
    return loadBinding().libcVersion();
  } catch {
    return null; // doctor says why the addon does not load; a record has no room for it
  }
}

function readOs(root?: string): string | null {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readText('/etc/os-release', root) ?? '')?.[1] ?? null;
}

/** The public function of the same name: see lib/host/index.ts. */
export async function environment(options: EnvironmentOptions = {}): Promise<EnvironmentRecord> {
  const { root } = options;
  const { virtual, hypervisor, product } = readVirtualization(root);
  const reporting = readPageReporting(root);
  const memory = readMemory(root);
  const memlock = readMemlock(root);
  const numa = readNuma(root);
  const machineId = readText('/etc/machine-id', root)?.trim();
  const nvidia = readDriver(root);
  const facts = {
    tool: { version: packageVersion(), node: process.version, glibc: readLibc() },
    kernel: readKernel(root),
    os: readOs(root),
    hypervisor: virtual === false ? 'none' : (hypervisor ?? (virtual ? 'unnamed' : null)),
    machine: product,
    container: readContainer(root),
    page_reporting: reporting === null ? null : reporting.active,
    page_reporting_order: reporting?.order ?? null,
    base_page_bytes: readBasePageBytes(root),
    cpu: readCpu(root),
    memory_bytes: memory.total_bytes,
    swap_bytes: memory.swap_total_bytes,
    thp: readThp(root),
    hugetlb: readHugepagePools(root),
    cgroup: {
      mode: readCgroupMode(root),
      memory_max_bytes: readCgroupMemory(root)?.max_bytes ?? null,
      hugetlb: readCgroupHugetlb(root),
    },
    limits: {
      memlock_bytes: memlock?.soft_bytes ?? null,
      memlock_unlimited: memlock?.unlimited ?? null,
      perf_event_paranoid: readNumber('/proc/sys/kernel/perf_event_paranoid', root),
      io_uring_disabled: readNumber('/proc/sys/kernel/io_uring_disabled', root),
    },
    numa_nodes: numa.nodes.length,
    numa_balancing: numa.balancing,
    nvidia_driver: nvidia,
    host: {
      hostname: readText('/proc/sys/kernel/hostname', root),
      machine_id_hash: machineId ? shortHash(machineId) : null,
      boot_id: readText('/proc/sys/kernel/random/boot_id', root),
    },
  };
  const flat = new Map(flatten(facts));
  const hashed = [...flat].filter(([path]) => decides(path));
  return {
    schema: 'warpgauge/environment/1',
    hash: shortHash(canonical(Object.fromEntries(hashed))),
    recorded: new Date().toISOString(),
    ...facts,
  };
}

/** Whether a field (`thp.enabled`) takes part in the hash. */
function decides(path: string): boolean {
  return HASHED.some((name) => path === name || path.startsWith(`${name}.`));
}

function flatten(value: unknown, path = ''): [string, unknown][] {
  if (value === null || typeof value !== 'object') return [[path, value]];
  const entries = Object.entries(value);
  if (entries.length === 0) return [[path, Array.isArray(value) ? '[]' : '{}']];
  return entries.flatMap(([key, item]) => flatten(item, path === '' ? key : `${path}.${key}`));
}

/** One field that differs between two environments. */
export interface EnvironmentDifference {
  /** Path of the field, such as `thp.enabled`. */
  readonly field: string;
  /** null: not told; undefined in one of them: the field is not there. */
  readonly a: unknown;
  readonly b: unknown;
  /** true: the field takes part in the hash, so the numbers may differ by it. */
  readonly decides: boolean;
}

/** Fields that differ by nature and say nothing about the machine. */
const ALWAYS_DIFFERENT = ['schema', 'hash', 'recorded'];

/** Field by field, those that decide about the numbers first. */
export function diffEnvironments(
  a: Readonly<Record<string, unknown>>,
  b: Readonly<Record<string, unknown>>,
): EnvironmentDifference[] {
  const left = new Map(flatten(a));
  const right = new Map(flatten(b));
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((field) => !ALWAYS_DIFFERENT.includes(field) && left.get(field) !== right.get(field))
    .map((field) => ({
      field,
      a: left.get(field) ?? null,
      b: right.get(field) ?? null,
      decides: decides(field),
    }))
    .sort((x, y) => Number(y.decides) - Number(x.decides));
}
