import { type ErrorCode, type ErrorRecord, invalidArgument, WarpgaugeError } from '../../errors.ts';
import { throwIfAborted } from '../transaction/begin.ts';
import { LEFT_BEHIND } from '../transaction/transaction.ts';
import { readEnergy } from './energy.ts';
import { paretoFront } from './pareto.ts';
import type {
  SweepOptions,
  SweepResult,
  SweepRun,
  SweepRunResult,
  SweepSetting,
  SweepSettingResult,
  SweepSpread,
  SweepWork,
} from './types.ts';

/** This machine cannot have the setting: the others are measured nevertheless. */
const UNAVAILABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ERR_PERMISSION',
  'ERR_UNAVAILABLE',
  'ERR_REFUSED',
  'ERR_NVML',
  'ERR_NO_DRIVER',
  'ERR_NO_DEVICE',
  'ERR_LIBRARY_MISSING',
  'ERR_SYMBOL_MISSING',
  'ERR_POOL_SHORT',
  'ERR_POOL_EMPTY',
  'ERR_RESERVE_LIMIT',
  'ERR_NO_MEMORY',
  'ERR_NUMA_NODE',
  'ERR_PAGE_KIND_UNSUPPORTED',
  'ERR_PAGES_NOT_GRANTED',
  'ERR_CGROUP_HUGETLB_MAX',
  'ERR_CGROUP_HUGETLB_RSVD_MAX',
]);

/** Applies each setting in turn, there and back in alternation, so that a machine that warms up favours none of them. */
export async function runSweep(options: SweepOptions): Promise<SweepResult> {
  const { settings, repetitions = 3, unit = 'units' } = options;
  check(options);
  const runs: SweepRunResult[] = [];
  const errors = new Map<string, ErrorRecord>();
  const signal = options.signal ?? new AbortController().signal;
  const first = await readEnergy(options.gpus, options);
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const order = repetition % 2 === 0 ? settings : settings.toReversed();
    for (const setting of order) {
      if (errors.has(setting.name)) continue;
      throwIfAborted(signal);
      const applied = new Applied();
      try {
        const error = await applied.take(setting, options, signal);
        if (error !== null) errors.set(setting.name, error);
        else runs.push(await measure(setting.name, repetition, options, signal));
      } catch (error) {
        throw await applied.undoAfter(error);
      }
      // The machine is as it was before the next setting, or what is in the way is thrown.
      await applied.undo();
    }
  }
  return summarize(options, runs, errors, { unit, repetitions, first });
}

function check({ settings, repetitions = 3, warmups = 0, workload }: SweepOptions): void {
  if (settings.length === 0) throw invalidArgument('settings', 'at least one setting', 'none');
  const names = settings.map(({ name }) => name);
  const twice = names.find((name, index) => name === '' || names.indexOf(name) !== index);
  if (twice !== undefined) throw invalidArgument('settings', 'a name of its own for each', twice);
  if (!(Number.isInteger(repetitions) && repetitions > 0)) {
    throw invalidArgument('repetitions', 'a whole number above 0', repetitions);
  }
  if (!(Number.isInteger(warmups) && warmups >= 0)) {
    throw invalidArgument('warmups', 'a whole number', warmups);
  }
  if (typeof workload !== 'function') throw invalidArgument('workload', 'a function', workload);
}

/** What one setting has changed, to be undone in the reverse order. */
class Applied {
  readonly #changes: AsyncDisposable[] = [];

  /** Applies a setting, or says why this machine cannot have it. */
  async take(
    setting: SweepSetting,
    options: SweepOptions,
    signal: AbortSignal,
  ): Promise<ErrorRecord | null> {
    const { root, stateDir, guardian } = options;
    const state = {
      ...(root === undefined ? {} : { root }),
      ...(stateDir === undefined ? {} : { stateDir }),
    };
    const more = { ...state, signal, ...(guardian === undefined ? {} : { guardian }) };
    try {
      if (setting.thp !== undefined) {
        const { thp } = await import('../thp.ts');
        const change = await thp.set({ ...more, settings: setting.thp });
        // Unlike the end of its block this says what cannot be put back.
        this.#changes.push({ [Symbol.asyncDispose]: () => change.undo() });
      }
      if (setting.pools !== undefined) {
        const { reservePages } = await import('../pool-reserve.ts');
        const held = await reservePages({ ...more, pages: setting.pools });
        this.#changes.push({
          async [Symbol.asyncDispose]() {
            const { remaining } = await held.release();
            if (remaining.length > 0) throw stillInUse(setting.name);
          },
        });
      }
      if (setting.power !== undefined) {
        const { power } = await import('../power.ts');
        this.#changes.push(await (await power.plan(setting.power, state)).apply(more));
      }
      if (setting.apply !== undefined) this.#changes.push(await setting.apply());
      return null;
    } catch (error) {
      if (!(error instanceof WarpgaugeError) || !UNAVAILABLE.has(error.code)) throw error;
      if (error.message.includes(LEFT_BEHIND)) throw error;
      return error.toJSON();
    }
  }

  async undo(): Promise<void> {
    let failure: unknown = null;
    for (const change of this.#changes.splice(0).reverse()) {
      try {
        await change[Symbol.asyncDispose]();
      } catch (error) {
        failure ??= error; // the others are put back nevertheless
      }
    }
    if (failure !== null) throw failure;
  }

  /** {@link undo} where something else has failed: that is what is thrown, with what cannot be put back in its message. */
  async undoAfter(error: unknown): Promise<unknown> {
    try {
      await this.undo();
      return error;
    } catch (left) {
      if (!(error instanceof Error)) return new AggregateError([error, left], String(error));
      const { message, fix } = left as Partial<WarpgaugeError>;
      error.message += `${LEFT_BEHIND}${message ?? String(left)}${fix === undefined ? '' : `. ${fix}`}`;
      return error;
    }
  }
}

