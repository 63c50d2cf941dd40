import { arch, constants, endianness, getPriority } from 'node:os';
import { readCgroupMemory, readCgroupMode } from './cgroup.ts';
import { nvidiaDevices, readDriver } from './drivers.ts';
import { chosen, type Fact, type FactSheet, plain } from './environment-facts.ts';
import { readCgroupHugetlb, readHugepagePools } from './hugepages.ts';
import {
  readBasePageBytes,
  readContainer,
  readCpu,
  readMemlock,
  readMemory,
  readNuma,
  readPageReporting,
  readStatus,
  readVirtualization,
} from './machine.ts';
import { listDir, parseKeyValues, parseList, readNumber, readText } from './sysfs.ts';

/**
 * The groups of an environment record. Each function adds one group to a sheet; what is in the `identity` sheet
 * decides about comparability, so nothing may be put there that changes by itself (free memory, clocks, names).
 */

const CPU0 = '/sys/devices/system/cpu/cpu0';
const NOT_HERE = 'the kernel does not tell';

/** Memory as firmware sells it: MemTotal differs by some MiB between kernels of one machine. */
function gibibytes(bytes: number | null): number | null {
  return bytes === null ? null : Math.round(bytes / 2 ** 30);
}

function cpuinfo(sheet: FactSheet, field: string, name: string): void {
  sheet.file(`hardware.cpu.${field}`, '/proc/cpuinfo', (text) => {
    const value = new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(text)?.[1];
    return value === undefined ? undefined : plain(value);
  });
}

export function hardware(sheet: FactSheet): void {
  const { root } = sheet;
  const machine = readVirtualization(root);
  sheet.set('hardware.architecture', arch(), NOT_HERE);
  sheet.set('hardware.byte_order', endianness(), NOT_HERE);
  sheet.set('hardware.virtual', machine.virtual, 'the CPU lists no features');
  sheet.set(
    'hardware.hypervisor',
    machine.virtual === false
      ? 'none'
      : (machine.hypervisor ?? (machine.virtual ? 'unnamed' : null)),
    'neither clock sources nor firmware tables name one',
  );
  sheet.set('hardware.machine', machine.product, 'no firmware tables (/sys/class/dmi/id)');
  sheet.files('hardware', '/sys/class/dmi/id', ['board_vendor', 'board_name', 'board_version']);
  cpuinfo(sheet, 'vendor', 'vendor_id');
  cpuinfo(sheet, 'model', 'model name');
  cpuinfo(sheet, 'family', 'cpu family');
  cpuinfo(sheet, 'model_number', 'model');
  cpuinfo(sheet, 'stepping', 'stepping');
  cpuinfo(sheet, 'microcode', 'microcode');
  cpuinfo(sheet, 'cores_per_socket', 'cpu cores');
  cpuinfo(sheet, 'threads_per_socket', 'siblings');
  cpuinfo(sheet, 'address_sizes', 'address sizes');
  const cpu = readCpu(root);
  sheet.set('hardware.cpu.online', cpu.count, NOT_HERE);
  sheet.files('hardware.cpu', '/sys/devices/system/cpu', [
    'present',
    'possible',
    'isolated',
    'nohz_full',
  ]);
  sheet.file('hardware.cpu.smt', '/sys/devices/system/cpu/smt/control');
  sheet.set('hardware.cpu.pdpe1gb', cpu.pdpe1gb, 'the CPU lists no features');
  const flags = /^flags\s*:\s*(.*)$/m.exec(readText('/proc/cpuinfo', root) ?? '')?.[1]?.split(' ');
  for (const flag of [
    'avx2',
    'avx512f',
    'amx_tile',
    'erms',
    'fsrm',
    'constant_tsc',
    'nonstop_tsc',
    'la57',
  ]) {
    sheet.set(`hardware.cpu.${flag}`, flags?.includes(flag), 'the CPU lists no features');
  }
  for (const index of ['index0', 'index1', 'index2', 'index3']) {
    const level = readNumber(`${CPU0}/cache/${index}/level`, root);
    const type = readText(`${CPU0}/cache/${index}/type`, root);
    const name = level === null ? index : `l${level}_${type?.toLowerCase() ?? 'unknown'}`;
    sheet.file(`hardware.cache.${name}`, `${CPU0}/cache/${index}/size`);
  }
  sheet.set('hardware.cache.llc_bytes', cpu.llc_bytes, `${CPU0}/cache: not there`);
  sheet.set('hardware.memory_gib', gibibytes(readMemory(root).total_bytes), NOT_HERE);
  sheet.set('hardware.base_page_bytes', readBasePageBytes(root), 'no auxiliary vector');
}

