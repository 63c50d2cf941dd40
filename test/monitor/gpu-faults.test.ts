// GPUs that hang, get lost, are reconfigured, sleep, or whose driver goes away. The rest keeps flowing.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as monitor from '#lib/monitor/index';
import type { Sampler } from '#lib/monitor/types';
import { FakeGpus, NEEDS_FAKE } from './gpu-fake.ts';
import { collect, rowsOf, until } from './gpu-rows.ts';

const FIRST = 'GPU-53494d55-4c41-5445-4400-000000000000';
const SECOND = 'GPU-53494d55-4c41-5445-4400-000000000001';

function open(options: Parameters<typeof monitor.gpu>[0] = {}): Promise<Sampler> {
  return monitor.sample({
    sources: [monitor.gpu({ intervalMs: 10, driverShare: 1, ...options })],
    batchMs: 20,
    keepAlive: true,
  });
}

const states = (sampler: Sampler, key: string) =>
  sampler.states.filter((row) => row.key === key && row.field === '').map((row) => row.state);

test(
  'a call that hangs for a minute stops one GPU; close takes less than a second',
  NEEDS_FAKE,
  async () => {
    const script = 'devices = 2\nlive = 1\n';
    using fake = new FakeGpus(script);
    const sampler = await open();
    await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 10);
    fake.write(`${script}nvml.1.hang_ms.* = 60000\n`);
    await until(() => states(sampler, SECOND).includes('hung'), 'the hang to be seen');
    const from = monitor.now();
    const rows = await collect(
      sampler,
      (all) => (all.get('gpu') ?? []).filter((row) => (row['time'] as bigint) > from).length >= 50,
    );
    const after = rowsOf(rows, 'gpu').filter((row) => (row['time'] as bigint) > from);
    assert(after.filter((row) => row['gpu'] === FIRST).length >= 50, 'the first GPU goes on');
    assert.equal(
      after.filter((row) => row['gpu'] === SECOND && row['power_watts'] !== null).length,
      0,
    );
    const begin = performance.now();
    await sampler.close();
    assert(performance.now() - begin < 1000, `closing took ${performance.now() - begin} ms`);
  },
);

test('a lost GPU is a state, the other goes on, and it comes back', NEEDS_FAKE, async () => {
  const script = 'devices = 2\nlive = 1\n';
  using fake = new FakeGpus(script);
  const sampler = await open();
  await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 10);
  for (const code of [15, 16, 17, 999]) {
    fake.write(`${script}nvml.1.fault = ${code}\n`);
    await until(() => states(sampler, SECOND).at(-1) === 'lost', `the loss by ${code}`);
    const row = sampler.states.findLast(({ key, state }) => key === SECOND && state === 'lost');
    assert.equal(row?.code, code);
    const from = monitor.now();
    const rows = await collect(
      sampler,
      (all) => (all.get('gpu') ?? []).filter((r) => (r['time'] as bigint) > from).length >= 20,
    );
    const after = rowsOf(rows, 'gpu').filter((r) => (r['time'] as bigint) > from);
    assert(after.some((r) => r['gpu'] === FIRST && r['power_watts'] !== null));
    assert(!after.some((r) => r['gpu'] === SECOND && r['power_watts'] !== null));
    fake.write(script);
    await until(() => states(sampler, SECOND).at(-1) === 'ok', `the return after ${code}`, 20_000);
  }
  await sampler.close();
});

test('a lost GPU is asked more and more rarely', NEEDS_FAKE, async () => {
  const script = 'devices = 1\nlive = 1\n';
  using fake = new FakeGpus(script);
  const sampler = await open();
  await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 10);
  fake.write(`${script}nvml.0.fault = 15\n`);
  await until(() => states(sampler, FIRST).at(-1) === 'lost', 'the loss');
  const before = fake.calls().length;
  await new Promise((resolve) => setTimeout(resolve, 3500));
  const calls = fake
    .calls()
    .slice(before)
    .filter((line) => !line.startsWith('nvmlEventSetWait'));
  assert(calls.length > 0 && calls.length < 60, `${calls.length} calls in 3.5 s`);
  await sampler.close();
});

