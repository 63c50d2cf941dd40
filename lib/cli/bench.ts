import { type Command, Option } from 'commander';
import { utcOffsetNs } from '../clock.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { exitCode, planMemcpy, runMemcpy } from '../measure/memcpy/memcpy.ts';
import type { MemcpyOptions } from '../measure/memcpy/options.ts';
import type { MemcpyPlan } from '../measure/memcpy/plan.ts';
import type { MemcpyDocument, PreflightLine } from '../measure/memcpy/types.ts';
import { formatBytes, formatDuration, parseBytes, parseDurationNs } from '../units.ts';
import { numberOf } from '../view/numbers.ts';
import { type PlanView, renderPlan } from '../view/plan.ts';
import { createProgress } from '../view/progress.ts';
import { renderMemcpy } from '../view/terminal.ts';
import { catchInterrupt } from './interrupt.ts';
import { renderOptions } from './output.ts';

interface BenchFlags {
  readonly backend?: string;
  readonly device?: number;
  readonly node?: number;
  readonly cpu?: number;
  readonly pages?: string[];
  readonly sizes?: number[];
  readonly states?: string[];
  readonly pins?: string[];
  readonly directions?: string[];
  readonly cache?: string;
  readonly blocks?: number;
  readonly budget?: number;
  readonly runs?: number;
  readonly seed?: number;
  readonly reserve?: boolean;
  readonly cupti?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly out?: string;
  readonly quiet?: boolean;
}

const words = (text: string): string[] => text.split(',').map((word) => word.trim());

function integer(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text.trim())) {
      throw invalidArgument(`--${name}`, 'an integer', text);
    }
    return value;
  };
}

/** `bench memcpy`: flags in, `measure.memcpy`, tables or JSON out. */
export function registerBench(program: Command): void {
  const bench = program.command('bench').description('benchmarks of this machine');
  bench
    .command('memcpy')
    .description(
      'do larger host pages make memcpy to and from the GPU faster here, by how much, and why?',
    )
    .addOption(
      new Option('--backend <name>', 'cuda copies through the driver; host is a proxy on the CPU')
        .choices(['auto', 'cuda', 'host'])
        .default('auto'),
    )
    .option('--device <n>', 'CUDA device (default: 0)', integer('device'))
    .option('--node <n>', "NUMA node of the buffers (default: the GPU's)", integer('node'))
    .option(
      '--cpu <n>',
      'processor of the copying thread (default: the last one allowed)',
      integer('cpu'),
    )
    .option('--pages <list>', 'of 4k, thp, 2m, 1g (default: all)', words)
    .option(
      '--sizes <list>',
      'such as 64KiB,16MiB,1GiB (default: 64KiB,1MiB,16MiB,64MiB, and 1GiB for cold DtoH)',
      (text: string) => words(text).map((word) => parseBytes('--sizes', word)),
    )
    .option('--states <list>', 'of cold (pages never touched), warm (default: both)', words)
    .option(
      '--pins <list>',
      'of none, register, hostalloc (default: none everywhere, the others at 64 MiB)',
      words,
    )
    .option('--directions <list>', 'of HtoD, DtoH, vectorAdd (default: all)', words)
    .addOption(
      new Option('--cache <state>', 'CPU caches before the timed region')
        .choices(['flushed', 'hot'])
        .default('flushed'),
    )
    .option(
      '--blocks <n>',
      'exactly n blocks; below 10: ratios, but no verdicts',
      integer('blocks'),
    )
    .option(
      '--budget <time>',
      'after 10 blocks, add more until the intervals are narrow or this time is over (default: 60s)',
      (text: string) => parseDurationNs('--budget', text),
    )
    .option(
      '--runs <n>',
      'fresh processes at intervals, for the range of the ratios (default: 1)',
      integer('runs'),
    )
    .option(
      '--seed <n>',
      'seed of order, data and resampling (default: from the clock, printed)',
      integer('seed'),
    )
    .option(
      '--reserve',
      'grow hugetlb pools by what the run needs and give exactly that back (needs root)',
    )
    .addOption(
      new Option('--cupti <use>', 'auto: after the blocks CUPTI watches three copies of each cell')
        .choices(['auto', 'off'])
        .default('auto'),
    )
    .option('--dry-run', 'print plan, cells, memory and estimate; measure nothing')
    .option('--json', 'print one JSON document (schema warpgauge/memcpy/1)')
    .option(
      '--out <dir>',
      'write result.json, samples.arrows, plots and report.html into a new folder',
    )
    .option('--quiet', 'no preflight, plan or progress on standard error')
    .addHelpText(
      'after',
      `
Examples:
  warpgauge bench memcpy                          the default grid, about a minute
  sudo warpgauge bench memcpy --reserve           with 2m and 1g pages, given back at the end
  warpgauge bench memcpy --sizes 256MiB --states cold --directions DtoH --out result

Exit status: 0 measured (cells that cannot be had are rows with the reason), 1 wrong data or failed,
2 bad arguments, 130 interrupted (what was measured is printed and marked).`,
    )
    .action(async (flags: BenchFlags) => {
      process.exitCode = await (flags.dryRun ? dryRun(flags) : benchMemcpy(flags));
    });
}

/** Only what was given: the library checks every value and says what it expected. */
function optionsOf(flags: BenchFlags): MemcpyOptions {
  const { dryRun: _dryRun, json: _json, out: _out, quiet: _quiet, budget, ...given } = flags;
  const options = {
    ...given,
    ...(budget === undefined ? {} : { budgetMs: budget / 1e6 }),
    argv: process.argv.slice(2),
  };
  return options as MemcpyOptions;
}

