/**
 * What a run will do, before it does it: backend, cells, memory, pools, and how long it should take. Opens the
 * copying child, because only the child can tell whether a device answers, and times a few small samples in it
 * for the estimate. Changes nothing on the machine.
 */
import type { NativeBackendInfo, NativeSampleSpec } from '../../addon.ts';
import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { readCgroupMemory } from '../../host/cgroup.ts';
import { availablePages, readHugepagePools } from '../../host/hugepages.ts';
import { readMemory } from '../../host/machine.ts';
import { parseList, readText } from '../../host/sysfs.ts';
import { formatBytes, MiB } from '../../units.ts';
import { CopyChild } from './copy-child.ts';
import {
  type Design,
  designCalibrations,
  designCells,
  illegalSummary,
  mappedBytes,
  type PlannedCalibration,
  type PlannedCell,
  poolNeeds,
  refuseTooLarge,
} from './design.ts';
import { MIN_BLOCKS, type ResolvedOptions } from './options.ts';
import type { BackendName, CellKind } from './types.ts';

/** Nobody's machine loses more than this to a benchmark: the cap of `--reserve`. */
const RESERVE_LIMIT_BYTES: number = 4 * 1024 ** 3;
const RESERVE_LIMIT_SHARE = 0.25;

/** Pages a pool must have free, and what will be done about it. */
export interface PlannedPool {
  readonly page_bytes: number;
  readonly pages: number;
  readonly available: number;
  /** `have`: enough are free; `reserve`: `--reserve` grows the pool and gives it back; `missing`: cells are unavailable. */
  readonly action: 'have' | 'reserve' | 'missing';
}

export interface MemcpyPlan {
  readonly backend: BackendName;
  readonly proxy: boolean;
  readonly cpu: number;
  readonly node: number | null;
  readonly cells: readonly PlannedCell[];
  readonly calibrations: readonly PlannedCalibration[];
  readonly illegal_cells: number;
  readonly illegal_reasons: readonly string[];
  /** Largest memory of one sample, bytes. */
  readonly memory_bytes: number;
  readonly pools: readonly PlannedPool[];
  readonly blocks_min: number;
  readonly blocks_max: number | null;
  readonly runs: number;
  readonly budget_ns: number | null;
  /** Estimated from a few samples of at most 4 MiB, timed now on this machine. */
  readonly estimate_block_ns: number;
  readonly estimate_total_ns: number;
  readonly warnings: readonly string[];
}

/** A plan with the child that it was made in, ready to run. */
export interface OpenPlan {
  readonly plan: MemcpyPlan;
  readonly design: Design;
  readonly child: CopyChild;
  readonly info: NativeBackendInfo;
}

function allowedCpus(): string | null {
  const status = readText('/proc/self/status');
  return /^Cpus_allowed_list:\s*(\S+)/m.exec(status ?? '')?.[1] ?? null;
}

/** The last processor this process may use: the first ones serve most interrupts. */
export function defaultCpu(): number {
  return parseList(allowedCpus()).at(-1) ?? -1;
}

function cpuOf(options: ResolvedOptions): number {
  if (options.cpu === null) return defaultCpu();
  const list = allowedCpus();
  if (list !== null && !parseList(list).includes(options.cpu)) {
    throw invalidArgument('cpu', `a processor this process may use (${list})`, options.cpu);
  }
  return options.cpu;
}

/** What can still be allocated: the kernel's estimate, or less where a control group limits this process. */
function availableMemoryBytes(): number {
  const machine = readMemory().available_bytes ?? 0;
  const group = readCgroupMemory();
  if (group === null || group.max_bytes === null) return machine;
  return Math.min(machine, Math.max(0, group.max_bytes - (group.current_bytes ?? 0)));
}