test('the driver goes and comes back', NEEDS_FAKE, async () => {
  const script = 'live = 1\n';
  using fake = new FakeGpus(script);
  const sampler = await open();
  await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 10);
  fake.write(`${script}nvml.gone@${fake.nowMs()} = 1\n`);
  await until(() => states(sampler, FIRST).at(-1) === 'lost', 'the loss');
  const gone = fake.nowMs();
  fake.write(`${script}nvml.gone@${gone - 1000} = 1\nnvml.gone@${gone} = 0\n`);
  await until(() => states(sampler, FIRST).at(-1) === 'ok', 'the return', 20_000);
  const from = monitor.now();
  const rows = await collect(sampler, (all) =>
    (all.get('gpu') ?? []).some((row) => (row['time'] as bigint) > from),
  );
  assert(rowsOf(rows, 'gpu').some((row) => row['power_watts'] !== null));
  await sampler.close();
});

test(
  'an instance made again is another entity: no difference across the two',
  NEEDS_FAKE,
  async () => {
    const script = 'live = 1\nnvml.0.gi.2.memory_used = 1048576\n';
    using fake = new FakeGpus(`${script}nvml.0.mig = 2:0:3g.71gb, 9:0:1g.18gb\n`);
    const sampler = await open();
    const seen = await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 9);
    const of = (rows: typeof seen) =>
      new Set(
        rowsOf(rows, 'gpu')
          .filter((r) => r['gpu_instance'] === 2)
          .map((r) => r['gpu']),
      );
    const before = of(seen);
    assert.equal(before.size, 1);
    fake.write(`${script}nvml.0.mig = 2:0:3g.71gb~1, 9:0:1g.18gb\n`);
    const [old = ''] = before;
    await until(() => states(sampler, String(old)).includes('gone'), 'the old instance to go');
    const from = monitor.now();
    const rows = await collect(sampler, (all) =>
      (all.get('gpu') ?? []).some((r) => r['gpu_instance'] === 2 && (r['time'] as bigint) > from),
    );
    const after = new Set(
      rowsOf(rows, 'gpu')
        .filter((r) => r['gpu_instance'] === 2 && (r['time'] as bigint) > from)
        .map((r) => r['gpu']),
    );
    assert.equal(after.size, 1);
    assert(!after.has(old as string), 'the new instance has its own identity');
    await sampler.close();
  },
);

test('a sleeping GPU is not asked anything', NEEDS_FAKE, async () => {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-asleep-'));
  const device = (address: string, status: string) => {
    const folder = join(root, 'sys/bus/pci/devices', address);
    mkdirSync(join(folder, 'power'), { recursive: true });
    writeFileSync(join(folder, 'vendor'), '0x10de\n');
    writeFileSync(join(folder, 'class'), '0x030200\n');
    writeFileSync(join(folder, 'power/runtime_status'), `${status}\n`);
  };
  device('0000:83:00.0', 'active');
  device('0000:84:00.0', 'suspended');
  const saved = process.env['WARPGAUGE_ROOT'];
  process.env['WARPGAUGE_ROOT'] = root;
  try {
    using fake = new FakeGpus('devices = 2\n');
    const sampler = await open();
    const rows = await collect(sampler, (all) => (all.get('gpu')?.length ?? 0) >= 20);
    assert(
      rowsOf(rows, 'gpu').every((row) => row['gpu'] !== SECOND || row['power_watts'] === null),
    );
    assert(
      sampler.states.some((row) => row.reason === 'asleep'),
      'asleep is a state',
    );
    await sampler.close();
    const woken = fake
      .calls()
      .filter((line) => /84:00|nvmlDeviceGetHandleByIndex_v2\(1\)/i.test(line));
    assert.deepEqual(woken, []);
  } finally {
    if (saved === undefined) delete process.env['WARPGAUGE_ROOT'];
    else process.env['WARPGAUGE_ROOT'] = saved;
    rmSync(root, { recursive: true });
  }
});

test('events come as rows', NEEDS_FAKE, async () => {
  using fake = new FakeGpus('live = 1\n');
  const sampler = await open();
  await collect(sampler, (rows) => (rows.get('gpu')?.length ?? 0) >= 10);
  fake.write('live = 1\nnvml.0.events = 0:0x8:79, 0:0x8:79, 0:0x2:0\n');
  const rows = await collect(sampler, (all) => (all.get('gpu.event')?.length ?? 0) >= 3);
  const events = rowsOf(rows, 'gpu.event', 3);
  assert.deepEqual(
    events.map((row) => [row['event'], row['code']]),
    [
      ['xid', 79n],
      ['xid', 79n],
      ['ecc_double_bit', 0n],
    ],
  );
  await sampler.close();
});