export function firmware(sheet: FactSheet): void {
  const { root } = sheet;
  sheet.files('firmware', '/sys/class/dmi/id', [
    'bios_vendor',
    'bios_version',
    'bios_date',
    'bios_release',
  ]);
  const efi = listDir('/sys/firmware', root);
  sheet.set(
    'firmware.interface',
    efi.length === 0 ? null : efi.includes('efi') ? 'efi' : 'legacy',
    '/sys/firmware: not there',
  );
}

/** Boot parameters that change performance; others may hold names and keys, so they are not copied. */
const BOOT_PARAMETERS =
  /^(hugepages|hugepagesz|default_hugepagesz|transparent_hugepage\w*|hugetlb_\w+|iommu|intel_iommu|amd_iommu|iommu\.\w+|mitigations|nopti|pti|spectre_v2|nosmt|isolcpus|nohz_full|rcu_nocbs|nohz|numa_balancing|numa|processor\.max_cstate|intel_idle\.max_cstate|idle|cpuidle\.\w+|intel_pstate|amd_pstate|cpufreq\.\w+|pcie_aspm\w*|pci|psi|cgroup_\w+|systemd\.unified_cgroup_hierarchy|clocksource|tsc|preempt|audit|mem|memmap|movablecore|kernelcore|nvidia[-\w]*\.\w+|nvidia-drm\.\w+|init_on_alloc|init_on_free|page_poison|slub_debug|threadirqs|skew_tick)(=.*)?$/;

export function kernel(sheet: FactSheet): void {
  sheet.file('kernel.release', '/proc/sys/kernel/osrelease');
  sheet.file('kernel.version', '/proc/sys/kernel/version');
  sheet.file('kernel.boot_parameters', '/proc/cmdline', (text) =>
    text
      .trim()
      .split(/\s+/)
      .filter((each) => BOOT_PARAMETERS.test(each)),
  );
  sheet.file(
    'kernel.os',
    '/etc/os-release',
    (text) => /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1],
  );
  sheet.file(
    'kernel.preemption',
    '/sys/kernel/debug/sched/preempt',
    (text) => /\((\w+)\)/.exec(text)?.[1],
  );
  sheet.file(
    'kernel.clocksource',
    '/sys/devices/system/clocksource/clocksource0/current_clocksource',
  );
  sheet.file('kernel.security_modules', '/sys/kernel/security/lsm');
  sheet.files('kernel', '/proc/sys/kernel', [
    'perf_event_paranoid',
    'perf_event_mlock_kb',
    'perf_cpu_time_max_percent',
    'io_uring_disabled',
    'randomize_va_space',
    'nmi_watchdog',
    'watchdog',
    'unprivileged_bpf_disabled',
    'sched_autogroup_enabled',
    'timer_migration',
  ]);
}

