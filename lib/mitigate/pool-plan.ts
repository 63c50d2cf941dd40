import { accessSync, constants } from 'node:fs';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import {
  type CgroupHugetlbLimit,
  readCgroupHugetlb,
  readHugepagePools,
} from '../host/hugepages.ts';
import { hostPath, listDir, readText } from '../host/sysfs.ts';
import { formatBytes, GiB } from '../units.ts';
import { type PersistentPools, persistentPools } from './pool-persistent.ts';
import { persistentPages, poolFile, readMemory, readPool } from './pool-status.ts';

/** Pages of one size that a caller needs to be free. */
export interface PageRequest {
  /** A huge page size of this machine, such as 2097152 or 1073741824. */
  readonly pageBytes: number;
  /** Pages that must be available, not pages to add. */
  readonly count: number;
  /** NUMA node they must lie on. Default: anywhere; the kernel spreads them over the nodes. */
  readonly node?: number;
}

export interface PlanOptions {
  /** One entry per size, or per size and node. */
  readonly pages: readonly PageRequest[];
  /**
   * Split free pages of the next larger pool (1g into 2m) before new ones are made. They are put together again on release,
   * where memory allows it. Default false.
   */
  readonly demote?: boolean;
  /** How often memory is compacted and the write repeated where the kernel found too few pages. Default 1. */
  readonly compactions?: number;
  /** Most bytes to add to all pools together. Default: min(4 GiB, 25 % of available memory). */
  readonly limitBytes?: number;
  /** Folder that stands for `/`. Default: `WARPGAUGE_ROOT`, else `/`. */
  readonly root?: string;
}

/** What has to happen to one pool. */
export interface PlanStep {
  readonly pageBytes: number;
  readonly node: number | null;
  readonly count: number;
  /** Pages of this size (and node) that a mapping gets for sure, without overcommit. */
  readonly available: number;
  /** Larger pages to split first, or null: `pages` of `pageBytes` each, by a write to `file`. */
  readonly demote: {
    readonly pageBytes: number;
    readonly pages: number;
    readonly file: string;
  } | null;
  /** Pages to add: `max(0, count - available)` without those that come from splitting. */
  readonly growth: number;
  readonly file: string;
  /** What `file` means now (pages without surplus), and after it was written. */
  readonly from: number;
  readonly to: number;
  /** The same by hand, or null where nothing has to be added. */
  readonly command: string | null;
}

/** What reserve would do. Reading it changes nothing and needs no privilege. */
export interface ReservePlan {
  readonly steps: readonly PlanStep[];
  readonly growthBytes: number;
  readonly limitBytes: number;
  /** The same after every boot, for a person to put in place. */
  readonly persistent: PersistentPools;
  /** Why reserve would refuse before the first write, or null. */
  readonly refusal: WarpgaugeError | null;
}

/** What one run may add to the pools when nobody says more. */
const DEFAULT_LIMIT_BYTES = 4 * GiB;
const DEFAULT_LIMIT_SHARE = 0.25;

/** Compares a request with the pools as they are now. Throws on a request that no machine state could grant. */
export function planReserve(options: PlanOptions): ReservePlan {
  const { root } = options;
  validate(options);
  const steps = options.pages.map((request) => planStep(request, options));
  const growthBytes = steps.reduce((sum, step) => sum + step.growth * step.pageBytes, 0);
  const memory = readMemory(root);
  const availableBytes = memory.available_bytes;
  const persistent = persistentPools(steps, memory.default_huge_page_bytes);
  const limitBytes =
    options.limitBytes ??
    // Memory that cannot be read is no memory that we may take.
    Math.min(DEFAULT_LIMIT_BYTES, Math.floor((availableBytes ?? 0) * DEFAULT_LIMIT_SHARE));
  const refusal =
    growthBytes === 0 && steps.every(({ demote }) => demote === null)
      ? null
      : (refusePermission(steps, root) ??
        refuseCgroup(steps, readCgroupHugetlb(root)) ??
        refuseLimit(growthBytes, limitBytes, options.limitBytes !== undefined) ??
        refuseMemory(growthBytes, availableBytes));
  return { steps, growthBytes, limitBytes, persistent, refusal };
}

/** The command that does by hand what we do not do. */
export function echoCommand(file: string, pages: number): string {
  return `sudo sh -c 'echo ${pages} > ${file}'`;
}

