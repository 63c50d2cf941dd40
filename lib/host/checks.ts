import { formatBytes, MiB } from '../units.ts';
import type { CgroupMemory } from './cgroup.ts';
import {
  availablePages,
  type CgroupHugetlbLimit,
  type HugepagePool,
  type ThpPolicy,
} from './hugepages.ts';
import type {
  CapabilityName,
  Cpu,
  Memlock,
  Memory,
  Numa,
  PageReporting,
  Virtualization,
} from './machine.ts';

/**
 * What a fact means for a measurement: one line each, the same in `doctor` and in the preflight of a
 * benchmark. OK: nothing to say. WARN: it works, and the numbers are not what they could be. NO: something
 * cannot be measured here.
 */
export type CheckLevel = 'OK' | 'WARN' | 'NO';

/** One line: the state of something that changes the numbers. */
export interface CheckLine {
  readonly check: string;
  readonly level: CheckLevel;
  readonly value: string;
  /** What this does to the numbers; null when nothing. */
  readonly effect: string | null;
  /** What mends it, as a command where there is one; null when nothing can or need be done. */
  readonly fix: string | null;
}

type Capabilities = Readonly<Record<CapabilityName, boolean>> | null;

function line(
  check: string,
  level: CheckLevel,
  value: string,
  effect: string | null = null,
  fix: string | null = null,
): CheckLine {
  return { check, level, value, effect, fix };
}

const THP_FOLDER = '/sys/kernel/mm/transparent_hugepage';
const PAGE_KB = { '2m': 2048, '1g': 1048576 } as const;

/** 4 KB pages: base pages of another size cannot stand in for them. */
export function check4k(basePageBytes: number | null): CheckLine {
  if (basePageBytes === 4096) return line('4k', 'OK', 'base page 4 KiB');
  const effect = 'rows for 4k are unavailable, and with them every comparison';
  if (basePageBytes === null) return line('4k', 'NO', 'base page size unknown', effect);
  const value = `base page ${formatBytes(basePageBytes)}`;
  return line('4k', 'NO', value, effect, 'boot a kernel with 4 KiB base pages');
}

/** Transparent huge pages: policy, the policy of the 2 MB size, and this process's own switch. */
export function checkThp(thp: ThpPolicy, disabledByPrctl: number | null): CheckLine {
  const effect = 'rows for thp are unavailable';
  if (thp.enabled === null) {
    const fix = 'boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE';
    return line('thp', 'NO', 'not in this kernel', effect, fix);
  }
  const value = `enabled=${thp.enabled}, defrag=${thp.defrag ?? 'unknown'}`;
  if (disabledByPrctl === 1) {
    const fix = 'start from a process without prctl(PR_SET_THP_DISABLE)';
    return line('thp', 'NO', `${value}, disabled for this process`, effect, fix);
  }
  const size = thp.sizes['2048'];
  if (size === 'never') {
    const fix = `echo inherit | sudo tee ${THP_FOLDER}/hugepages-2048kB/enabled`;
    return line('thp', 'NO', `${value}, 2048kB=never`, effect, fix);
  }
  if (thp.enabled === 'never' && size !== 'always' && size !== 'madvise') {
    return line('thp', 'NO', value, effect, `echo madvise | sudo tee ${THP_FOLDER}/enabled`);
  }
  if (thp.defrag === 'never' || thp.defrag === 'defer') {
    return line(
      'thp',
      'WARN',
      value,
      'a page fault takes 4 KB pages when no huge page is free at once: more invalid samples',
      `echo madvise | sudo tee ${THP_FOLDER}/defrag`,
    );
  }
  return line('thp', 'OK', value);
}

