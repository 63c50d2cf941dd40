// `isolate: true`: the driver library crashes in a helper process, and this one goes on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as monitor from '#lib/monitor/index';
import { FakeGpus, NEEDS_FAKE } from './gpu-fake.ts';
import { collect, rowsOf, until } from './gpu-rows.ts';

const OPTIONS = { intervalMs: 10, driverShare: 1, isolate: true } as const;

test(
  'a crash in the driver library is a state; rows go on before and after',
  NEEDS_FAKE,
  async () => {
    const script = 'live = 1\n';
    using fake = new FakeGpus(script);
    await using sampler = await monitor.sample({ sources: [monitor.gpu(OPTIONS)], batchMs: 20 });
    const names = sampler.tables.map(({ name }) => name);
    assert(names.includes('gpu') && names.includes('gpu.pcie'), names.join(', '));
    assert(
      sampler.tables.filter(({ source }) => source === 'gpu').every((table) => table.simulated),
    );
    const before = rowsOf(
      await collect(sampler, (all) => (all.get('gpu')?.length ?? 0) >= 5),
      'gpu',
      5,
    );
    assert.equal(before[0]?.['temperature_celsius'], 52);

    // Every helper dies at its next reading of the temperature.
    fake.write(
      `${script}crash.nvmlDeviceGetPerformanceState = ${fake.count('nvmlDeviceGetPerformanceState') + 20}\n`,
    );
    await until(() => sampler.states.some((row) => row.state === 'crashed'), 'the crash');
    const crash = sampler.states.find((row) => row.state === 'crashed');
    assert.equal(crash?.source, 'gpu');
    assert.equal(crash?.reason, 'sigsegv');
    assert.equal(crash?.code, 11);

    fake.write(script);
    const from = monitor.now();
    const rows = await collect(
      sampler,
      (all) => (all.get('gpu') ?? []).some((row) => (row['time'] as bigint) > from),
      20_000,
    );
    const state = rowsOf(rows, 'state').map((row) => row['state']);
    assert(state.includes('crashed'), 'the crash is a row of the table `state`');
    const after = rowsOf(rows, 'gpu').filter((row) => (row['time'] as bigint) > from);
    assert(after.length > 0 && after.every((row) => (row['time'] as bigint) <= monitor.now()));
    assert.equal(after.at(-1)?.['temperature_celsius'], 52);
    // A helper tells its counts every half second, so those of the one that crashed may lack its last rows.
    await until(
      () => (sampler.stats().tables.find(({ table }) => table === 'gpu')?.rows ?? 0) > 5,
      'counts of both helpers',
    );
    assert.equal(sampler.latest()['gpu']?.length, 1);
  },
);

test('isolated and not isolated sources share a sampler', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus();
  const sampler = await monitor.sample({
    sources: [monitor.gpu(OPTIONS), monitor.vmstat({ intervalMs: 10 })],
    batchMs: 20,
  });
  const rows = await collect(sampler, (all) => all.has('gpu') && all.has('vmstat'));
  rowsOf(rows, 'gpu');
  rowsOf(rows, 'vmstat');
  const begin = performance.now();
  await sampler.close();
  assert(performance.now() - begin < 1000, `closing took ${performance.now() - begin} ms`);
});

test(
  'an isolated source, or a table of the script, is enough: what else is lacking is a state',
  NEEDS_FAKE,
  async () => {
    using _fake = new FakeGpus();
    const absent = monitor.gpu({ devices: ['GPU-00000000-0000-0000-0000-00000000dead'] });
    await assert.rejects(monitor.sample({ sources: [absent] }), { code: 'ERR_NO_DEVICE' });
    await using sampler = await monitor.sample({
      sources: [monitor.gpu(OPTIONS), absent],
      batchMs: 20,
    });
    rowsOf(await collect(sampler, (all) => all.has('gpu')), 'gpu');
    const { source, state, reason } = sampler.states[0] ?? {};
    assert.deepEqual(
      { source, state, reason },
      { source: 'gpu@2', state: 'unavailable', reason: 'no_device' },
    );

    const requests = await monitor.table({ name: 'requests', schema: { latency_ns: 'u64' } });
    for (const lacking of [
      absent,
      { ...absent, options: { ...absent.options, isolate: 'true' } },
    ]) {
      await using fed = await monitor.sample({
        sources: [lacking],
        tables: [requests],
        batchMs: 20,
      });
      requests.append({ latency_ns: 7 });
      const rows = await collect(fed, (all) => all.has('requests') && all.has('state'));
      assert.equal(rowsOf(rows, 'requests')[0]?.['latency_ns'], 7n);
      assert.equal(rowsOf(rows, 'state')[0]?.['state'], 'unavailable');
    }
  },
);

test('what an isolated source cannot have is an error here', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus('nvml.gone = 1\n');
  await assert.rejects(
    monitor.sample({ sources: [monitor.gpu(OPTIONS)] }),
    (error: { code: string }) => ['ERR_NO_DRIVER', 'ERR_NVML'].includes(error.code),
  );
  using _crash = new FakeGpus('crash.nvmlInit_v2 = 1\n');
  await assert.rejects(monitor.sample({ sources: [monitor.gpu(OPTIONS)] }), {
    code: 'ERR_CHILD_DIED',
    message: /SIGSEGV/,
  });
});
