/**
 * Runs the blocks of a plan. Every block has every cell and calibration once, in a random order from the seed;
 * every sample is asked of the copying child one at a time, so that the run can stop after any of them and what
 * was measured is never lost.
 */
import type { NativeBackendInfo, NativeSample, NativeSampleSpec } from '../../addon.ts';
import { type ErrorRecord, WarpgaugeError } from '../../errors.ts';
import type { CopyChild } from './copy-child.ts';
import {
  blockOrder,
  type Design,
  type PlannedCalibration,
  type PlannedCell,
  patternSeed,
} from './design.ts';
import { toSample } from './judge.ts';
import { errorRecord, MIN_BLOCKS, type ResolvedOptions } from './options.ts';
import type { CellStatus, MemcpyDocument, Sample } from './types.ts';
import { NOTHING_COPIED, SWITCHED_OFF, WITNESSED } from './witness.ts';

/** A cell or calibration with what it has so far. */
export interface Measured<T> {
  readonly item: T;
  readonly samples: Sample[];
  /** Operations that CUPTI watched after the blocks; in no statistics. */
  readonly witnessed: NativeSample[];
  whyNotWitnessed: string | null;
  status: CellStatus;
  reason: string | null;
  fix: string | null;
  error: ErrorRecord | null;
  /** Not run any more: it cannot be had, or its data was wrong. */
  stopped: boolean;
  failures: number;
}

export interface RunInput {
  readonly options: ResolvedOptions;
  readonly design: Design;
  readonly info: NativeBackendInfo;
  readonly flushBytes: number;
  readonly node: number | null;
  /** Expected duration of a block, ns, until blocks have been timed. */
  readonly estimateBlockNs: number;
  /** Starts the child of a run, and a new one when a child died. */
  readonly startChild: () => Promise<CopyChild>;
  /** Widest relative half-width among the intervals of the verdict table; null while there is none. */
  readonly worstInterval: (cells: readonly Measured<PlannedCell>[]) => number | null;
  readonly ciTarget: number;
}

export interface RunOutput {
  readonly cells: readonly Measured<PlannedCell>[];
  readonly calibrations: readonly Measured<PlannedCalibration>[];
  /** Whole blocks, of all runs together. */
  readonly blocks: number;
  readonly stoppedBy: MemcpyDocument['design']['stopped_by'];
  readonly warnings: readonly string[];
}

/** A cell whose child died this often is not tried again. */
const MAX_DEATHS = 2;
/** As often other errors may come before a cell that has worked is left alone. */
const MAX_FAILURES = 3;
/** Nobody's patience is longer, and intervals shrink with the square root only. */
const MAX_BLOCKS = 200;

type Item =
  | { readonly cell: Measured<PlannedCell>; readonly calibration?: undefined }
  | { readonly calibration: Measured<PlannedCalibration>; readonly cell?: undefined };

function measured<T>(item: T): Measured<T> {
  return {
    item,
    samples: [],
    witnessed: [],
    whyNotWitnessed: null,
    status: 'ok',
    reason: null,
    fix: null,
    error: null,
    stopped: false,
    failures: 0,
  };
}

function measuredCell(item: PlannedCell): Measured<PlannedCell> {
  const cell = measured(item);
  if (item.reason !== null) {
    cell.status = 'unavailable';
    cell.reason = item.reason;
    cell.fix = item.fix;
    cell.stopped = true;
    if (item.code !== null) {
      cell.error = errorRecord(
        new WarpgaugeError(item.code, item.reason, item.fix === null ? {} : { fix: item.fix }),
      );
    }
  }
  return cell;
}

function whyNotWitnessed(options: ResolvedOptions, info: NativeBackendInfo): string | null {
  if (options.cupti === 'off') return SWITCHED_OFF;
  return info.backend === 'cuda' ? null : 'the host proxy does not use the GPU';
}

/** Runs everything. Never rejects for what happens to a sample; only for a child that cannot be started at all. */
export async function runBlocks(input: RunInput): Promise<RunOutput> {
  return new BlockRun(input).run();
}

class BlockRun {
  readonly #input: RunInput;
  readonly #cells: Measured<PlannedCell>[];
  readonly #calibrations: Measured<PlannedCalibration>[];
  readonly #items: Item[];
  readonly #warnings: string[] = [];
  readonly #started = performance.now();
  #child: CopyChild | null = null;
  #seq = 0;