/** A hugetlb kind: whether the kernel has the size, and whether its pool has a page to give. */
export function checkPool(
  kind: '2m' | '1g',
  pools: readonly HugepagePool[],
  pdpe1gb: boolean | null,
): CheckLine {
  const pageKb = PAGE_KB[kind];
  const effect = `rows for ${kind} are unavailable`;
  const pool = pools.find((p) => p.node === null && p.page_kb === pageKb);
  if (pool === undefined) {
    const why = kind === '1g' && pdpe1gb === false ? 'this CPU has no 1 GB pages (pdpe1gb)' : null;
    const fix = why === null ? 'boot a kernel with CONFIG_HUGETLBFS' : null;
    return line(kind, 'NO', why ?? 'no such page size in this kernel', effect, fix);
  }
  const available = availablePages(pool);
  const counts = `${pool.free ?? '?'} of ${pool.nr ?? '?'} pages free`;
  const reserved = pool.resv ? `, ${pool.resv} promised` : '';
  if (available !== null && available > 0) return line(kind, 'OK', `${counts}${reserved}`);
  const value =
    pool.nr === 0 ? 'pool is empty' : available === null ? 'pool unknown' : `${counts}${reserved}`;
  const more = kind === '2m' ? 512 : 1;
  const file = `/sys/kernel/mm/hugepages/hugepages-${pageKb}kB/nr_hugepages`;
  const fix = `echo ${(pool.nr ?? 0) + more} | sudo tee ${file}`;
  const until = `${effect} until the pool has pages (bench memcpy --reserve borrows them for one run)`;
  return line(kind, 'WARN', value, until, fix);
}

/** The hugetlb limits of the control groups: only those that are set. */
export function checkCgroupHugetlb(limits: readonly CgroupHugetlbLimit[]): CheckLine {
  const set = limits.filter((limit) => limit.bytes !== null);
  const tight = set.filter(
    (limit) => (limit.bytes as number) - (limit.current_bytes ?? 0) < limit.page_kb * 1024,
  );
  if (set.length === 0) {
    return line('cgroup hugetlb', 'OK', limits.length === 0 ? 'no controller' : 'no limit');
  }
  const value = set
    .map((limit) => `${limit.file} = ${formatBytes(limit.bytes as number)}`)
    .join(', ');
  if (tight.length === 0) return line('cgroup hugetlb', 'OK', value);
  const kinds = [...new Set(tight.map((limit) => (limit.page_kb === 2048 ? '2m' : '1g')))];
  return line(
    'cgroup hugetlb',
    'WARN',
    value,
    `no further page fits under the limit: rows for ${kinds.join(' and ')} are unavailable whatever the pool has`,
    tight.map((limit) => `echo max | sudo tee ${limit.file}`).join(' && '),
  );
}

/** Memory that can still be used, by the machine and by the control group. */
export function checkMemory(memory: Memory): CheckLine {
  const { available_bytes: available, total_bytes: total } = memory;
  if (available === null || total === null) {
    const effect = 'plans are not checked against the memory that is there';
    return line('memory', 'WARN', 'unknown (/proc/meminfo)', effect);
  }
  const value = `${formatBytes(available)} available of ${formatBytes(total)}`;
  if (available >= 2 * 1024 * MiB) return line('memory', 'OK', value);
  return line(
    'memory',
    'WARN',
    value,
    'large cells are refused (above 60 % of the available memory), and the kernel may reclaim meanwhile',
    'stop other programs, or measure smaller --sizes',
  );
}

export function checkCgroupMemory(memory: CgroupMemory | null): CheckLine {
  if (memory === null) return line('memory.max', 'OK', 'no memory controller');
  if (memory.max_bytes === null) return line('memory.max', 'OK', 'no limit');
  const used = memory.current_bytes === null ? 'unknown' : formatBytes(memory.current_bytes);
  const value = `${formatBytes(memory.max_bytes)}, ${used} used (${memory.file})`;
  const room = memory.max_bytes - (memory.current_bytes ?? 0);
  if (room >= 2 * 1024 * MiB) return line('memory.max', 'OK', value);
  return line(
    'memory.max',
    'WARN',
    value,
    'large cells are refused, and close to the limit the kernel reclaims page cache in the timed region',
    'raise the memory limit of this container or service, or measure smaller --sizes',
  );
}

