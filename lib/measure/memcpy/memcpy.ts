/** The whole benchmark: plan, reserve, run, analyse, give back, one document. */

import type { NativeBackendInfo } from '../../addon.ts';
import { type EnvironmentRecord, environment } from '../../host/environment.ts';
import { type PreflightLine, preflight } from '../../host/preflight.ts';
import { MiB } from '../../units.ts';
import { checkoutCommit, packageVersion } from '../../version.ts';
import { analyse, worstInterval } from './analyse.ts';
import type { CopyChild } from './copy-child.ts';
import type { PlannedCalibration, PlannedCell } from './design.ts';
import { diagnosePinned, linkCeilingGbps } from './link.ts';
import { type MemcpyOptions, type ResolvedOptions, resolveOptions } from './options.ts';
import { flushBytes, type MemcpyPlan, type OpenPlan, openChild, openPlan } from './plan.ts';
import { type RunReservation, reservePools } from './reserve.ts';
import { type Measured, type RunOutput, runBlocks } from './runner.ts';
import {
  type Calibration,
  type Cell,
  type DeviceInfo,
  type MemcpyDocument,
  PAGE_BYTES,
  type ReservedPool,
} from './types.ts';
import { witnessOf } from './witness.ts';

/** Relative half-width of the widest interval in the verdict table at which no more blocks are added. */
const CI_TARGET = 0.05;

/** What a caller may want to see before the first sample. */
export interface MemcpyStart {
  readonly plan: MemcpyPlan;
  readonly preflight: readonly PreflightLine[];
}

/** Plans a run without running it: cells, memory, pools, estimate. Changes nothing. */
export async function planMemcpy(options: MemcpyOptions = {}): Promise<MemcpyPlan> {
  const { plan, child } = await openPlan(resolveOptions(options));
  await child.close();
  return plan;
}

/**
 * Runs the benchmark. Resolves with a document also when cells could not be had or the run was interrupted
 * (`complete`, `interrupted`); rejects for bad options and when no backend can be opened.
 */
export async function runMemcpy(
  options: MemcpyOptions = {},
  onStart: (start: MemcpyStart) => void = () => {},
): Promise<MemcpyDocument> {
  const resolved = resolveOptions(options);
  const started = new Date();
  const startedAt = performance.now();
  const env = await environment();
  const opened = await openPlan(resolved);
  let lines: readonly PreflightLine[];
  let reservation: RunReservation | null = null;
  let output: RunOutput;
  let reserved: readonly ReservedPool[] = [];
  try {
    lines = await preflight();
    onStart({ plan: opened.plan, preflight: lines });
    if (resolved.reserve) reservation = await reservePools(opened.plan, resolved.signal);
    output = await run(resolved, opened);
  } finally {
    // A run that is interrupted before its first sample never takes the child over. Pages can only go back
    // once no child maps them.
    await opened.child.close();
    reserved = (await reservation?.release()) ?? [];
  }
  return document({
    options: resolved,
    opened,
    output,
    reserved,
    warnings: [...opened.plan.warnings, ...(reservation?.warnings ?? []), ...output.warnings],
    env,
    lines,
    started,
    durationNs: Math.round((performance.now() - startedAt) * 1e6),
  });
}

/** The plan's own child serves the first run; later runs and replacements get new ones. */
async function run(options: ResolvedOptions, opened: OpenPlan): Promise<RunOutput> {
  let first: CopyChild | null = opened.child;
  const startChild = async (): Promise<CopyChild> => {
    if (first !== null) {
      const child = first;
      first = null;
      return child;
    }
    const { child } = await openChild({ ...options, backend: opened.info.backend });
    return child;
  };
  return runBlocks({
    options,
    design: opened.design,
    info: opened.info,
    flushBytes: flushBytes(options, opened.info),
    node: opened.plan.node,
    estimateBlockNs: opened.plan.estimate_block_ns,
    startChild,
    worstInterval: (cells) => worstInterval(cells.map(toCell), options.seed),
    ciTarget: CI_TARGET,
  });
}

function toCell(measured: Measured<PlannedCell>): Cell {
  const { item, samples } = measured;
  const proof = samples.find((sample) => sample.valid)?.page_after ?? null;
  const page = item.kind === '4k-split' ? 4096 : PAGE_BYTES[item.kind];
  return {
    id: item.id,
    dir: item.dir,
    pin: item.pin,
    state: item.state,
    kind: item.kind,
    bytes: item.bytes,
    metric: item.metric,
    legal: item.legal,
    status: measured.status,
    reason: measured.reason,
    fix: measured.fix,
    error: measured.error,
    page: {
      requested_kb: page === null ? null : page / 1024,
      verified_bytes_by_kb: proof?.verified_bytes_by_kb ?? null,
      zero_page_bytes: proof?.zero_page_bytes ?? null,
      node: proof?.node ?? [],
      method: proof?.method ?? null,
      phys_run_pages: null,
      phys_run_why:
        'page frame numbers need root and are not read; 4k-split is the control for physical layout',
    },
    samples,
    stats: null,
    phases_ns: null,
    labels: [],
    ...witnessOf(measured),
  };
}

function toCalibration({
  item,
  samples,
  status,
  reason,
}: Measured<PlannedCalibration>): Calibration {
  const { id, op, kind, bytes } = item;
  return { id, op, kind, bytes, status, reason, samples, stats: null };
}