function say(text: string): void {
  process.stderr.write(text.endsWith('\n') ? text : `${text}\n`);
}

async function benchMemcpy(flags: BenchFlags): Promise<number> {
  const output = flags.out === undefined ? null : await import('../view/out-dir.ts');
  if (flags.out !== undefined) {
    await output?.checkOutDir(flags.out).catch((error: unknown) => {
      // Found before the run, so it is an argument that cannot be used, like any other.
      if (!(error instanceof WarpgaugeError)) throw error;
      throw new WarpgaugeError('ERR_INVALID_ARGUMENT', error.message, { cause: error });
    });
  }

  const interrupt = catchInterrupt(() => say('\nstopping: what was measured is kept'));
  const progress = createProgress({ stream: process.stderr, quiet: flags.quiet ?? false });
  let result: MemcpyDocument;
  try {
    result = await runMemcpy(
      {
        ...optionsOf(flags),
        signal: interrupt.signal,
        onProgress: (state) =>
          progress.update({
            block: state.block,
            blocks: state.blocks,
            done: state.ratio,
            cell: state.cell ?? state.stage,
            remainingNs: state.remaining_ns,
          }),
      },
      ({ plan, preflight }) => {
        // What changes on the machine is said first, whatever is quiet.
        if (flags.reserve) say(reserveLine(plan));
        if (flags.quiet) return;
        say(planLine(plan));
        say(preflightLine(preflight));
      },
    );
  } finally {
    progress.close();
    interrupt.close();
  }
  // First to standard output: whatever becomes of the folder, a minute of measuring is not lost.
  process.stdout.write(
    flags.json ? `${JSON.stringify(result)}\n` : renderMemcpy(result, renderOptions()),
  );
  if (flags.out !== undefined && output !== null) {
    const { samplesIpc } = await import('../measure/memcpy/samples-table.ts');
    await output.writeOutput(flags.out, result, () =>
      samplesIpc(result, { utcOffsetNs: utcOffsetNs() }),
    );
    say(`written to ${flags.out}: result.json, samples.arrows, plots and report.html`);
  }
  return exitCode(result);
}

async function dryRun(flags: BenchFlags): Promise<number> {
  const plan = await planMemcpy(optionsOf(flags));
  process.stdout.write(
    flags.json
      ? `${JSON.stringify({ schema: 'warpgauge/memcpy-plan/1', ...plan })}\n`
      : renderPlan(planView(plan), renderOptions()),
  );
  return 0;
}

function planView(plan: MemcpyPlan): PlanView {
  return {
    backend: plan.backend,
    cells: plan.cells.map((cell) => ({
      ...cell,
      status: cell.reason === null ? 'planned' : 'unavailable',
    })),
    illegal_cells: plan.illegal_cells,
    illegal_reasons: plan.illegal_reasons,
    calibrations: plan.calibrations.length,
    memory_bytes: plan.memory_bytes,
    pools: plan.pools.map((pool) => ({ ...pool, action: poolAction(pool) })),
    blocks_min: plan.blocks_min,
    budget_ns: plan.budget_ns,
    estimate_ns: plan.estimate_block_ns,
    estimate_total_ns: plan.estimate_total_ns,
  };
}

/** What will be done about the pages that a pool must have free. */
function poolAction({ action, pages, available }: MemcpyPlan['pools'][number]): string {
  if (action === 'have') return `${available} are available`;
  const there = `${available} available`;
  return action === 'reserve'
    ? `${there}, --reserve adds ${pages - available} for the run`
    : `${there}; rows that need more are unavailable without --reserve`;
}

/** What `--reserve` means for this run, in one line that also holds where the right to do it is missing. */
function reserveLine(plan: MemcpyPlan): string {
  const parts = plan.pools
    .filter((pool) => pool.action === 'reserve')
    .map(
      (pool) =>
        `${numberOf(pool.pages - pool.available, 'page')} of ${formatBytes(pool.page_bytes)}`,
    );
  if (parts.length === 0) return '--reserve: no hugetlb pool has to grow for this run';
  return `--reserve: the hugetlb pools lack ${parts.join(' and ')}; exactly what is added is given back at the end, on Ctrl-C, and after a kill by "warpgauge pages recover"`;
}

/** Standard output shows each with its effect and fix; here they are named before a minute is spent. */
function preflightLine(preflight: readonly PreflightLine[]): string {
  const warned = preflight.filter((line) => line.level !== 'OK').map((line) => line.check);
  return warned.length === 0
    ? 'preflight: all OK'
    : `preflight: ${warned.length} WARN (${warned.join(', ')}), explained with the result`;
}

function planLine(plan: MemcpyPlan): string {
  const runnable = plan.cells.filter((cell) => cell.reason === null).length;
  const where = plan.proxy ? 'host proxy, no GPU takes part' : 'CUDA device';
  const limit =
    plan.budget_ns === null
      ? `exactly ${numberOf(plan.blocks_min, 'block')}`
      : `at least ${plan.blocks_min} blocks, then until the intervals are narrow or ${formatDuration(plan.budget_ns)} are over`;
  return `plan: ${numberOf(runnable, 'cell')} and ${numberOf(plan.calibrations.length, 'calibration')} (${where}), CPU ${plan.cpu}, ${limit}; about ${formatDuration(plan.estimate_block_ns)} a block, ${formatDuration(plan.estimate_total_ns)} in all`;
}