export function checkVirtualization(virtualization: Virtualization): CheckLine {
  const { virtual, hypervisor, product } = virtualization;
  if (virtual === null) {
    const effect = 'it is not known whether a hypervisor takes part in the numbers';
    return line('hypervisor', 'WARN', 'unknown', effect);
  }
  if (!virtual) return line('hypervisor', 'OK', 'none');
  return line(
    'hypervisor',
    'WARN',
    [hypervisor ?? 'virtual machine', product].filter((part) => part !== null).join(', '),
    'page walks are nested and the host may back memory on first touch: the numbers hold for this guest',
    'measure on the host itself for numbers of the hardware',
  );
}

export function checkPageReporting(reporting: PageReporting | null): CheckLine {
  if (reporting === null || !reporting.active) {
    return line('page reporting', 'OK', reporting === null ? 'not in this kernel' : 'off');
  }
  const block = reporting.order === null ? null : formatBytes(4096 * 2 ** reporting.order);
  const told =
    reporting.reported_kib === null
      ? ''
      : `, ${formatBytes(reporting.reported_kib * 1024)} handed back since boot`;
  return line(
    'page reporting',
    'WARN',
    `on, order ${reporting.order} (blocks of ${block})${told}`,
    'free memory goes back to the host: a first touch may wait for the host, seen as slow cold samples of large pages',
    'ask the host for a balloon without free-page-reporting; conditioning of cold samples hides most of it',
  );
}

/** Pinning as an ordinary user is bounded by RLIMIT_MEMLOCK, and fails only after it pinned that much. */
export function checkMemlock(memlock: Memlock | null, capabilities: Capabilities): CheckLine {
  if (memlock === null) return line('memlock', 'WARN', 'unknown (/proc/self/limits)');
  const value = memlock.unlimited ? 'unlimited' : formatBytes(memlock.soft_bytes ?? 0);
  if (memlock.unlimited) return line('memlock', 'OK', value);
  if (capabilities?.CAP_IPC_LOCK === true) {
    return line('memlock', 'OK', `${value}, not binding with CAP_IPC_LOCK`);
  }
  return line(
    'memlock',
    'WARN',
    value,
    'buffers of this size and above cannot be pinned (pin=register) or locked',
    'sudo prlimit --pid $$ --memlock=unlimited:unlimited',
  );
}

export function checkNuma(numa: Numa): CheckLine {
  const nodes = numa.nodes.length;
  const balancing = numa.balancing === null ? 'no balancing' : `balancing=${numa.balancing}`;
  const value = `${nodes === 0 ? 'no NUMA' : `${nodes} node${nodes === 1 ? '' : 's'}`}, ${balancing}`;
  if (nodes > 1 && (numa.balancing ?? 0) > 0) {
    return line(
      'numa',
      'WARN',
      value,
      'the kernel unmaps pages to see who uses them, and moves them: extra faults in warm samples',
      'sudo sysctl kernel.numa_balancing=0',
    );
  }
  return line('numa', 'OK', value);
}

export function checkGovernor(cpu: Cpu): CheckLine {
  if (cpu.governor === null) return line('governor', 'OK', 'no frequency scaling in this system');
  if (cpu.governor === 'performance') return line('governor', 'OK', cpu.governor);
  return line(
    'governor',
    'WARN',
    cpu.governor,
    'the clock rises and falls with the load: the first samples of a run may be slower',
    'echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor',
  );
}

export function checkSwap(memory: Memory): CheckLine {
  const { swap_total_bytes: total, swap_free_bytes: free } = memory;
  if (total === null || free === null) return line('swap', 'OK', 'unknown (/proc/meminfo)');
  if (total === 0) return line('swap', 'OK', 'none');
  const value = `${formatBytes(total - free)} used of ${formatBytes(total)}`;
  if (free === total) return line('swap', 'OK', value);
  const effect = 'buffers may be swapped out between samples: major faults in the timed region';
  return line('swap', 'WARN', value, effect, 'sudo swapoff -a');
}