function planStep(request: PageRequest, options: PlanOptions): PlanStep {
  const { pageBytes, count, node } = request;
  const { root } = options;
  const pool = readPool(pageBytes, root);
  if (pool === null) {
    const sizes = listSizes(root).map(formatBytes).join(', ') || 'none';
    throw new WarpgaugeError(
      'ERR_PAGE_KIND_UNSUPPORTED',
      `This kernel has no pool of ${formatBytes(pageBytes)} pages; it has: ${sizes}`,
      { source: '/sys/kernel/mm/hugepages', fix: `Choose a size that exists: ${sizes}` },
    );
  }
  const from = persistentPages(pool, node ?? null);
  const own = pool.nodes.find((each) => each.node === node);
  if (from === null) throw absentNode(node as number, root);
  // Reservations are counted for the machine only: at worst all of them lie on this node.
  const available = own
    ? Math.max(0, own.free - pool.reserved)
    : Math.max(0, pool.free - pool.reserved);
  const missing = Math.max(0, count - available);
  const demote = options.demote ? planDemote(request, missing, options) : null;
  const split = demote === null ? 0 : (demote.pages * demote.pageBytes) / pageBytes;
  const growth = Math.max(0, missing - split);
  const file = poolFile(pageBytes, node);
  const to = from + split + growth;
  return {
    pageBytes,
    node: node ?? null,
    count,
    available,
    demote,
    growth,
    file,
    from,
    to,
    command: growth === 0 ? null : echoCommand(file, to),
  };
}

/** Larger pages that are free and that nobody asks for in the same request; as many as it takes, or as there are. */
function planDemote(
  { pageBytes, node }: PageRequest,
  missing: number,
  { pages, root }: PlanOptions,
): PlanStep['demote'] {
  if (missing === 0) return null;
  for (const large of listSizes(root).filter((size) => size > pageBytes)) {
    const file = poolFile(large, node).replace(/nr_hugepages$/, 'demote');
    const size = /^(\d+)kB$/.exec(
      readText(file.replace(/demote$/, 'demote_size'), root) ?? '',
    )?.[1];
    const pool = readPool(large, root);
    if (Number(size) * 1024 !== pageBytes || pool === null) continue;
    const own = pool.nodes.find((each) => each.node === node);
    const wanted = pages.reduce(
      (sum, each) => sum + (each.pageBytes === large ? each.count : 0),
      0,
    );
    const free =
      Math.min(pool.free - pool.reserved - pool.surplus, own?.free ?? pool.free) - wanted;
    const needed = Math.min(free, Math.ceil((missing * pageBytes) / large));
    if (needed > 0) return { pageBytes: large, pages: needed, file };
  }
  return null;
}

function validate(options: PlanOptions): void {
  const { pages, limitBytes, compactions } = options;
  if (!Array.isArray(pages) || pages.length === 0) {
    throw invalidArgument('pages', 'a list of at least one page request', pages);
  }
  const seen = new Set<string>();
  for (const { pageBytes, count, node } of pages) {
    if (!Number.isSafeInteger(pageBytes) || pageBytes < 1024) {
      throw invalidArgument('pages.pageBytes', 'a huge page size in bytes', pageBytes);
    }
    if (!Number.isSafeInteger(count) || count < 1) {
      throw invalidArgument('pages.count', 'a whole number of pages above 0', count);
    }
    if (node !== undefined && (!Number.isSafeInteger(node) || node < 0)) {
      throw invalidArgument('pages.node', 'a NUMA node number', node);
    }
    // Pages "anywhere" and pages on a node of the same size would be counted against each other.
    const clash = [`${pageBytes}:${node}`, `${pageBytes}:undefined`];
    if (clash.some((key) => seen.has(key)) || (node === undefined && seen.has(`${pageBytes}`))) {
      throw invalidArgument('pages', 'one request per size, or per size and node', `${pageBytes}`);
    }
    seen.add(`${pageBytes}:${node}`).add(`${pageBytes}`);
  }
  if (compactions !== undefined && !(Number.isSafeInteger(compactions) && compactions >= 0)) {
    throw invalidArgument('compactions', 'a whole number of attempts', compactions);
  }
  if (limitBytes !== undefined && (!Number.isSafeInteger(limitBytes) || limitBytes < 0)) {
    throw invalidArgument('limitBytes', 'a number of bytes', limitBytes);
  }
}

