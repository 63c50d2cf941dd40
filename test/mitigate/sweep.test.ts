// Sweeps on the Simulated GPU: each setting holds while its workload runs, and nothing is left of it afterwards.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, WarpgaugeError } from '#lib/errors';
import { power } from '#lib/mitigate/power';
import { sweep } from '#lib/mitigate/sweep';
import { type Candidate, paretoFront } from '#lib/mitigate/sweep/pareto';
import type { SweepOptions, SweepRun } from '#lib/mitigate/sweep/types';
import { NEEDS_FAKE } from '../monitor/gpu-fake.js';
import { SimulatedPower } from './power/simulated-power.js';
import { SimulatedMachine } from './transaction/crash-points.js';

const AS_FOUND = /^limit (as found|700) persistence as found sm - memory -$/;
const FAST = { name: 'fast' };
const ECO = { name: 'eco', power: { powerLimitW: 400 } };
const BAD = { name: 'bad', power: { smClockMhz: { min: 345, max: 600 } } };
/** Each without a guardian: what a kill leaves is tested with power itself. */
const quick = (more: Omit<SweepOptions, 'settings'> & Partial<SweepOptions>): SweepOptions => ({
  settings: [FAST, ECO, BAD],
  guardian: false,
  ...more,
});

async function rejected(promise: Promise<unknown>): Promise<WarpgaugeError> {
  return await promise.then(
    () => assert.fail('it did not fail'),
    (error: WarpgaugeError) => error,
  );
}

test('the front is what no other beats, as comparing all with all finds it', () => {
  let seed = 1;
  const random = (below: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let round = 0; round < 500; round++) {
    const candidates: Candidate[] = Array.from({ length: 1 + random(7) }, (_, i) => ({
      name: String(i),
      throughput: random(5),
      energy: random(5),
    }));
    const better = (a: Candidate, b: Candidate): boolean => {
      const [ae, be] = [a.energy as number, b.energy as number];
      return (
        (a.throughput > b.throughput && ae <= be) || (a.throughput === b.throughput && ae < be)
      );
    };
    const expected = candidates.filter((b) => !candidates.some((a) => better(a, b)));
    assert.deepEqual(
      new Set(paretoFront(candidates)),
      new Set(expected.map(({ name }) => name)),
      JSON.stringify(candidates),
    );
  }
  const best = { name: 'a', throughput: 2, energy: null };
  assert.deepEqual(paretoFront([{ name: 'b', throughput: 1, energy: 1 }, best]), ['a']);
});

test(
  'settings hold during their runs, in turns, and the front weighs throughput and energy',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower('nvml.energy = counter(1000000,1000000)');
    const seen: string[] = [];
    const told: string[] = [];
    const result = await sweep(
      quick({
        warmups: 1,
        unit: 'tokens',
        onRun: ({ setting, repetition }) => told.push(`${setting} ${repetition}`),
        async workload({ setting, warmup }: SweepRun) {
          seen.push(`${setting}${warmup ? ' warm-up' : ''}: ${machine.held()}`);
          if (!warmup) await sleep(setting === 'eco' ? 5 : 150);
          return { units: { fast: 100, eco: 50 }[setting] ?? 40, seconds: 1 };
        },
      }),
    );
    assert.match(machine.held(), AS_FOUND);
    assert.deepEqual(told, [
      ...['fast 0', 'eco 0', 'bad 0'],
      ...['bad 1', 'eco 1', 'fast 1'],
      ...['fast 2', 'eco 2', 'bad 2'],
    ]);
    assert.equal(seen.length, 18);
    for (const line of seen) {
      const held = {
        f: AS_FOUND.source.slice(1),
        e: 'limit 400 persistence as found sm - memory -$',
        b: 'limit (as found|700) persistence as found sm 345-600 memory -$',
      }[line[0] ?? ''];
      assert.match(line, new RegExp(`: ${held}`));
    }
    const [fast, eco, bad] = result.settings;
    assert.deepEqual(
      [fast, eco, bad].map((one) => [one?.unitsPerSecond?.median, one?.runs, one?.onFront]),
      [
        [100, 3, true],
        [50, 3, true],
        [40, 3, false],
      ],
    );
    assert.ok((eco?.joulesPerUnit?.median ?? 9) < (fast?.joulesPerUnit?.median ?? 0));
    // 1 kW for at least the time of the workload.
    assert.ok((fast?.joulesPerUnit?.min ?? 0) >= 1.49);
    assert.deepEqual(result.front, ['fast', 'eco']);
    assert.deepEqual(
      [result.frontBy, result.energyReason, result.gpus.length, result.simulated],
      ['throughput_and_energy', null, 1, true],
    );
  },
);

test('without energy the front is that of throughput, and it says why', NEEDS_FAKE, async () => {
  const work = quick({ repetitions: 1, workload: ({ setting }) => setting.length });
  {
    using _machine = new SimulatedPower('nvml.energy = !3');
    const { front, frontBy, energyReason, runs } = await sweep({
      ...work,
      workload: ({ setting }) => ({ units: setting.length, seconds: 1 }),
    });
    assert.deepEqual([front, frontBy], [['fast'], 'throughput']);
    assert.match(energyReason ?? '', /no energy counter \(NVML code 3\)/);
    assert.equal(runs[0]?.joules, null);
  }
  {
    using _machine = new SimulatedPower('nvml.energy = 5000');
    const { energyReason } = await sweep(work);
    assert.match(energyReason ?? '', /did not move/);
  }
  using _machine = new SimulatedPower();
  process.env['WARPGAUGE_NVML'] = '/nonexistent/libnvidia-ml.so.1';
  const none = await sweep({ ...work, settings: [FAST, ECO] });
  assert.match(none.energyReason ?? '', /\(ERR_LIBRARY_MISSING\)/);
  assert.deepEqual(
    none.settings.map(({ status, error }) => [status, error?.code ?? null]),
    [
      ['measured', null],
      ['unavailable', 'ERR_LIBRARY_MISSING'],
    ],
  );
  assert.deepEqual(none.front, ['fast']);
});

