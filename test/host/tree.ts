import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

/** A recorded machine: files by their path on it. The folder is gone at the end of the test. */
export function tree(t: TestContext, files: Readonly<Record<string, string | Buffer>>): string {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-host-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

/** The files of one hugetlb pool. */
export function pool(
  pageKb: number,
  counts: { nr: number; free: number; resv?: number; surplus?: number; overcommit?: number },
): Record<string, string> {
  const base = `/sys/kernel/mm/hugepages/hugepages-${pageKb}kB`;
  return {
    [`${base}/nr_hugepages`]: `${counts.nr}\n`,
    [`${base}/free_hugepages`]: `${counts.free}\n`,
    [`${base}/resv_hugepages`]: `${counts.resv ?? 0}\n`,
    [`${base}/surplus_hugepages`]: `${counts.surplus ?? 0}\n`,
    [`${base}/nr_overcommit_hugepages`]: `${counts.overcommit ?? 0}\n`,
  };
}

/** mountinfo of a machine with only control groups version 2, as systemd mounts them. */
export const MOUNTINFO_V2 =
  '30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw\n';

/** mountinfo of a Debian 12 guest (Linux 6.18) with both versions. */
export const MOUNTINFO_HYBRID = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/huge\\040tlb rw,relatime - cgroup cgroup rw,hugetlb
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;

/** Bytes of /proc/self/auxv on a 64-bit machine with base pages of `pageBytes`. */
export function auxv(pageBytes: number): Buffer {
  const vector = Buffer.alloc(48);
  for (const [at, [key, value]] of [
    [16n, 0x178bfbffn],
    [6n, BigInt(pageBytes)],
    [0n, 0n],
  ].entries()) {
    vector.writeBigUInt64LE(key as bigint, at * 16);
    vector.writeBigUInt64LE(value as bigint, at * 16 + 8);
  }
  return vector;
}

/** The files of a bare-metal server: Debian 12, Linux 6.1, two NUMA nodes, no GPU, ordinary user. */
export const SERVER: Readonly<Record<string, string | Buffer>> = {
  '/proc/self/auxv': auxv(4096),
  '/proc/cpuinfo':
    'processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: fpu pdpe1gb\n\nprocessor\t: 1\nmodel name\t: second\n',
  '/sys/devices/system/cpu/online': '0-111\n',
  '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'performance\n',
  '/sys/devices/system/cpu/cpu0/cache/index0/level': '1\n',
  '/sys/devices/system/cpu/cpu0/cache/index0/type': 'Instruction\n',
  '/sys/devices/system/cpu/cpu0/cache/index0/size': '32K\n',
  '/sys/devices/system/cpu/cpu0/cache/index3/level': '3\n',
  '/sys/devices/system/cpu/cpu0/cache/index3/type': 'Unified\n',
  '/sys/devices/system/cpu/cpu0/cache/index3/size': '107520K\n',
  '/sys/devices/system/clocksource/clocksource0/available_clocksource': 'tsc hpet acpi_pm \n',
  '/sys/class/dmi/id/sys_vendor': 'Dell Inc.\n',
  '/sys/class/dmi/id/product_name': 'PowerEdge XE9680\n',
  '/sys/devices/system/node/online': '0-1\n',
  '/sys/devices/system/node/node0/cpulist': '0-55\n',
  '/sys/devices/system/node/node0/meminfo': 'Node 0 MemTotal:       65536 kB\n',
  '/sys/devices/system/node/node1/cpulist': '56-111\n',
  '/proc/sys/kernel/numa_balancing': '0\n',
  '/proc/sys/kernel/osrelease': '6.1.0-27-amd64\n',
  '/proc/sys/kernel/hostname': 'gpu07\n',
  '/proc/sys/kernel/perf_event_paranoid': '3\n',
  '/proc/sys/kernel/io_uring_disabled': '2\n',
  '/proc/sys/kernel/random/boot_id': '73a9095d-2fce-4ff8-9e98-accabd300953\n',
  '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
  '/etc/os-release': 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
  '/proc/meminfo':
    'MemTotal:       131072000 kB\nMemFree: 1 kB\nMemAvailable:   100000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n',
  '/proc/self/status': 'Name:\tnode\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-7\n',
  '/proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         8388608              unlimited            bytes     \n',
  '/proc/self/mountinfo': MOUNTINFO_V2,
  '/proc/self/cgroup': '0::/user.slice\n',
  '/proc/loadavg': '0.10 0.20 0.30 1/500 1234\n',
  '/proc/stat': 'cpu  100 0 100 1000 0 0 0 5 0 0\ncpu0 100 0 100 1000 0 0 0 5 0 0\n',
  '/sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never\n',
  '/sys/kernel/mm/transparent_hugepage/defrag': 'always defer defer+madvise [madvise] never\n',
  ...pool(2048, { nr: 1024, free: 1024 }),
  ...pool(1048576, { nr: 4, free: 4 }),
};
