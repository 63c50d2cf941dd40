import { cgroupFolders } from '../host/cgroup.ts';
import {
  availablePages,
  type CgroupHugetlbLimit,
  type HugepagePool,
  readCgroupHugetlb,
  readHugepagePools,
  readThp,
  type ThpPolicy,
} from '../host/hugepages.ts';
import { parseKeyValues, readText } from '../host/sysfs.ts';

/** The pool of one huge page size: of the machine with its nodes, complete. Counts are pages. */
export interface Pool {
  readonly pageBytes: number;
  /** Pages that exist, surplus ones included. */
  readonly total: number;
  readonly free: number;
  /** Promised to mappings that have not touched them yet; still counted as free. */
  readonly reserved: number;
  /** Taken beyond the pool by overcommit; they vanish when they are given back. */
  readonly surplus: number;
  readonly nodes: readonly {
    readonly node: number;
    readonly total: number;
    readonly free: number;
    readonly surplus: number;
  }[];
}

/** A pool as `pages status` shows it. */
export interface PoolEntry extends HugepagePool {
  /** `nr - surplus`: what a write to nr_hugepages sets. */
  readonly persistent: number | null;
  /** `free - resv`: a mapping of so many pages succeeds. */
  readonly guaranteed: number | null;
  /** `guaranteed` plus what overcommit may still try to add. */
  readonly available: number | null;
  /** Size of the pages that a page of this pool can be split into, or null. */
  readonly demote_kb: number | null;
}

export interface MemoryStatus {
  readonly total_bytes: number | null;
  readonly free_bytes: number | null;
  readonly available_bytes: number | null;
  /** Size that MAP_HUGETLB without a size means. */
  readonly default_huge_page_bytes: number | null;
}

/** What this machine has of huge pages, and what limits them. */
export interface PoolStatus {
  /** First machine-wide by size, then each NUMA node's share. */
  readonly pools: readonly PoolEntry[];
  readonly cgroup_hugetlb: readonly CgroupHugetlbLimit[];
  /** Why `cgroup_hugetlb` is empty, else null. */
  readonly cgroup_hugetlb_why: string | null;
  readonly thp: ThpPolicy;
  readonly memory: MemoryStatus;
}

/** The file that sets a pool's size: of the machine, or of one node. */
export function poolFile(pageBytes: number, node?: number): string {
  return `${poolFolder(pageBytes / 1024, node ?? null)}/nr_hugepages`;
}

function poolFolder(pageKb: number, node: number | null): string {
  const name = `hugepages-${pageKb}kB`;
  return node === null
    ? `/sys/kernel/mm/hugepages/${name}`
    : `/sys/devices/system/node/node${node}/hugepages/${name}`;
}

/** Size and node of a pool's file (`nr_hugepages` or `demote`), the inverse of {@link poolFile}. */
export function parsePoolFile(
  path: string,
): { readonly pageBytes: number; readonly node: number | null } | null {
  const match = /(?:\/node(\d+)\/hugepages)?\/hugepages-(\d+)kB\/(?:nr_hugepages|demote)$/.exec(
    path,
  );
  if (!match) return null;
  const [, node, kilobytes] = match;
  return { pageBytes: Number(kilobytes) * 1024, node: node === undefined ? null : Number(node) };
}

/** The pool of one size, or null where the kernel does not have it or does not tell all of it. */
export function readPool(pageBytes: number, root?: string): Pool | null {
  const same = readHugepagePools(root).filter((pool) => pool.page_kb * 1024 === pageBytes);
  const machine = same.find((pool) => pool.node === null);
  if (!machine || machine.nr === null || machine.free === null) return null;
  if (machine.resv === null || machine.surplus === null) return null;
  return {
    pageBytes,
    total: machine.nr,
    free: machine.free,
    reserved: machine.resv,
    surplus: machine.surplus,
    nodes: same.flatMap(({ node, nr, free, surplus }) =>
      node === null || nr === null || free === null || surplus === null
        ? []
        : [{ node, total: nr, free, surplus }],
    ),
  };
}

/** Pages that a write to the pool's nr_hugepages counts, or null where the node has no such pool. */
export function persistentPages(pool: Pool, node: number | null): number | null {
  const counts = node === null ? pool : pool.nodes.find((each) => each.node === node);
  return counts === undefined ? null : counts.total - counts.surplus;
}

/** Reads pools, cgroup limits, THP policy and memory. Changes nothing and needs no privilege. */
export function readPoolStatus(root?: string): PoolStatus {
  const limits = readCgroupHugetlb(root);
  const mounted = cgroupFolders('hugetlb', root) !== null;
  return {
    pools: readHugepagePools(root).map((pool) => ({
      ...pool,
      persistent: pool.nr === null || pool.surplus === null ? null : pool.nr - pool.surplus,
      guaranteed:
        pool.free === null || pool.resv === null ? null : Math.max(0, pool.free - pool.resv),
      // The kernel counts promised pages for the machine only: a node's share of them is unknown.
      available: pool.node === null ? availablePages(pool) : null,
      demote_kb: demoteKb(pool, root),
    })),
    cgroup_hugetlb: limits,
    cgroup_hugetlb_why:
      limits.length > 0
        ? null
        : mounted
          ? 'our cgroup and its parents have no hugetlb limit files'
          : 'no cgroup hierarchy with the hugetlb controller is mounted',
    thp: readThp(root),
    memory: readMemory(root),
  };
}

export function readMemory(root?: string): MemoryStatus {
  const meminfo = parseKeyValues(readText('/proc/meminfo', root));
  return {
    total_bytes: meminfo.get('MemTotal') ?? null,
    free_bytes: meminfo.get('MemFree') ?? null,
    available_bytes: meminfo.get('MemAvailable') ?? null,
    default_huge_page_bytes: meminfo.get('Hugepagesize') ?? null,
  };
}

function demoteKb({ page_kb, node }: HugepagePool, root?: string): number | null {
  const size = readText(`${poolFolder(page_kb, node)}/demote_size`, root);
  const kilobytes = /^(\d+)kB$/.exec(size ?? '')?.[1];
  return kilobytes === undefined ? null : Number(kilobytes);
}