export function memoryPolicy(sheet: FactSheet): void {
  const { root } = sheet;
  const thp = '/sys/kernel/mm/transparent_hugepage';
  for (const name of ['enabled', 'defrag', 'shmem_enabled'])
    sheet.file(`thp.${name}`, `${thp}/${name}`, chosen);
  sheet.files('thp', thp, ['use_zero_page', 'hpage_pmd_size', 'shrink_underused']);
  sheet.files('thp.khugepaged', `${thp}/khugepaged`, [
    'defrag',
    'pages_to_scan',
    'scan_sleep_millisecs',
    'alloc_sleep_millisecs',
    'max_ptes_none',
    'max_ptes_swap',
    'max_ptes_shared',
  ]);
  for (const name of listDir(thp, root).filter((each) => each.startsWith('hugepages-'))) {
    sheet.file(`thp.sizes.${name.slice('hugepages-'.length)}`, `${thp}/${name}/enabled`, chosen);
  }
  const sizes = listDir('/sys/kernel/mm/hugepages', root);
  sheet.set(
    'hugetlb_sizes',
    sizes.length > 0 ? sizes.map((each) => each.slice('hugepages-'.length)) : null,
    '/sys/kernel/mm/hugepages: not there',
  );
  sheet.files('vm', '/proc/sys/vm', [
    'overcommit_memory',
    'overcommit_ratio',
    'swappiness',
    'zone_reclaim_mode',
    'compaction_proactiveness',
    'compact_unevictable_allowed',
    'extfrag_threshold',
    'min_free_kbytes',
    'watermark_scale_factor',
    'watermark_boost_factor',
    'max_map_count',
    'dirty_ratio',
    'dirty_background_ratio',
    'vfs_cache_pressure',
    'hugetlb_optimize_vmemmap',
    'unprivileged_userfaultfd',
  ]);
  sheet.file('vm.ksm_run', '/sys/kernel/mm/ksm/run');
  sheet.file('vm.multi_gen_lru', '/sys/kernel/mm/lru_gen/enabled');
  sheet.file('vm.zswap', '/sys/module/zswap/parameters/enabled');
  const reporting = readPageReporting(root);
  sheet.set(
    'vm.page_reporting',
    reporting === null ? null : reporting.active,
    '/sys/module/page_reporting: not there',
  );
  sheet.set('vm.page_reporting_order', reporting?.order, 'no device asks for free page reports');
}

export function numaAndPower(sheet: FactSheet): void {
  const { root } = sheet;
  const numa = readNuma(root);
  sheet.set('numa.nodes', numa.nodes.length, NOT_HERE);
  sheet.file('numa.balancing', '/proc/sys/kernel/numa_balancing');
  sheet.set(
    'numa.cpus',
    numa.nodes.length > 0 ? numa.nodes.map((node) => node.cpus) : null,
    '/sys/devices/system/node: not there',
  );
  sheet.set(
    'numa.memory_gib',
    numa.nodes.length > 0 ? numa.nodes.map((node) => gibibytes(node.memory_bytes)) : null,
    '/sys/devices/system/node: not there',
  );
  const distances = numa.nodes.map((node) =>
    readText(`/sys/devices/system/node/node${node.node}/distance`, root),
  );
  sheet.set(
    'numa.distances',
    distances.length > 0 ? distances : null,
    '/sys/devices/system/node: not there',
  );
  sheet.files('power', `${CPU0}/cpufreq`, [
    'scaling_driver',
    'scaling_governor',
    'energy_performance_preference',
    'cpuinfo_max_freq',
    'cpuinfo_min_freq',
    'base_frequency',
    'scaling_max_freq',
  ]);
  sheet.file('power.boost', '/sys/devices/system/cpu/cpufreq/boost');
  sheet.file('power.intel_no_turbo', '/sys/devices/system/cpu/intel_pstate/no_turbo');
  sheet.files('power.cpuidle', '/sys/devices/system/cpu/cpuidle', [
    'current_driver',
    'current_governor_ro',
  ]);
  sheet.file('power.pcie_aspm', '/sys/module/pcie_aspm/parameters/policy', chosen);
}

export function mitigations(sheet: FactSheet): void {
  const { root } = sheet;
  const folder = '/sys/devices/system/cpu/vulnerabilities';
  const names = listDir(folder, root);
  if (names.length === 0) sheet.set('mitigations', null, `${folder}: not there`);
  else sheet.files('mitigations', folder, names);
}