/** Starts the child with the backend asked for; `auto` falls back to the host proxy where no device answers. */
export async function openChild(
  options: ResolvedOptions,
): Promise<{ child: CopyChild; warnings: string[] }> {
  const cpu = cpuOf(options);
  const start = (backend: BackendName): Promise<CopyChild> =>
    CopyChild.start({
      cpu,
      backend: {
        backend,
        device: options.device,
        cudaPath: process.env['WARPGAUGE_CUDA'] ?? '',
        nvmlPath: process.env['WARPGAUGE_NVML'] ?? '',
      },
    });
  if (options.backend !== 'auto') return { child: await start(options.backend), warnings: [] };
  try {
    return { child: await start('cuda'), warnings: [] };
  } catch (error) {
    if (!(error instanceof WarpgaugeError) || error.code === 'ERR_CHILD_DIED') throw error;
    const warnings =
      error.code === 'ERR_NO_DRIVER'
        ? []
        : [`no CUDA device answers (${error.message}): measuring the host proxy`];
    return { child: await start('host'), warnings };
  }
}

/** Bytes walked before a timed region: twice the last-level cache; 64 MiB where its size is not known. */
export function flushBytes(options: ResolvedOptions, info: NativeBackendInfo): number {
  return options.cache === 'hot' ? 0 : 2 * (info.llcBytes || 32 * MiB);
}

export async function openPlan(options: ResolvedOptions): Promise<OpenPlan> {
  const { child, warnings } = await openChild(options);
  try {
    const info = child.info;
    const cells = designCells(options, info.backend);
    refuseTooLarge(cells, availableMemoryBytes());
    if (options.reserve) refuseAboveReserveLimit(cells, info.backend);
    const design: Design = { cells, calibrations: designCalibrations(cells, info.backend) };
    const pools = planPools(design, options.reserve);
    const runnable = design.cells.filter((cell) => cell.reason === null);
    const illegal = illegalSummary(design.cells);
    const block = await estimateBlock(child, options, info, runnable, design.calibrations, pools);
    const blocks = options.blocks ?? MIN_BLOCKS;
    const total = options.runs * blocks * block + (options.runs - 1) * options.runIntervalMs * 1e6;
    return {
      design,
      child,
      info,
      plan: {
        backend: info.backend,
        proxy: info.backend === 'host',
        cpu: cpuOf(options),
        node: nodeOf(options, info),
        cells: design.cells,
        calibrations: design.calibrations,
        illegal_cells: illegal.count,
        illegal_reasons: illegal.reasons,
        memory_bytes: Math.max(0, ...runnable.map(mappedBytes)),
        pools,
        blocks_min: blocks,
        blocks_max: options.blocks,
        runs: options.runs,
        budget_ns: options.budgetNs,
        estimate_block_ns: Math.round(block),
        estimate_total_ns: Math.round(
          options.budgetNs === null ? total : Math.max(total, options.budgetNs),
        ),
        warnings,
      },
    };
  } catch (error) {
    await child.close();
    throw error;
  }
}

/** The node the buffers are bound to: asked for, else the GPU's; null leaves it to the thread. */
function nodeOf(options: ResolvedOptions, info: NativeBackendInfo): number | null {
  const gpuNode = info.device?.numaNode ?? -1;
  return options.node ?? (gpuNode >= 0 ? gpuNode : null);
}

/** Drops the largest hugetlb cells until what `--reserve` would add fits under its cap. */
function refuseAboveReserveLimit(cells: readonly PlannedCell[], backend: BackendName): void {
  const limit = Math.min(RESERVE_LIMIT_BYTES, RESERVE_LIMIT_SHARE * availableMemoryBytes());
  for (;;) {
    let growth = 0;
    const design = { cells, calibrations: designCalibrations(cells, backend) };
    for (const [pageBytes, pages] of poolNeeds(design)) {
      growth += Math.max(0, pages - (freePages(pageBytes) ?? pages)) * pageBytes;
    }
    if (growth <= limit) return;
    const largest = cells
      .filter((cell) => cell.reason === null && (cell.kind === '2m' || cell.kind === '1g'))
      .sort((a, b) => mappedBytes(b) - mappedBytes(a))[0];
    if (largest === undefined) return;
    const bytes = mappedBytes(largest);
    for (const cell of cells) {
      if (cell.reason !== null || cell.kind !== largest.kind || mappedBytes(cell) < bytes) continue;
      cell.code = 'ERR_RESERVE_LIMIT';
      cell.reason = `the pools would have to grow by ${formatBytes(growth)}; --reserve adds at most ${formatBytes(Math.floor(limit))} (the smaller of 4 GiB and 25 % of available memory)`;
      cell.fix = `sudo warpgauge pages reserve --pages ${largest.kind}=${bytes / (largest.kind === '2m' ? 2 * MiB : 1024 ** 3)}`;
    }
  }
}