function listSizes(root?: string): number[] {
  return readHugepagePools(root)
    .filter(({ node }) => node === null)
    .map(({ page_kb }) => page_kb * 1024);
}

function absentNode(node: number, root?: string): WarpgaugeError {
  const nodes =
    listDir('/sys/devices/system/node', root)
      .flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? [])
      .join(', ') || 'none';
  return new WarpgaugeError(
    'ERR_NUMA_NODE',
    `NUMA node ${node} does not exist; this machine has: ${nodes}`,
    { source: '/sys/devices/system/node', fix: `Choose a node that exists: ${nodes}` },
  );
}

function refusePermission(steps: readonly PlanStep[], root?: string): WarpgaugeError | null {
  const writes = steps.flatMap(({ demote, growth, file, command }) => [
    ...(demote === null ? [] : [[demote.file, echoCommand(demote.file, demote.pages)] as const]),
    ...(growth === 0 ? [] : [[file, command as string] as const]),
  ]);
  for (const [file, command] of writes) {
    try {
      accessSync(hostPath(file, root), constants.W_OK);
    } catch (error) {
      return permissionDenied(file, command, error);
    }
  }
  return null;
}

/** The error for a pool file that may not be written, with the command that may. */
export function permissionDenied(file: string, command: string, error: unknown): WarpgaugeError {
  const { code, errno } = error as NodeJS.ErrnoException;
  const readOnly =
    code === 'EROFS' ? ' (read-only here, as in a container: run it on the host)' : '';
  return new WarpgaugeError(
    'ERR_PERMISSION',
    `Growing a page pool needs write access to ${file}: ${code}${readOnly}`,
    {
      fix: command,
      source: file,
      capability: file,
      cause: error,
      ...(errno === undefined ? {} : { status: -errno }),
    },
  );
}

/** A limit of our cgroup would refuse the pages however large the pool is. */
function refuseCgroup(
  steps: readonly PlanStep[],
  limits: readonly CgroupHugetlbLimit[],
): WarpgaugeError | null {
  for (const { page_kb, kind, bytes, current_bytes, file } of limits) {
    if (bytes === null) continue;
    const pageBytes = page_kb * 1024;
    const needed = steps
      .filter((step) => step.pageBytes === pageBytes)
      .reduce((sum, step) => sum + step.count * pageBytes, 0);
    const room = Math.max(0, bytes - (current_bytes ?? 0));
    if (needed <= room) continue;
    return new WarpgaugeError(
      kind === 'max' ? 'ERR_CGROUP_HUGETLB_MAX' : 'ERR_CGROUP_HUGETLB_RSVD_MAX',
      `The cgroup limit ${file} leaves ${formatBytes(room)} of ${formatBytes(pageBytes)} pages, ${formatBytes(needed)} are needed`,
      { fix: `sudo sh -c 'echo ${noLimit(file)} > ${file}'`, source: file },
    );
  }
  return null;
}

/** v1 files end in `limit_in_bytes` and take -1 for "no limit". */
function noLimit(file: string): string {
  return file.endsWith('limit_in_bytes') ? '-1' : 'max';
}

function refuseLimit(growth: number, limit: number, explicit: boolean): WarpgaugeError | null {
  if (growth <= limit) return null;
  const rule = explicit ? 'as asked' : 'min(4 GiB, 25 % of available memory)';
  return new WarpgaugeError(
    'ERR_RESERVE_LIMIT',
    `The pools would grow by ${formatBytes(growth)}, the limit is ${formatBytes(limit)} (${rule})`,
    { fix: `Ask for fewer pages, or allow it: limitBytes: ${growth} (--limit ${growth})` },
  );
}

function refuseMemory(growth: number, availableBytes: number | null): WarpgaugeError | null {
  if (availableBytes === null || growth <= availableBytes) return null;
  return new WarpgaugeError(
    'ERR_NO_MEMORY',
    `The pools would grow by ${formatBytes(growth)}, but only ${formatBytes(availableBytes)} are available`,
    { fix: 'Ask for fewer pages, or end programs that use memory', source: '/proc/meminfo' },
  );
}