function deviceInfo(info: NativeBackendInfo, cells: readonly Cell[]): DeviceInfo | null {
  const device = info.device;
  if (device === null) return null;
  const gpu =
    cells.flatMap((cell) => cell.samples).findLast((sample) => sample.gpu !== null)?.gpu ?? null;
  const gen = gpu?.pcie_gen ?? null;
  const width = gpu?.pcie_width ?? null;
  return {
    name: device.name,
    uuid: device.uuid || null,
    pci_address: device.pciAddress || null,
    compute_capability: device.computeCapability || null,
    driver: device.driver || null,
    cuda: device.cuda || null,
    memory_bytes: device.memoryBytes || null,
    pcie_gen: gen,
    pcie_width: width,
    ceiling_gbps: gen === null || width === null ? null : linkCeilingGbps(gen, width),
    numa_node: device.numaNode < 0 ? null : device.numaNode,
    pageable_access: device.pageableAccess,
    host_page_tables: device.hostPageTables,
    simulated: device.simulated,
  };
}

interface Parts {
  readonly options: ResolvedOptions;
  readonly opened: OpenPlan;
  readonly output: RunOutput;
  readonly reserved: readonly ReservedPool[];
  readonly warnings: readonly string[];
  readonly env: EnvironmentRecord;
  readonly lines: readonly PreflightLine[];
  readonly started: Date;
  readonly durationNs: number;
}

function document(parts: Parts): MemcpyDocument {
  const { options, opened, output } = parts;
  const { plan, info } = opened;
  const cells = output.cells.map(toCell);
  const device = deviceInfo(info, cells);
  const analysis = analyse({
    cells,
    calibrations: output.calibrations.map(toCalibration),
    seed: options.seed,
    backend: info.backend,
    simulated: device?.simulated ?? false,
    runs: options.runs,
    blocks: output.blocks / options.runs,
    ceilingGbps: device?.ceiling_gbps ?? null,
  });
  const interrupted = output.stoppedBy === 'interrupt';
  const everything = [...analysis.cells, ...analysis.calibrations];
  return {
    schema: 'warpgauge/memcpy/1',
    tool: { version: packageVersion(), git: checkoutCommit(), dirty: null },
    argv: options.argv,
    seed: options.seed,
    started: parts.started.toISOString(),
    duration_ns: parts.durationNs,
    backend: info.backend,
    proxy: info.backend === 'host',
    // A cell whose last attempt failed has samples and an error; one that could not be had has no samples.
    complete: !interrupted && cells.every(({ error, samples }) => !error || samples.length === 0),
    interrupted,
    device,
    numa_node: plan.node,
    cpu: plan.cpu < 0 ? null : plan.cpu,
    env: { ...parts.env },
    preflight: parts.lines,
    design: {
      blocks: output.blocks,
      blocks_asked: options.blocks,
      budget_ns: options.budgetNs,
      stopped_by: output.stoppedBy,
      runs: options.runs,
      order: 'randomised-complete-block',
      conditioning: options.hooks.conditioning ?? true,
      warmup: 1,
      fill: options.hooks.fill ?? true,
      cache: options.cache,
      staging_bytes: info.stagingBytes,
      flush_bytes: flushBytes(options, info),
      unit: 'GB=1e9',
      ci_target: CI_TARGET,
      illegal_cells: plan.illegal_cells,
    },
    reserved: parts.reserved,
    n_invalid: everything.reduce(
      (sum, { samples }) => sum + samples.filter((s) => !s.valid).length,
      0,
    ),
    cells: analysis.cells,
    calibrations: analysis.calibrations,
    family: analysis.family,
    comparisons: analysis.comparisons,
    model: analysis.model,
    break_even: analysis.break_even,
    answers: analysis.answers,
    reproduce: reproduceLine(options, info, output),
    warnings: [
      ...parts.warnings,
      ...analysis.warnings,
      ...diagnosePinned(analysis.cells, device, plan.node),
    ],
  };
}

/** The command that repeats this run: same cells, same number of blocks, same seed. */
function reproduceLine(
  options: ResolvedOptions,
  info: NativeBackendInfo,
  output: RunOutput,
): string {
  const words = ['warpgauge bench memcpy', `--backend ${info.backend}`];
  if (info.backend === 'cuda') words.push(`--device ${options.device}`);
  words.push(`--pages ${options.pages.join(',')}`);
  if (options.sizes !== null) words.push(`--sizes ${options.sizes.map(sizeWord).join(',')}`);
  words.push(`--states ${options.states.join(',')}`);
  if (options.pins !== null) words.push(`--pins ${options.pins.join(',')}`);
  words.push(`--directions ${options.directions.join(',')}`, `--cache ${options.cache}`);
  if (options.node !== null) words.push(`--node ${options.node}`);
  if (options.cpu !== null) words.push(`--cpu ${options.cpu}`);
  words.push(
    `--blocks ${Math.max(1, Math.floor(output.blocks / options.runs))}`,
    `--seed ${options.seed}`,
  );
  if (options.runs > 1) words.push(`--runs ${options.runs}`);
  if (options.cupti !== 'auto') words.push(`--cupti ${options.cupti}`);
  if (options.reserve) words.push('--reserve');
  return words.join(' ');
}

function sizeWord(bytes: number): string {
  if (bytes % MiB === 0)
    return bytes % 1024 ** 3 === 0 ? `${bytes / 1024 ** 3}GiB` : `${bytes / MiB}MiB`;
  return bytes % 1024 === 0 ? `${bytes / 1024}KiB` : `${bytes}B`;
}

/** 130 when interrupted, 1 when data was wrong or a cell that worked could not be finished, else 0. */
export function exitCode(result: MemcpyDocument): 0 | 1 | 130 {
  if (result.interrupted) return 130;
  if (result.cells.some((cell) => cell.status === 'failed')) return 1;
  return result.complete ? 0 : 1;
}