/** Driver, its module parameters and where its devices sit: all without calling into the driver. */
export function gpuDriver(sheet: FactSheet): void {
  const { root } = sheet;
  const driver = readDriver(root);
  const none = driver.reason ?? 'the driver does not tell';
  sheet.set('gpu.driver.version', driver.version, none);
  sheet.set('gpu.driver.via', driver.via, none);
  const text = readText('/proc/driver/nvidia/version', root);
  sheet.set('gpu.driver.open', text === null ? null : /Open Kernel Module/.test(text), none);
  const parameters = readText('/proc/driver/nvidia/params', root);
  for (const name of [
    'EnableGpuFirmware',
    'EnableMSI',
    'EnablePCIeGen3',
    'DynamicPowerManagement',
    'RmProfilingAdminOnly',
    'InitializeSystemMemoryAllocations',
    'UsePageAttributeTable',
  ]) {
    const value = new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(parameters ?? '')?.[1];
    sheet.set(
      `gpu.driver.parameters.${name}`,
      value === undefined ? null : plain(value),
      parameters === null ? none : '/proc/driver/nvidia/params: not in the file',
    );
  }
  const devices = nvidiaDevices(root);
  sheet.set('gpu.devices', devices.length, NOT_HERE);
  const folder = '/sys/bus/pci/devices';
  for (const [index, address] of devices.entries()) {
    const at = `gpu.pcie.${index}`;
    sheet.files(at, `${folder}/${address}`, [
      'device',
      'subsystem_vendor',
      'subsystem_device',
      'max_link_speed',
      'max_link_width',
      'numa_node',
      'local_cpulist',
    ]);
  }
}

/** What this process may do. */
export function limits(sheet: FactSheet): void {
  const { root } = sheet;
  const memlock = readMemlock(root);
  sheet.set('limits.memlock_unlimited', memlock?.unlimited, '/proc/self/limits: not there');
  sheet.set(
    'limits.memlock_bytes',
    memlock?.soft_bytes,
    memlock?.unlimited ? 'unlimited' : '/proc/self/limits: not there',
  );
  for (const [field, name] of [
    ['open_files', 'Max open files'],
    ['processes', 'Max processes'],
    ['stack_bytes', 'Max stack size'],
    ['address_space_bytes', 'Max address space'],
    ['realtime_priority', 'Max realtime priority'],
  ] as const) {
    sheet.file(`limits.${field}`, '/proc/self/limits', (text) => {
      const value = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text)?.[1];
      return value === undefined ? undefined : plain(value);
    });
  }
  const status = readStatus(root);
  sheet.set(
    'limits.allowed_cpus',
    status.get('Cpus_allowed_list'),
    '/proc/self/status: not in the file',
  );
  sheet.set(
    'limits.allowed_memory_nodes',
    status.get('Mems_allowed_list'),
    '/proc/self/status: not in the file',
  );
  sheet.set('limits.capabilities', status.get('CapEff'), '/proc/self/status: not in the file');
  sheet.set(
    'limits.seccomp',
    status.has('Seccomp') ? Number(status.get('Seccomp')) : null,
    '/proc/self/status: not in the file',
  );
  sheet.set('limits.nice', niceness(), NOT_HERE);
  sheet.set('container.kind', readContainer(root), 'no sign of a container');
  sheet.set('container.cgroup_mode', readCgroupMode(root), 'no cgroup hierarchy is mounted');
  sheet.set(
    'container.memory_max_bytes',
    readCgroupMemory(root)?.max_bytes,
    'no limit, or no memory controller',
  );
  sheet.set(
    'container.hugetlb',
    JSON.parse(JSON.stringify(readCgroupHugetlb(root))) as Fact,
    NOT_HERE,
  );
}

function niceness(): number | null {
  try {
    const value = getPriority();
    return value === constants.priority.PRIORITY_NORMAL ? 0 : value;
  } catch {
    return null;
  }
}

