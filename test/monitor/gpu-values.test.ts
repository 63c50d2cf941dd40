// What the gpu source makes of good, bad and repeated answers of a driver. All on the fake NVML.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as monitor from '#lib/monitor/index';
import type { Row } from '#lib/monitor/types';
import { FakeGpus, fakeLibrary, NEEDS_FAKE, SCHEMES } from './gpu-fake.ts';
import { collect, lastOf, type Rows, rowsOf } from './gpu-rows.ts';

type GpuOptions = Parameters<typeof monitor.gpu>[0];

/** Every table in tenths of a second, whatever it costs. */
const FAST = {
  driverShare: 1,
  slowIntervalMs: 100,
  processIntervalMs: 100,
  gpmIntervalMs: 110,
  samplesIntervalMs: 100,
} as const;

/** Rows of all tables, until `gpu` and `gpu.slow` have some. */
async function sampleGpu(options: GpuOptions = {}, until = hasBoth): Promise<Rows> {
  await using sampler = await monitor.sample({
    sources: [monitor.gpu({ intervalMs: 10, ...FAST, ...options })],
    batchMs: 20,
  });
  return await collect(sampler, until);
}

function hasBoth(rows: Rows): boolean {
  return (rows.get('gpu')?.length ?? 0) >= 3 && rows.has('gpu.slow');
}

const PERCENTAGES = [
  ...['gpu', 'memory', 'encoder', 'decoder', 'jpeg', 'ofa'].map((name) => `utilization_${name}`),
  ...['gpm.1', 'gpm.2', 'gpm.10'],
];
const AMOUNTS = [
  ...['power_instant', 'power_average', 'energy', 'power_limit', 'power_limit_enforced'],
  ...['memory_used', 'memory_free', 'bar1_used', 'violation_0', 'pstate'],
  ...['replays', 'ecc_corrected_volatile', 'remapped_corrected'],
];
/** Words by which drivers and DCGM say that there is no value. */
const BLANKS = ['-1', '0xffffffff', '0x7ffffff0', '0x7ffffff3', '0x7ffffffffffffff0'];

/** Every number that a row shows, times and masks apart. */
function numbers(rows: Rows): [string, number][] {
  const notValues = ['time', 'changed', 'read', 'window_ns', 'gpu_instance', 'compute_instance'];
  return [...rows.values()]
    .flat()
    .flatMap((row) =>
      Object.entries(row).flatMap(([column, value]): [string, number][] =>
        (typeof value === 'number' || typeof value === 'bigint') && !notValues.includes(column)
          ? [[column, Number(value)]]
          : [],
      ),
    );
}

for (const word of ['808334905', '101', ...BLANKS]) {
  test(`${word} is no percentage`, NEEDS_FAKE, async () => {
    const fields = PERCENTAGES.map((field) => `nvml.${field} = ${word}\n`);
    const unsigned = String(BigInt.asUintN(32, BigInt(word)));
    const use = Array(4).fill(unsigned).join(':');
    using _fake = new FakeGpus(`${fields.join('')}nvml.processes = self:C:1MiB:-1:-1:${use}\n`);
    const rows = await sampleGpu(
      {},
      (all) => hasBoth(all) && all.has('gpu.process') && all.has('gpu.gpm'),
    );
    const ratios = numbers(rows).filter(([column]) => column.endsWith('_ratio'));
    assert.deepEqual(
      ratios.filter(([, value]) => !(value >= 0 && value <= 1)),
      [],
    );
    assert.equal(lastOf(rows, 'gpu')['gpu_utilization_ratio'], null);
    assert.equal(lastOf(rows, 'gpu.process')['sm_utilization_ratio'], null);
    assert.equal(lastOf(rows, 'gpu.gpm')['sm_utilization_ratio'], null);
  });
}

