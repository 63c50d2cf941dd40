import { getSystemErrorName } from 'node:util';
import { type Binding, loadBinding } from '../addon.ts';
import { type ErrorRecord, WarpgaugeError } from '../errors.ts';
import { packageVersion } from '../version.ts';
import { type CgroupMemory, readCgroupMemory, readCgroupMode } from './cgroup.ts';
import {
  type CheckLine,
  check4k,
  checkCgroupHugetlb,
  checkCgroupMemory,
  checkGovernor,
  checkMemlock,
  checkMemory,
  checkNuma,
  checkPageReporting,
  checkPool,
  checkSwap,
  checkThp,
  checkVirtualization,
} from './checks.ts';
import {
  checkDriver,
  checkFeature,
  checkLibrary,
  checkPerfEvents,
  checkPerfLevel,
  checkRoot,
} from './doctor-checks.ts';
import {
  type DriverReport,
  LIBRARY_OVERRIDES,
  type LibraryReport,
  nvidiaDevices,
  nvidiaNodes,
  probeLibrary,
  readDriver,
} from './drivers.ts';
import {
  type CgroupHugetlbLimit,
  type HugepagePool,
  readCgroupHugetlb,
  readHugepagePools,
  readThp,
  type ThpPolicy,
} from './hugepages.ts';
import {
  type CapabilityName,
  type Cpu,
  type Memlock,
  type Memory,
  type Numa,
  type PageReporting,
  readBasePageBytes,
  readCapabilities,
  readContainer,
  readCpu,
  readKernel,
  readMemlock,
  readMemory,
  readNuma,
  readPageReporting,
  readVirtualization,
  type Virtualization,
} from './machine.ts';
import { type PerfEventReport, probePerfEvents } from './perf-events.ts';
import { hostRoot, readNumber } from './sysfs.ts';

export interface DoctorOptions {
  /**
   * Recorded tree that stands for `/` where files are read. Default: `WARPGAUGE_ROOT`, else the machine.
   * System calls and libraries are always those of this machine.
   */
  readonly root?: string;
}

/** The subjects of doctor, in the order in which it prints them. */
export const DOCTOR_AREAS = ['pages', 'limits', 'counters', 'gpu', 'machine'] as const;
export type DoctorArea = (typeof DOCTOR_AREAS)[number];

export interface DoctorLine extends CheckLine {
  readonly area: DoctorArea;
}

/** A kernel feature that was tried: it works, or the errno's name says why not. */
export interface FeatureReport {
  readonly works: boolean | null;
  readonly reason: string | null;
}

/** Everything doctor found, `warpgauge/doctor/1`. Sizes in bytes unless named `_kb`; null: not told. */
export interface DoctorReport {
  readonly schema: 'warpgauge/doctor/1';
  readonly tool: { readonly version: string; readonly node: string };
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly duration_ns: number;
  readonly root: string;
  /** Override variables that are set, with their values. */
  readonly overrides: Readonly<Record<string, string>>;
  readonly summary: { readonly ok: number; readonly warn: number; readonly no: number };
  readonly lines: readonly DoctorLine[];
  /** Why the native addon did not load; then nothing that needs it was tried. */
  readonly addon_error: ErrorRecord | null;
  readonly kernel: string | null;
  readonly base_page_bytes: number | null;
  readonly cpu: Cpu;
  readonly memory: Memory;
  readonly numa: Numa;
  readonly virtualization: Virtualization;
  readonly page_reporting: PageReporting | null;
  readonly container: string | null;
  readonly hugetlb: readonly HugepagePool[];
  readonly thp: ThpPolicy;
  /** prctl(PR_GET_THP_DISABLE): 0 enabled, 1 disabled, 3 disabled except where advised. */
  readonly thp_disabled: number | null;
  readonly cgroup: {
    readonly mode: 'v1' | 'v2' | 'hybrid' | null;
    readonly memory: CgroupMemory | null;
    readonly hugetlb: readonly CgroupHugetlbLimit[];
  };
  readonly memlock: Memlock | null;
  readonly capabilities: Readonly<Record<CapabilityName, boolean>> | null;
  readonly perf: {
    readonly paranoid: number | null;
    readonly events: readonly PerfEventReport[];
  };
  readonly io_uring: FeatureReport & { readonly disabled: number | null };
  readonly pagemap_scan: FeatureReport;
  readonly populate_write: FeatureReport;
  readonly gpu: {
    readonly driver: DriverReport;
    /** PCI addresses of NVIDIA GPUs, driver or not. */
    readonly pci: readonly string[];
    /** Device nodes of the driver under /dev. */
    readonly nodes: readonly string[];
    readonly libraries: readonly LibraryReport[];
  };
  /** Every reading and probe with its own duration; the rest of `duration_ns` is putting lines together. */
  readonly probes: readonly { readonly name: string; readonly duration_ns: number }[];
}