/** null: this kernel or processor has no pages of that size, so no pool can grow. */
function freePages(pageBytes: number): number | null {
  const pool = readHugepagePools().find((p) => p.node === null && p.page_kb * 1024 === pageBytes);
  return pool === undefined ? null : (availablePages(pool) ?? 0);
}

function planPools(design: Design, reserve: boolean): PlannedPool[] {
  return [...poolNeeds(design)].map(([page_bytes, pages]) => {
    const free = freePages(page_bytes);
    const available = free ?? 0;
    const lacking = reserve && free !== null ? 'reserve' : 'missing';
    return { page_bytes, pages, available, action: available >= pages ? 'have' : lacking };
  });
}

// --- estimate ---------------------------------------------------------------------------------------------

const PROBE_BYTES = 4 * MiB;

/** Expected duration of one block, ns: first-touch and copy rates of this machine, applied to every item. */
async function estimateBlock(
  child: CopyChild,
  options: ResolvedOptions,
  info: NativeBackendInfo,
  cells: readonly PlannedCell[],
  calibrations: readonly PlannedCalibration[],
  pools: readonly PlannedPool[],
): Promise<number> {
  const flush = flushBytes(options, info);
  const probe = async (spec: Partial<NativeSampleSpec>): Promise<number | null> => {
    const complete: NativeSampleSpec = {
      op: 'touch',
      pin: 'none',
      state: 'cold',
      kind: '4k',
      bytes: PROBE_BYTES,
      patternSeed: 1,
      numaNode: -1,
      condition: true,
      fill: true,
      flushBytes: 0,
      dropPage: -1,
      stretch: 0,
      witness: false,
      ...spec,
    };
    try {
      // The fastest of three: the first pays for the child's own start, and an estimate is about quiet samples.
      const times = [];
      for (let i = 0; i < 3; i++) times.push((await child.sample(complete)).hostNs);
      return Math.min(...times);
    } catch (error) {
      // A kind this machine lacks is not in the block either.
      if (error instanceof WarpgaugeError && error.code !== 'ERR_CHILD_DIED') return null;
      throw error;
    }
  };
  const touch4k = ((await probe({})) ?? PROBE_BYTES) / PROBE_BYTES;
  const touchHuge = ((await probe({ kind: 'thp' })) ?? touch4k * PROBE_BYTES) / PROBE_BYTES;
  const copy =
    ((await probe({ op: 'DtoH', state: 'warm', flushBytes: flush })) ?? PROBE_BYTES) / PROBE_BYTES;

  const missing = new Set(
    pools.filter((pool) => pool.action === 'missing').map((pool) => pool.page_bytes),
  );
  const cost = (kind: CellKind, mapped: number, bytes: number, cold: boolean): number => {
    if ((kind === '2m' && missing.has(2 * MiB)) || (kind === '1g' && missing.has(1024 ** 3)))
      return 0;
    const touch = mapped * (kind === '4k' ? touch4k : touchHuge);
    // Cold: conditioning and the sample each touch everything. Warm: populate, fill, one untimed copy.
    // Both: the timed copy and its verification, the walk that flushes, and 300 us of calls and replies.
    return (cold ? 2 * touch : touch + 2 * bytes * copy) + 2 * bytes * copy + flush * copy + 300e3;
  };
  let total = 0;
  for (const cell of cells)
    total += cost(cell.kind, mappedBytes(cell), cell.bytes, cell.state === 'cold');
  for (const { op, kind, bytes } of calibrations) {
    total += cost(kind, mappedBytes({ dir: 'DtoH', kind, bytes }), bytes, op !== 'pin');
  }
  return total;
}