  constructor(input: RunInput) {
    this.#input = input;
    this.#cells = input.design.cells.map(measuredCell);
    this.#calibrations = input.design.calibrations.map(measured);
    this.#items = [
      ...this.#cells.map((cell) => ({ cell })),
      ...this.#calibrations.map((calibration) => ({ calibration })),
    ];
  }

  async run(): Promise<RunOutput> {
    const { options } = this.#input;
    const kill = (): void => {
      void this.#child?.kill();
    };
    options.signal?.addEventListener('abort', kill, { once: true });
    let blocks = 0;
    let stoppedBy: RunOutput['stoppedBy'] = 'blocks';
    try {
      for (let run = 0; run < options.runs && !this.#interrupted; run++) {
        if (run > 0) await this.#pause(options.runIntervalMs);
        await this.#newChild();
        await this.#warmUp(run);
        const done = await this.#runOnce(run);
        blocks += done.blocks;
        stoppedBy = done.stoppedBy;
        if (stoppedBy === 'error') break;
      }
      await this.#witness();
    } finally {
      options.signal?.removeEventListener('abort', kill);
      await this.#child?.close();
    }
    return {
      cells: this.#cells,
      calibrations: this.#calibrations,
      blocks,
      stoppedBy: this.#interrupted ? 'interrupt' : stoppedBy,
      warnings: this.#warnings,
    };
  }

  get #interrupted(): boolean {
    return this.#input.options.signal?.aborted ?? false;
  }

  async #newChild(): Promise<void> {
    await this.#child?.close();
    this.#child = null;
    if (!this.#interrupted) this.#child = await this.#input.startChild();
  }

  async #pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (performance.now() < until && !this.#interrupted) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, until - performance.now())));
    }
  }

  /**
   * One sample of every combination at its smallest size, thrown away: the child's own first-time costs (its
   * flush buffer, the driver's lazy loading) are nobody's result, and cells that cannot be had are known.
   */
  async #warmUp(run: number): Promise<void> {
    const seen = new Set<string>();
    for (const item of this.#items) {
      if (this.#interrupted) return;
      const { cell } = item;
      if (cell === undefined || cell.stopped) continue;
      const { dir, pin, state, kind } = cell.item;
      const key = `${dir}/${pin}/${state}/${kind}`;
      if (seen.has(key)) continue;
      seen.add(key);
      this.#progress('warm-up', run, 0, seen.size / this.#items.length, cell.item.id);
      await this.#sample(item, run, -1);
    }
  }

  async #runOnce(run: number): Promise<{ blocks: number; stoppedBy: RunOutput['stoppedBy'] }> {
    const { options, worstInterval, ciTarget } = this.#input;
    const started = performance.now();
    const budgetNs = options.budgetNs === null ? null : options.budgetNs / options.runs;
    for (let block = 0; ; block++) {
      if (options.blocks !== null && block >= options.blocks)
        return { blocks: block, stoppedBy: 'blocks' };
      if (budgetNs !== null && block >= MIN_BLOCKS) {
        const elapsed = (performance.now() - started) * 1e6;
        if (elapsed + elapsed / block > budgetNs || block >= MAX_BLOCKS)
          return { blocks: block, stoppedBy: 'budget' };
        const worst = worstInterval(this.#cells);
        if (worst !== null && worst <= ciTarget) return { blocks: block, stoppedBy: 'ci-target' };
      }
      const order = blockOrder(this.#items, options.seed, run, block);
      if (order.every((item) => (item.cell ?? item.calibration).stopped))
        return { blocks: block, stoppedBy: 'error' };
      for (const [index, item] of order.entries()) {
        if (this.#interrupted) return { blocks: block, stoppedBy: 'interrupt' };
        const target = item.cell ?? item.calibration;
        if (target.stopped) continue;
        this.#progress('measure', run, block, index / order.length, target.item.id, started);
        await this.#sample(item, run, block);
      }
    }
  }

  /**
   * Last, because CUPTI stays in the child once it is there: a few more operations of each cell under its eyes. None of
   * them is a sample. What CUPTI cannot be had for is said once per cell and fails nothing.
   */
  async #witness(): Promise<void> {
    const { options, info } = this.#input;
    const why = whyNotWitnessed(options, info);
    let lacking: string | null = why;
    for (const [index, target] of this.#cells.entries()) {
      const { metric, id } = target.item;
      if (target.stopped || target.samples.length === 0) continue;
      if (metric === 'register') {
        target.whyNotWitnessed = NOTHING_COPIED;
        continue;
      }
      for (let i = 0; i < WITNESSED && lacking === null; i++) {
        if (this.#interrupted) return;
        this.#progress('witness', options.runs - 1, 0, index / this.#cells.length, id);
        try {
          if (this.#child === null || !this.#child.alive) await this.#newChild();
          if (this.#child === null) return;
          const spec = this.#spec({ cell: target }, options.runs, i);
          const sample = await this.#child.sample({
            ...spec,
            dropPage: -1,
            stretch: 0,
            witness: true,
          });
          if (sample.cupti !== null) target.witnessed.push(sample);
          else lacking = sample.cuptiWhy;
        } catch (error) {
          target.whyNotWitnessed = errorRecord(error).message;
          break;
        }
      }
      target.whyNotWitnessed ??= lacking;
    }
  }

  /** Runs one sample; block -1 is the warm-up, whose reading is thrown away. */
  async #sample(item: Item, run: number, block: number): Promise<void> {
    const target: Measured<PlannedCell | PlannedCalibration> = item.cell ?? item.calibration;
    const seq = this.#seq++;
    try {
      if (this.#child === null || !this.#child.alive) await this.#newChild();
      const child = this.#child;
      if (child === null) return;
      const { kill } = this.#input.options.hooks;
      if (kill !== undefined && item.cell?.item.id.startsWith(kill.cell) && kill.block === block)
        await child.die();
      const raw = await child.sample(this.#spec(item, run, block));
      if (block < 0) return;
      const cell = item.cell?.item;
      const sample = toSample(raw, {
        op: cell?.dir ?? item.calibration?.item.op ?? 'touch',
        kind: target.item.kind,
        bytes: target.item.bytes,
        cold: cell === undefined ? item.calibration?.item.op !== 'pin' : cell.state === 'cold',
        registers: cell?.metric === 'register',
        faultedByPinning: cell !== undefined && cell.pin === 'register' && cell.metric === 'copy',
        backend: this.#input.info.backend,
        block,
        seq,
        run,
      });
      target.samples.push(sample);
      // It works again: only what the last attempt met is the state of a cell.
      target.error = null;
      target.reason = null;
      target.fix = null;
      if (!sample.verified) {
        this.#stop(
          target,
          'failed',
          new WarpgaugeError('ERR_DATA_MISMATCH', sample.why_invalid ?? ''),
        );
      }
    } catch (error) {
      // The child was killed because the caller interrupts: no fault of this cell.
      if (!this.#interrupted) this.#failed(target, error);
    }
  }

  #failed(target: Measured<PlannedCell | PlannedCalibration>, error: unknown): void {
    target.failures++;
    const record = errorRecord(error);
    target.error = record;
    target.reason = record.message;
    target.fix = record.fix;
    if (record.code === 'ERR_ZERO_PAGES') {
      this.#stop(target, 'failed', error);
    } else if (record.code === 'ERR_CUDA' && target.samples.length === 0) {
      // The driver refuses what it can do: that is a device in trouble, not something this machine lacks.
      this.#stop(target, 'failed', error);
    } else if (record.code === 'ERR_CHILD_DIED') {
      this.#warnings.push(
        `${target.item.id}: ${record.message}; the other cells go on in a new child`,
      );
      if (target.failures >= MAX_DEATHS)
        this.#stop(target, target.samples.length > 0 ? 'ok' : 'failed', error);
    } else if (target.samples.length === 0) {
      this.#stop(target, 'unavailable', error);
    } else {
      this.#warnings.push(`${target.item.id}: ${record.message}`);
      if (target.failures >= MAX_FAILURES) this.#stop(target, 'ok', error);
    }
  }

  #stop(
    target: Measured<PlannedCell | PlannedCalibration>,
    status: CellStatus,
    error: unknown,
  ): void {
    const record = errorRecord(error);
    target.stopped = true;
    target.status = status;
    target.error = record;
    target.reason = record.message;
    target.fix = record.fix;
  }

  #spec(item: Item, run: number, block: number): NativeSampleSpec {
    const { options, flushBytes, node } = this.#input;
    const { hooks, seed } = options;
    const target = (item.cell ?? item.calibration).item;
    const cell = item.cell?.item;
    const hit = (prefix: string | undefined): boolean =>
      prefix !== undefined && target.id.startsWith(prefix);
    return {
      op: cell?.dir ?? item.calibration?.item.op ?? 'touch',
      pin: cell?.pin ?? 'none',
      state: cell?.state ?? (item.calibration?.item.op === 'pin' ? 'warm' : 'cold'),
      kind: target.kind,
      bytes: target.bytes,
      patternSeed: patternSeed(seed, target.id, run, block),
      numaNode: node ?? -1,
      condition: hooks.conditioning ?? true,
      fill: hooks.fill ?? true,
      flushBytes,
      dropPage: hit(hooks.drop?.cell) ? (hooks.drop?.page ?? -1) : -1,
      stretch: hit(hooks.stretch?.cell) ? (hooks.stretch?.share ?? 0) : 0,
      witness: false,
    };
  }

  #progress(
    stage: 'warm-up' | 'measure' | 'witness',
    run: number,
    block: number,
    within: number,
    cell: string,
    runStarted: number = this.#started,
  ): void {
    const { options, estimateBlockNs } = this.#input;
    if (options.onProgress === null) return;
    const elapsed = (performance.now() - this.#started) * 1e6;
    const inRun = (performance.now() - runStarted) * 1e6;
    const done = block + within;
    const perBlock = done > 0.2 && stage === 'measure' ? inRun / done : estimateBlockNs;
    const blocks = options.blocks ?? MIN_BLOCKS;
    const perRun = Math.max(
      blocks * perBlock,
      options.budgetNs === null ? 0 : options.budgetNs / options.runs,
    );
    const total = options.runs * perRun;
    const inThisRun =
      stage === 'measure' ? Math.min(inRun, perRun) : stage === 'witness' ? perRun : 0;
    const spent = run * perRun + inThisRun;
    options.onProgress({
      stage,
      block: stage === 'measure' ? block + 1 : stage === 'witness' ? blocks : 0,
      blocks: Math.max(blocks, block + 1),
      run: run + 1,
      runs: options.runs,
      cell,
      ratio: Math.min(1, spent / total),
      elapsed_ns: Math.round(elapsed),
      remaining_ns: Math.round(Math.max(0, total - spent)),
    });
  }
}