for (const word of BLANKS) {
  test(`${word} is no amount`, NEEDS_FAKE, async () => {
    const fields = AMOUNTS.map((field) => `nvml.${field} = ${word}\n`);
    using _fake = new FakeGpus(`${fields.join('')}nvml.processes = self:C:-\n`);
    const rows = await sampleGpu({}, (all) => hasBoth(all) && all.has('gpu.process'));
    const value = BigInt.asUintN(64, BigInt(word));
    const forbidden = word === '-1' ? [2 ** 64 - 1, 2 ** 32 - 1] : [Number(value)];
    const scales = [1, 1e-3, 1e6, 1024];
    for (const [column, shown] of numbers(rows)) {
      for (const scale of scales) {
        for (const bad of forbidden) {
          assert(Math.abs(shown / (bad * scale) - 1) > 1e-9, `${column} shows ${shown}`);
        }
      }
    }
    assert.equal(lastOf(rows, 'gpu.process')['memory_bytes'], null);
    if (!word.startsWith('0x7fffffffffff')) assert.equal(lastOf(rows, 'gpu')['power_watts'], null);
  });
}

for (const scheme of SCHEMES) {
  test(`driver ${scheme}: every value is where it belongs`, NEEDS_FAKE, async () => {
    using _fake = new FakeGpus(
      [
        'nvml.temperature = 61',
        'nvml.power_instant = 123456',
        'nvml.power_average = 120000',
        'nvml.reasons = 0x24',
        'nvml.violation_0 = 1111',
        'nvml.violation_1 = 2222',
        'nvml.processes = 11:C:3MiB:-1:-1:40:5:6:7, 12:G:4MiB, self:CG:5MiB',
      ].join('\n'),
      fakeLibrary(scheme),
    );
    const rows = await sampleGpu(
      {},
      (all) => hasBoth(all) && (all.get('gpu.process')?.length ?? 0) >= 3,
    );
    const gpu = lastOf(rows, 'gpu');
    assert.equal(gpu['temperature_celsius'], 61);
    assert.equal(gpu['power_watts'], 123.456);
    assert.equal(gpu['power_average_watts'], 120);
    assert.equal(gpu['throttle_reasons'], 0x24n);
    assert.equal(gpu['memory_reserved_bytes'], 614n * 2n ** 20n);
    const slow = lastOf(rows, 'gpu.slow');
    assert.equal(slow['throttle_power_ns'], 1111n);
    assert.equal(slow['throttle_thermal_ns'], 2222n);
    const processes = new Map(rowsOf(rows, 'gpu.process', 3).map((row) => [row['pid'], row]));
    assert.deepEqual([...processes.keys()].sort(), [11, 12, process.pid].sort());
    assert.equal(processes.get(11)?.['memory_bytes'], 3n * 2n ** 20n);
    assert.equal(processes.get(12)?.['memory_bytes'], 4n * 2n ** 20n);
    assert.equal(processes.get(12)?.['graphics'], true);
    assert.equal(processes.get(12)?.['compute'], false);
    assert.equal(processes.get(process.pid)?.['compute'], true);
    assert.equal(processes.get(process.pid)?.['graphics'], true);
    for (const list of rows.values()) {
      for (const row of list) {
        for (const value of Object.values(row)) {
          // What ids of changed meaning answer in the fake: nobody may read them.
          assert(![123456789n, 123456789, 4095n].includes(value as never), String(value));
        }
      }
    }
  });
}

test(
  'a function that the driver lacks blanks its own columns and no other',
  NEEDS_FAKE,
  async () => {
    const columns: Readonly<Record<string, readonly string[]>> = {
      nvmlDeviceGetUtilizationRates: ['gpu_utilization_ratio', 'memory_utilization_ratio'],
      nvmlDeviceGetPerformanceState: ['pstate'],
      nvmlDeviceGetClockInfo: [
        'clock_graphics_hertz',
        'clock_sm_hertz',
        'clock_memory_hertz',
        'clock_video_hertz',
      ],
      nvmlDeviceGetBAR1MemoryInfo: ['bar1_total_bytes', 'bar1_used_bytes', 'bar1_free_bytes'],
      nvmlDeviceGetPowerManagementLimit: ['power_limit_watts'],
    };
    const values = (rows: Rows) =>
      Object.entries({ ...lastOf(rows, 'gpu'), ...lastOf(rows, 'gpu.slow') });
    const nulls = (rows: Rows) =>
      values(rows)
        .filter(([, value]) => value === null)
        .map(([column]) => column);
    let always: string[];
    {
      using _fake = new FakeGpus();
      always = nulls(await sampleGpu());
    }
    for (const [symbol, blank] of Object.entries(columns)) {
      using fake = new FakeGpus();
      fake.without(symbol);
      const rows = await sampleGpu();
      assert.deepEqual(nulls(rows).sort(), [...always, ...blank].sort(), symbol);
    }
  },
);

