// PCIe bytes: exact when asked for, never silently wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as monitor from '#lib/monitor/index';
import { FakeGpus, fakeLibrary, NEEDS_FAKE } from './gpu-fake.ts';
import { collect, rowsOf } from './gpu-rows.ts';

/** A Gen5 x16 link at 50 GB/s: its 32-bit counter wraps each 86 ms. */
const RATE = 50_000_000_000;

/** Whether no wrap was lost or counted twice; the reading itself is some ms after the time of its row on a busy machine. */
function isRight(bytes: number, ns: number): boolean {
  return Math.abs(bytes - (RATE * ns) / 1e9) < 2 ** 31;
}

test('exact: bytes of a link at full speed through a 32-bit counter', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus(
    `nvml.pcie_tx_bytes = counter(4294967000, ${RATE})\nnvml.pcie_rx_bytes = counter(0, ${RATE / 10})\n`,
    fakeLibrary('12.8'),
  );
  await using sampler = await monitor.sample({
    sources: [monitor.gpu({ intervalMs: 100, pcie: 'exact' })],
    batchMs: 50,
  });
  const rows = rowsOf(
    await collect(sampler, (all) => (all.get('gpu.pcie')?.length ?? 0) >= 40),
    'gpu.pcie',
    40,
  );
  const clear = rows.filter((row) => row['ambiguous'] === false);
  let checked = 0;
  for (const [index, row] of rows.entries()) {
    const before = rows[index - 1];
    if (before === undefined || row['ambiguous'] !== false) continue;
    const ns = Number((row['time'] as bigint) - (before['time'] as bigint));
    const bytes = Number((row['tx_bytes'] as bigint) - (before['tx_bytes'] as bigint));
    assert(isRight(bytes, ns), `${bytes} bytes in ${ns} ns`);
    checked++;
  }
  assert(
    checked >= 20,
    `${checked} of ${rows.length} rows could be checked, ${clear.length} clear`,
  );
});

// 2 % with GPM: on a busy machine the simulated calls take several times what they cost, and at 0.5 % there would be a
// row each ten seconds.
const BUDGET = [
  [1, 0.02, 'GPM counts the wraps'],
  [0, 0.005, 'without GPM what may have wrapped twice is marked'],
] as const;
for (const [gpm, driverShare, how] of BUDGET) {
  test(`within the budget: ${how}`, NEEDS_FAKE, async () => {
    using _fake = new FakeGpus(
      `nvml.gpm = ${gpm}\nnvml.latencies = h200\nnvml.wait = spin\nnvml.pcie_tx_bytes = counter(0, ${RATE})\n`,
      fakeLibrary('12.8'),
    );
    await using sampler = await monitor.sample({
      sources: [monitor.gpu({ intervalMs: 100, driverShare })],
      batchMs: 50,
    });
    const rows = rowsOf(
      await collect(sampler, (all) => (all.get('gpu.pcie')?.length ?? 0) >= 4, 20_000),
      'gpu.pcie',
      2,
    );
    for (const [index, row] of rows.entries()) {
      const before = rows[index - 1];
      if (before === undefined) continue;
      const ns = Number((row['time'] as bigint) - (before['time'] as bigint));
      const bytes = Number((row['tx_bytes'] as bigint) - (before['tx_bytes'] as bigint));
      assert(
        isRight(bytes, ns) || row['ambiguous'] === true,
        `${bytes} bytes in ${ns} ns, no mark`,
      );
    }
    if (gpm === 0) assert(rows.some((row) => row['ambiguous'] === true));
  });
}

test('without counters the blocking call serves, in a thread of its own', NEEDS_FAKE, async () => {
  using fake = new FakeGpus(
    'nvml.pcie_tx_bytes = counter(0, 3000000)\nnvml.field.197 = !3\nnvml.field.198 = !3\n',
    fakeLibrary('12.4'),
  );
  await using sampler = await monitor.sample({
    sources: [monitor.gpu({ intervalMs: 10, driverShare: 1 })],
    batchMs: 50,
  });
  const rows = await collect(
    sampler,
    (all) => (all.get('gpu.pcie')?.length ?? 0) >= 2 && (all.get('gpu')?.length ?? 0) >= 50,
  );
  const pcie = rowsOf(rows, 'gpu.pcie', 2).at(-1);
  assert.equal(pcie?.['tx_bytes'], null);
  assert(Math.abs((pcie?.['tx_bytes_per_second'] as number) / 3e6 - 1) < 0.1);
  assert(fake.count('nvmlDeviceGetPcieThroughput') >= 2);
});