/** Variables that change what CUDA, malloc or Node does. A list of what is taken: secrets cannot slip in. */
export const ENVIRONMENT_VARIABLES = [
  'CUDA_VISIBLE_DEVICES',
  'NVIDIA_VISIBLE_DEVICES',
  'NVIDIA_DRIVER_CAPABILITIES',
  'CUDA_DEVICE_ORDER',
  'CUDA_DEVICE_MAX_CONNECTIONS',
  'CUDA_LAUNCH_BLOCKING',
  'CUDA_MODULE_LOADING',
  'CUDA_MANAGED_FORCE_DEVICE_ALLOC',
  'CUDA_FORCE_PTX_JIT',
  'CUDA_DISABLE_PTX_JIT',
  'CUDA_INJECTION64_PATH',
  'PYTORCH_CUDA_ALLOC_CONF',
  'NCCL_P2P_DISABLE',
  'NCCL_P2P_LEVEL',
  'NCCL_SHM_DISABLE',
  'NCCL_ALGO',
  'NCCL_PROTO',
  'OMP_NUM_THREADS',
  'OMP_PROC_BIND',
  'MKL_NUM_THREADS',
  'MALLOC_ARENA_MAX',
  'MALLOC_TOP_PAD_',
  'GLIBC_TUNABLES',
  'LD_BIND_NOW',
  'UV_THREADPOOL_SIZE',
  'NODE_OPTIONS',
  'WARPGAUGE_NVML',
  'WARPGAUGE_CUDA',
  'WARPGAUGE_CUPTI',
  'WARPGAUGE_ROOT',
] as const;

export function variables(sheet: FactSheet): void {
  for (const name of ENVIRONMENT_VARIABLES) {
    sheet.set(`variables.${name}`, process.env[name], 'not set');
  }
}

/** What changes by itself or by what runs: never part of the identity. */
export function state(sheet: FactSheet): void {
  const { root } = sheet;
  const memory = readMemory(root);
  sheet.set('memory.total_bytes', memory.total_bytes, NOT_HERE);
  sheet.set('memory.available_bytes', memory.available_bytes, NOT_HERE);
  sheet.set('memory.swap_total_bytes', memory.swap_total_bytes, NOT_HERE);
  sheet.set('memory.swap_free_bytes', memory.swap_free_bytes, NOT_HERE);
  const values = parseKeyValues(readText('/proc/meminfo', root));
  for (const name of [
    'AnonHugePages',
    'ShmemHugePages',
    'FileHugePages',
    'PageTables',
    'Committed_AS',
    'CommitLimit',
  ]) {
    sheet.set(`memory.${name}_bytes`, values.get(name), '/proc/meminfo: not in the file');
  }
  sheet.set('hugetlb', JSON.parse(JSON.stringify(readHugepagePools(root))) as Fact, NOT_HERE);
  sheet.file('load', '/proc/loadavg', (text) => text.split(' ').slice(0, 3).map(Number));
  sheet.file('uptime_seconds', '/proc/uptime', (text) => Number(text.split(' ')[0]));
  sheet.file('buddy_free_blocks', '/proc/buddyinfo', (text) =>
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().replace(/\s+/g, ' ')),
  );
  sheet.file('cpu0_frequency_khz', `${CPU0}/cpufreq/scaling_cur_freq`);
  // The kernel lowers the rate when its interrupts take long, and is tainted by its own warnings.
  sheet.files('kernel', '/proc/sys/kernel', ['perf_event_max_sample_rate', 'tainted']);
  const online = parseList(readText('/sys/devices/system/cpu/online', root));
  sheet.set('cpus_online', online.length || null, NOT_HERE);
  for (const [index, address] of nvidiaDevices(root).entries()) {
    sheet.files(`gpu.pcie.${index}`, `/sys/bus/pci/devices/${address}`, [
      'current_link_speed',
      'current_link_width',
      'power/runtime_status',
    ]);
  }
}

/** Names of this machine: told, and never part of what is compared. */
export function host(sheet: FactSheet, hash: (text: string) => string): void {
  sheet.file('hostname', '/proc/sys/kernel/hostname');
  // Tells machines apart, names none.
  sheet.file('machine_id_hash', '/etc/machine-id', (text) =>
    text.trim() === '' ? undefined : hash(text.trim()),
  );
  sheet.file('boot_id', '/proc/sys/kernel/random/boot_id');
  sheet.set('gpu_addresses', nvidiaDevices(sheet.root), NOT_HERE);
}