test('a simulated driver says so in every schema', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus();
  await using sampler = await monitor.sample({ sources: [monitor.gpu({ intervalMs: 20 })] });
  assert(sampler.tables.length >= 6);
  for (const table of sampler.tables.filter(({ source }) => source === 'gpu')) {
    assert.equal(table.simulated, true, table.name);
    assert.equal(table.schema.metadata.get('simulated'), 'Simulated', table.name);
  }
});

test(
  'a driver that renews a value each 100 ms: one in twenty rows at 5 ms is a change',
  NEEDS_FAKE,
  async () => {
    using _fake = new FakeGpus('nvml.power_instant = ramp(100000, 1000) every 100\n');
    const rows = await sampleGpu(
      { intervalMs: 5 },
      (all) => (all.get('gpu')?.length ?? 0) >= 400 && all.has('gpu.slow'),
    );
    await using sampler = await monitor.sample({ sources: [monitor.gpu({ intervalMs: 5 })] });
    const info = sampler.tables.find(({ name }) => name === 'gpu');
    const names = info?.schema.fields.map(({ name }) => name) ?? [];
    const bit = BigInt(names.indexOf('power_watts') - names.indexOf('gpu_utilization_ratio'));
    const gpu = rowsOf(rows, 'gpu', 400).slice(1);
    const changed = gpu.filter((row) => (((row['changed'] as bigint) >> bit) & 1n) === 1n).length;
    const differ = gpu.filter(
      (row, index) => index > 0 && row['power_watts'] !== gpu[index - 1]?.['power_watts'],
    ).length;
    assert(Math.abs(changed - differ) <= 1, `${changed} marked, ${differ} differ`);
    const span = Number((gpu.at(-1) as Row)['time'] as bigint) - Number(gpu[0]?.['time'] as bigint);
    assert(Math.abs(changed - span / 1e8) <= 2, `${changed} changes in ${span / 1e6} ms`);
  },
);

test('GPM windows below 100 ms are refused by name', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus();
  assert.throws(() => monitor.gpu({ gpmIntervalMs: 50 }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /100 ms or more for gpu:gpm/,
  });
});

test('GPM rows have windows of at least 100 ms', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus('nvml.gpm.3 = 25\nnvml.pcie_tx_bytes = counter(0, 209715200)\n');
  const rows = await sampleGpu({}, (all) => (all.get('gpu.gpm')?.length ?? 0) >= 3);
  for (const row of rowsOf(rows, 'gpu.gpm', 3)) {
    assert((row['window_ns'] as bigint) >= 100_000_000n);
    assert.equal(row['sm_occupancy_ratio'], 0.25);
    const rate = row['pcie_tx_bytes_per_second'] as number;
    assert(Math.abs(rate / 209715200 - 1) < 0.02, `${rate} B/s`);
  }
});

for (const clock of ['epoch', 'boottime']) {
  test(`samples with ${clock} time stamps land where they belong`, NEEDS_FAKE, async () => {
    using fake = new FakeGpus(`nvml.sample_clock = ${clock}\nnvml.power_instant = ramp(0, 1000)\n`);
    const rows = await sampleGpu({}, (all) => (all.get('gpu.samples')?.length ?? 0) >= 50);
    const offset = monitor.now() - process.hrtime.bigint();
    const power = rowsOf(rows, 'gpu.samples', 20).filter((row) => row['power_watts'] !== null);
    assert(power.length >= 10, `${power.length} power samples`);
    for (const row of power) {
      // 1 mW per ms: the value says when it was taken.
      const takenNs = BigInt(Math.round((row['power_watts'] as number) * 1e9));
      const error = Number((row['time'] as bigint) - offset - fake.startNs - takenNs);
      assert(Math.abs(error) < 10e6, `${error / 1e6} ms away`);
    }
  });
}
