import { cgroupFolders, readLimit } from './cgroup.ts';
import { chosenWord, listDir, parseKeyValues, readNumber, readText } from './sysfs.ts';

/** One pool of hugetlb pages, as the kernel counts it. What it does not tell is null. */
export interface HugepagePool {
  /** null: the whole machine. */
  readonly node: number | null;
  readonly page_kb: number;
  /** Pages in the pool, used or not, surplus included. */
  readonly nr: number | null;
  readonly free: number | null;
  /** Promised to mappings that have not touched them yet; the kernel counts it machine-wide only. */
  readonly resv: number | null;
  /** Pages above the configured size that overcommit has added. */
  readonly surplus: number | null;
  /** How many surplus pages may be added; machine-wide only. */
  readonly overcommit: number | null;
}

/** Pages a mapping can have now: free and not promised, and what overcommit may still add. */
export function availablePages(pool: HugepagePool): number | null {
  if (pool.free === null) return null;
  const growth = Math.max(0, (pool.overcommit ?? 0) - (pool.surplus ?? 0));
  return Math.max(0, pool.free - (pool.resv ?? 0)) + growth;
}

function readPools(folder: string, node: number | null, root?: string): HugepagePool[] {
  const pools: HugepagePool[] = [];
  for (const name of listDir(folder, root)) {
    const match = /^hugepages-(\d+)kB$/.exec(name);
    if (!match) continue;
    const file = (what: string) => readNumber(`${folder}/${name}/${what}_hugepages`, root);
    pools.push({
      node,
      page_kb: Number(match[1]),
      nr: file('nr'),
      free: file('free'),
      resv: node === null ? file('resv') : null,
      surplus: file('surplus'),
      overcommit: node === null ? file('nr_overcommit') : null,
    });
  }
  return pools.sort((a, b) => a.page_kb - b.page_kb);
}

/** Every pool of the machine: first machine-wide by size, then each NUMA node's share. */
export function readHugepagePools(root?: string): HugepagePool[] {
  const pools = readPools('/sys/kernel/mm/hugepages', null, root);
  const nodes = '/sys/devices/system/node';
  for (const name of listDir(nodes, root)) {
    const match = /^node(\d+)$/.exec(name);
    if (match) pools.push(...readPools(`${nodes}/${name}/hugepages`, Number(match[1]), root));
  }
  return pools;
}

/** The transparent-huge-page policy; null where the kernel has none or does not tell. */
export interface ThpPolicy {
  readonly enabled: string | null;
  readonly defrag: string | null;
  readonly shmem_enabled: string | null;
  readonly use_zero_page: number | null;
  /** Size of a PMD-mapped page, 2 MB on x86-64. */
  readonly pmd_bytes: number | null;
  readonly khugepaged_defrag: number | null;
  /** Policy per size in KiB, where the kernel has more than one (Linux 6.8). */
  readonly sizes: Readonly<Record<string, string>>;
}

export function readThp(root?: string): ThpPolicy {
  const base = '/sys/kernel/mm/transparent_hugepage';
  const sizes: Record<string, string> = {};
  for (const name of listDir(base, root)) {
    const kb = /^hugepages-(\d+)kB$/.exec(name)?.[1];
    const policy = kb && chosenWord(readText(`${base}/${name}/enabled`, root));
    if (kb && policy) sizes[kb] = policy;
  }
  return {
    enabled: chosenWord(readText(`${base}/enabled`, root)),
    defrag: chosenWord(readText(`${base}/defrag`, root)),
    shmem_enabled: chosenWord(readText(`${base}/shmem_enabled`, root)),
    use_zero_page: readNumber(`${base}/use_zero_page`, root),
    pmd_bytes: readNumber(`${base}/hpage_pmd_size`, root),
    khugepaged_defrag: readNumber(`${base}/khugepaged/defrag`, root),
    sizes,
  };
}

/** One hugetlb limit of a control group that holds for this process. */
export interface CgroupHugetlbLimit {
  readonly page_kb: number;
  /** `max` bites at the first touch, `rsvd.max` already at mmap. */
  readonly kind: 'max' | 'rsvd.max';
  /** null: no limit. */
  readonly bytes: number | null;
  readonly current_bytes: number | null;
  /** How often this limit refused a page: tells it apart from an empty pool. */
  readonly refused: number | null;
  readonly file: string;
}

const SIZE_UNITS_KB: Readonly<Record<string, number>> = { KB: 1, MB: 1024, GB: 1024 ** 2 };

/** The hugetlb limits of every group on the way up; empty where the controller is not mounted. */
export function readCgroupHugetlb(root?: string): CgroupHugetlbLimit[] {
  const found = cgroupFolders('hugetlb', root);
  if (found === null) return [];
  const limits: CgroupHugetlbLimit[] = [];
  const pattern =
    found.version === 2
      ? /^hugetlb\.(\d+)([KMG]B)\.(rsvd\.)?max$/
      : /^hugetlb\.(\d+)([KMG]B)\.(rsvd\.)?limit_in_bytes$/;
  for (const folder of found.folders) {
    for (const name of listDir(folder, root)) {
      const match = pattern.exec(name);
      if (!match) continue;
      const size = `${folder}/hugetlb.${match[1]}${match[2]}`;
      const part = match[3] ?? '';
      limits.push({
        page_kb: Number(match[1]) * (SIZE_UNITS_KB[match[2] as string] as number),
        kind: part === '' ? 'max' : 'rsvd.max',
        bytes: readLimit(`${folder}/${name}`, root),
        current_bytes:
          found.version === 2
            ? readNumber(`${size}.${part}current`, root)
            : readNumber(`${size}.${part}usage_in_bytes`, root),
        refused:
          found.version === 2
            ? // The events file counts both kinds of refusal, the way the kernel does.
              (parseKeyValues(readText(`${size}.events`, root)).get('max') ?? null)
            : readNumber(`${size}.${part}failcnt`, root),
        file: `${folder}/${name}`,
      });
    }
  }
  return limits;
}