const NOT_TRIED: FeatureReport = { works: null, reason: 'the native addon did not load' };

function feature(errno: number | null): FeatureReport {
  return errno === null
    ? { works: true, reason: null }
    : { works: false, reason: getSystemErrorName(-errno) };
}

function tryLoad(): { binding: Binding | null; error: ErrorRecord | null } {
  try {
    return { binding: loadBinding(), error: null };
  } catch (error) {
    const known =
      error instanceof WarpgaugeError
        ? error
        : new WarpgaugeError('ERR_ADDON_LOAD', String(error), { cause: error });
    return { binding: null, error: known.toJSON() };
  }
}

/** The public function of the same name: see lib/host/index.ts. */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  const { root } = options;
  const started = new Date().toISOString();
  const begin = process.hrtime.bigint();
  const probes: { name: string; duration_ns: number }[] = [];
  const timed = <T>(name: string, probe: () => T): T => {
    const from = process.hrtime.bigint();
    const value = probe();
    probes.push({ name, duration_ns: Number(process.hrtime.bigint() - from) });
    return value;
  };

  const { binding, error } = timed('load addon', tryLoad);
  const tryFeature = (name: string, probe: (b: Binding) => number | null): FeatureReport =>
    binding === null ? NOT_TRIED : timed(name, () => feature(probe(binding)));

  const cpu = timed('cpu', () => readCpu(root));
  const memory = timed('memory', () => readMemory(root));
  const hugetlb = timed('hugetlb pools', () => readHugepagePools(root));
  const thp = timed('thp', () => readThp(root));
  const cgroup = timed('cgroups', () => ({
    mode: readCgroupMode(root),
    memory: readCgroupMemory(root),
    hugetlb: readCgroupHugetlb(root),
  }));
  const numa = timed('numa', () => readNuma(root));
  const machine = timed('machine', () => ({
    kernel: readKernel(root),
    base_page_bytes: readBasePageBytes(root),
    virtualization: readVirtualization(root),
    page_reporting: readPageReporting(root),
    container: readContainer(root),
    memlock: readMemlock(root),
    capabilities: readCapabilities(root),
  }));
  const paranoid = readNumber('/proc/sys/kernel/perf_event_paranoid', root);
  const uringDisabled = readNumber('/proc/sys/kernel/io_uring_disabled', root);

  const thpDisabled = binding === null ? null : timed('thp prctl', () => binding.thpDisabled());
  const uring = tryFeature('io_uring', (b) => b.probeIoUring());
  const pagemapScan = tryFeature('PAGEMAP_SCAN', (b) => b.probePagemapScan());
  const populateWrite = tryFeature('MADV_POPULATE_WRITE', (b) => b.probePopulateWrite());
  const events = binding === null ? [] : probePerfEvents(binding, timed);
  const driver = timed('gpu driver', () => readDriver(root));
  const pci = timed('pci', () => nvidiaDevices(root));
  const nodes = timed('device nodes', () => nvidiaNodes(root));
  const libraries =
    binding === null
      ? []
      : (['cuda', 'nvml', 'cupti'] as const).map((library) =>
          timed(`${library} library`, () => probeLibrary(binding, library)),
        );

  const { memlock, capabilities } = machine;
  const area = (name: DoctorArea, lines: readonly CheckLine[]): DoctorLine[] =>
    lines.map((line) => ({ area: name, ...line }));
  const lines: DoctorLine[] = [
    ...area('pages', [
      check4k(machine.base_page_bytes),
      checkThp(thp, thpDisabled),
      checkPool('2m', hugetlb, cpu.pdpe1gb),
      checkPool('1g', hugetlb, cpu.pdpe1gb),
      checkCgroupHugetlb(cgroup.hugetlb),
      checkFeature(
        'MADV_POPULATE_WRITE',
        populateWrite,
        'hugetlb pages cannot be faulted in without the danger of SIGBUS: 2m and 1g are unavailable',
        'boot Linux 5.14 or newer',
      ),
      checkFeature(
        'PAGEMAP_SCAN',
        pagemapScan,
        'page sizes are proven by smaps, which is slower',
        'boot Linux 6.7 or newer',
        'WARN',
      ),
    ]),
    ...area('limits', [
      checkMemory(memory),
      checkCgroupMemory(cgroup.memory),
      checkSwap(memory),
      checkMemlock(memlock, capabilities),
      checkFeature(
        'io_uring',
        uring,
        'pin=register has no host proxy: only a GPU can register memory here',
        uring.reason === 'ENOSYS'
          ? 'boot a kernel with CONFIG_IO_URING (Linux 5.1 or newer)'
          : uringDisabled !== null && uringDisabled > 0
            ? 'sudo sysctl kernel.io_uring_disabled=0'
            : 'allow io_uring in the seccomp profile of this container',
      ),
    ]),
    ...area('counters', [
      checkPerfLevel(paranoid, capabilities),
      ...checkPerfEvents(events, paranoid),
    ]),
    ...area('gpu', [
      checkDriver(driver, pci, nodes),
      ...libraries.map((library) => checkLibrary(library, driver, pci)),
    ]),
    ...area('machine', [
      checkVirtualization(machine.virtualization),
      checkPageReporting(machine.page_reporting),
      checkNuma(numa),
      checkGovernor(cpu),
    ]),
  ];
  if (hostRoot(root) !== '/') lines.push(...area('machine', [checkRoot(hostRoot(root))]));
  if (error !== null) {
    lines.unshift({
      area: 'machine',
      check: 'native addon',
      level: 'NO',
      value: error.message,
      effect: 'nothing can be measured, and no counter or library was tried',
      fix: error.fix,
    });
  }
  const count = (level: string) => lines.filter((line) => line.level === level).length;
  const overrides: Record<string, string> = {};
  for (const name of [...Object.values(LIBRARY_OVERRIDES), 'WARPGAUGE_ROOT']) {
    const value = process.env[name];
    if (value) overrides[name] = value;
  }
  const { kernel, base_page_bytes, virtualization, page_reporting, container } = machine;
  return {
    schema: 'warpgauge/doctor/1',
    tool: { version: packageVersion(), node: process.version },
    started,
    duration_ns: Number(process.hrtime.bigint() - begin),
    root: hostRoot(root),
    overrides,
    summary: { ok: count('OK'), warn: count('WARN'), no: count('NO') },
    lines,
    addon_error: error,
    kernel,
    base_page_bytes,
    cpu,
    memory,
    numa,
    virtualization,
    page_reporting,
    container,
    hugetlb,
    thp,
    thp_disabled: thpDisabled,
    cgroup,
    memlock,
    capabilities,
    perf: { paranoid, events },
    io_uring: { ...uring, disabled: uringDisabled },
    pagemap_scan: pagemapScan,
    populate_write: populateWrite,
    gpu: { driver, pci, nodes, libraries },
    probes,
  };
}