function stillInUse(setting: string): WarpgaugeError {
  return new WarpgaugeError('ERR_IN_USE', `Pages of the setting ${setting} are still in use`, {
    fix: 'Let the workload close what it allocates; then: warpgauge pages recover',
  });
}

async function measure(
  setting: string,
  repetition: number,
  options: SweepOptions,
  signal: AbortSignal,
): Promise<SweepRunResult> {
  const { workload, warmups = 0 } = options;
  const run = (warmup: boolean): SweepRun => ({ setting, repetition, warmup, signal });
  for (let i = 0; i < warmups; i++) {
    await workload(run(true));
    throwIfAborted(signal);
  }
  const before = await readEnergy(options.gpus, options);
  const begun = performance.now();
  const work = await workload(run(false));
  const elapsed = (performance.now() - begun) / 1000;
  const after = await readEnergy(options.gpus, options);
  throwIfAborted(signal);
  const { units, seconds } = workOf(work, elapsed);
  const energy = spent(before.joules, after.joules, before.reason ?? after.reason);
  const result = { setting, repetition, units, seconds, ...energy };
  options.onRun?.(result);
  return result;
}

function workOf(work: SweepWork, elapsed: number): { units: number; seconds: number } {
  const { units, seconds } = typeof work === 'number' ? { units: work, seconds: elapsed } : work;
  if (!(Number.isFinite(units) && units > 0)) {
    throw invalidArgument('the result of the workload', 'units of work above 0', units);
  }
  if (!(Number.isFinite(seconds) && seconds > 0)) {
    throw invalidArgument('the result of the workload', 'seconds above 0', seconds);
  }
  return { units, seconds };
}

function spent(
  before: number | null,
  after: number | null,
  reason: string | null,
): Pick<SweepRunResult, 'joules' | 'joulesReason'> {
  if (before === null || after === null) return { joules: null, joulesReason: reason };
  if (after > before) return { joules: after - before, joulesReason: null };
  return {
    joules: null,
    joulesReason:
      after === before
        ? 'the energy counter did not move: it is renewed each 100 ms or so, and the run was shorter'
        : 'the energy counter went back: the driver was loaded again',
  };
}

function summarize(
  options: SweepOptions,
  runs: readonly SweepRunResult[],
  errors: ReadonlyMap<string, ErrorRecord>,
  more: {
    readonly unit: string;
    readonly repetitions: number;
    readonly first: { readonly gpus: readonly string[]; readonly simulated: boolean };
  },
): SweepResult {
  const measured = options.settings
    .map(({ name }) => ({ name, own: runs.filter(({ setting }) => setting === name) }))
    .filter(({ own }) => own.length > 0)
    .map(({ name, own }) => ({
      name,
      runs: own.length,
      unitsPerSecond: spreadOf(own.map(({ units, seconds }) => units / seconds)),
      joulesPerUnit: own.some(({ joules }) => joules === null)
        ? null
        : spreadOf(own.map(({ joules, units }) => (joules as number) / units)),
    }));
  const front = paretoFront(
    measured.map(({ name, unitsPerSecond, joulesPerUnit }) => ({
      name,
      throughput: unitsPerSecond.median,
      energy: joulesPerUnit?.median ?? null,
    })),
  );
  const energyReason = runs.find(({ joules }) => joules === null)?.joulesReason ?? null;
  const settings = options.settings.map(({ name }): SweepSettingResult => {
    const error = errors.get(name) ?? null;
    const own = measured.find((one) => one.name === name);
    return own === undefined
      ? { ...EMPTY, name, error }
      : { ...own, status: 'measured', error, onFront: front.includes(name) };
  });
  return {
    unit: more.unit,
    repetitions: more.repetitions,
    runs,
    settings,
    front,
    frontBy: energyReason === null && runs.length > 0 ? 'throughput_and_energy' : 'throughput',
    energyReason,
    gpus: more.first.gpus,
    simulated: more.first.simulated,
  };
}

const EMPTY = {
  status: 'unavailable',
  runs: 0,
  unitsPerSecond: null,
  joulesPerUnit: null,
  onFront: false,
} as const;

function spreadOf(values: readonly number[]): SweepSpread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number): number => sorted[index] as number;
  const median =
    sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}