test(
  'a setting that the driver refuses is unavailable, and the others are measured',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower('error.nvmlDeviceSetPowerManagementLimit = 4');
    const result = await sweep(quick({ gpus: [], repetitions: 2, workload: () => 1 }));
    assert.deepEqual(
      result.settings.map(({ name, runs, error }) => [name, runs, error?.code ?? null]),
      [
        ['fast', 2, null],
        ['eco', 0, 'ERR_PERMISSION'],
        ['bad', 2, null],
      ],
    );
    assert.equal(result.energyReason, 'no GPU was asked for');
    assert.match(machine.held(), AS_FOUND);
  },
);

test('pages that this machine cannot give are unavailable, too', async (t) => {
  const { root, stateDir } = new SimulatedMachine(t);
  const failing = (code: ErrorCode) => ({
    name: code,
    apply: () => {
      throw new WarpgaugeError(code, 'not here');
    },
  });
  const result = await sweep(
    quick({
      root,
      stateDir,
      gpus: [],
      repetitions: 2,
      workload: () => 1,
      settings: [
        FAST,
        { name: '64m', pools: [{ pageBytes: 2 ** 26, count: 1 }] },
        { name: 'node 7', pools: [{ pageBytes: 2 ** 21, count: 1, node: 7 }] },
        failing('ERR_NO_MEMORY'),
        failing('ERR_CGROUP_HUGETLB_MAX'),
        failing('ERR_CGROUP_HUGETLB_RSVD_MAX'),
      ],
    }),
  );
  assert.deepEqual(
    result.settings.map(({ runs, error }) => [runs, error?.code ?? null]),
    [
      [2, null],
      [0, 'ERR_PAGE_KIND_UNSUPPORTED'],
      [0, 'ERR_NUMA_NODE'],
      [0, 'ERR_NO_MEMORY'],
      [0, 'ERR_CGROUP_HUGETLB_MAX'],
      [0, 'ERR_CGROUP_HUGETLB_RSVD_MAX'],
    ],
  );
});

test(
  'a workload that fails, and a signal that aborts, leave the machine as it was',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower();
    const failure = new Error('out of memory');
    const failed = await rejected(
      sweep(
        quick({
          workload({ setting }) {
            if (setting === 'eco') throw failure;
            return 1;
          },
        }),
      ),
    );
    assert.equal(failed, failure);
    assert.match(machine.held(), AS_FOUND);
    const abort = new AbortController();
    const interrupted = await rejected(
      sweep(
        quick({
          signal: abort.signal,
          workload({ setting, signal }) {
            if (setting === 'eco') {
              assert.match(machine.held(), /limit 400/);
              abort.abort();
              assert.equal(signal.aborted, true);
            }
            return 1;
          },
        }),
      ),
    );
    assert.equal(interrupted.code, 'ERR_INTERRUPTED');
    assert.match(machine.held(), AS_FOUND);
    assert.deepEqual((await power.status()).changes, []);
  },
);

test(
  'several changes of one setting are undone in reverse, and what cannot be put back ends the sweep',
  NEEDS_FAKE,
  async () => {
    {
      using machine = new SimulatedPower();
      const undone: string[] = [];
      const both = {
        name: 'both',
        power: { powerLimitW: 400 },
        apply: () => ({
          async [Symbol.asyncDispose]() {
            undone.push(machine.held());
          },
        }),
      };
      await sweep(quick({ settings: [both], repetitions: 1, workload: () => 1 }));
      assert.match(undone[0] ?? '', /limit 400/, 'the last change goes first');
      assert.match(machine.held(), AS_FOUND);
    }
    using _machine = new SimulatedPower('nvml.power_limit_enforced = 500000');
    const error = await rejected(sweep(quick({ settings: [ECO, FAST], workload: () => 1 })));
    assert.equal(error.code, 'ERR_REFUSED');
    assert.match(error.message, /500 W as it was found/);
  },
);

test(
  'a workload that fails under a setting that cannot be put back: its error, and what is left',
  NEEDS_FAKE,
  async () => {
    using _machine = new SimulatedPower('nvml.power_limit_enforced = 500000');
    const failure = new Error('out of memory');
    const workload = (): never => {
      throw failure;
    };
    const error = await rejected(sweep(quick({ settings: [ECO], workload })));
    assert.equal(error, failure);
    assert.match(error.message, /^out of memory; left behind: .*500 W as it was found.*-pl 700/);
  },
);

test('bad arguments', async () => {
  const cases: readonly (readonly [Partial<SweepOptions>, RegExp])[] = [
    [{ settings: [] }, /at least one setting/],
    [{ settings: [FAST, FAST] }, /a name of its own/],
    [{ repetitions: 0 }, /repetitions/],
    [{ warmups: -1 }, /warmups/],
    [{ settings: [FAST], workload: () => 0 }, /units of work above 0/],
    [{ settings: [FAST], workload: () => ({ units: 1, seconds: Number.NaN }) }, /seconds above 0/],
  ];
  for (const [options, message] of cases) {
    const error = await rejected(sweep(quick({ gpus: [], workload: () => 1, ...options })));
    assert.equal(error.code, 'ERR_INVALID_ARGUMENT');
    assert.match(error.message, message);
  }
});
