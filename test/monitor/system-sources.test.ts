import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { monitor } from 'warpgauge';
import type { Row, StateRow } from '#lib/monitor/types';
import { folders, fromRows, readAll, text, words } from './system-files.ts';

const SOURCES = [
  monitor.vmstat,
  monitor.meminfo,
  monitor.hugepages,
  monitor.pressure,
  monitor.cpu,
  monitor.disk,
  monitor.net,
  monitor.numa,
];
const recorded = 'test/fixtures/proc';
const trees = readdirSync(recorded).filter((name) =>
  existsSync(join(recorded, name, 'proc/vmstat')),
);

const code = (wanted: string) => (error: unknown) => (error as { code: string }).code === wanted;

/** The rows of some tick of the sources, over `root` in the place of /. */
async function once(
  specs: readonly { intervalMs?: number }[] & Parameters<typeof monitor.sample>[0]['sources'],
  root = '',
): Promise<{ latest: Readonly<Record<string, readonly Row[]>>; states: readonly StateRow[] }> {
  process.env['WARPGAUGE_ROOT'] = root;
  try {
    await using sampler = await monitor.sample({ sources: specs });
    // A busy machine may miss the first deadlines of a table.
    const isWaiting = () =>
      sampler.stats().tables.some(({ ticks, intervalMs }) => intervalMs !== null && ticks === 0);
    while (isWaiting()) await setTimeout(5);
    return { latest: sampler.latest(), states: sampler.states };
  } finally {
    delete process.env['WARPGAUGE_ROOT'];
  }
}

test('recorded machines: every number of every file, as another reader reads it', async (t) => {
  assert.ok(trees.length >= 2);
  for (const tree of trees) {
    await t.test(tree, async () => {
      const root = join(recorded, tree);
      const specs = SOURCES.map((make) => make({ intervalMs: 20 }));
      const { latest } = await once(specs, root);
      const expected = readAll(root);
      const found = fromRows(latest);
      assert.ok(expected.size > 300);
      assert.deepEqual([...found].sort(), [...expected].sort());
    });
  }
});

test('this machine: counters lie between a reading before and one after', async () => {
  const before = readAll('/');
  const { latest } = await once(SOURCES.map((make) => make({ intervalMs: 20 })));
  const after = readAll('/');
  const found = fromRows(latest);
  let compared = 0;
  for (const [at, value] of found) {
    const [low, high] = [before.get(at), after.get(at)];
    if (low === undefined || high === undefined) continue;
    // Gauges go both ways; what did not move, and what only grows, must fit.
    const isCounter = /_total_ns$|_bytes$|pgfault|pgfree|ctxt|user_ns|reads$|packets$/.test(at);
    if (!(isCounter && /^(vmstat|cpu|disk|net|pressure)/.test(at))) continue;
    assert.ok(low <= value && value <= high, `${at}: ${low} <= ${value} <= ${high}`);
    compared++;
  }
  assert.ok(compared > 20, `${compared} compared`);
  const missing = [...before.keys()].filter((at) => after.has(at) && !found.has(at));
  assert.deepEqual(missing, []);
});

test('pcie: links and AER of recorded machines', async (t) => {
  const devices = 'sys/bus/pci/devices';
  let withAer = 0;
  for (const tree of trees) {
    await t.test(tree, async () => {
      const root = join(recorded, tree);
      const linked = folders(root, devices, /./).filter((name) =>
        existsSync(join(root, devices, name, 'max_link_speed')),
      );
      const sources = [monitor.pcie({ intervalMs: 20 })];
      if (linked.length === 0) {
        await assert.rejects(once(sources, root), code('ERR_UNAVAILABLE'));
        return;
      }
      const { latest } = await once(sources, root);
      const rows = latest['pcie'] ?? [];
      assert.deepEqual(rows.map((row) => row['device']).sort(), linked.sort());
      for (const row of rows) {
        const folder = join(devices, String(row['device']));
        const gigatransfers = /^([\d.]+) GT\/s/.exec(
          text(root, join(folder, 'current_link_speed')),
        );
        assert.equal(
          row['link_speed_transfers_per_second'],
          gigatransfers === null ? null : BigInt(Number(gigatransfers[1]) * 1e9),
        );
        const width = BigInt(text(root, join(folder, 'current_link_width')).trim());
        assert.equal(row['link_width'], width === 0n || width === 255n ? null : width);
        for (const severity of ['correctable', 'nonfatal', 'fatal']) {
          const file = join(folder, `aer_dev_${severity}`);
          if (!existsSync(join(root, file))) {
            assert.equal(row[`aer_${severity}`], null);
            continue;
          }
          withAer++;
          const lines = words(root, file);
          const total = lines.find(([name]) => name?.startsWith('TOTAL_ERR_'));
          assert.equal(row[`aer_${severity}`], BigInt(total?.[1] as string));
          const names = Object.keys(row).filter((name) => name.startsWith(`aer_${severity}_`));
          assert.equal(names.length, lines.length - 1);
        }
      }
    });
  }
  assert.ok(withAer > 0);
});

test('options: per=total is one row; a bad value, a bad address and a device that is not there', async () => {
  const { latest } = await once([monitor.cpu({ per: 'total', intervalMs: 20 })]);
  assert.equal(latest['cpu']?.length, 1);
  assert.ok(!('cpu' in (latest['cpu']?.[0] ?? {})));
  assert.throws(
    () => monitor.cpu({ per: 'core' as unknown as 'cpu' }),
    code('ERR_INVALID_ARGUMENT'),
  );
  assert.throws(() => monitor.pcie({ device: '65:00.0' }), code('ERR_INVALID_ARGUMENT'));
  assert.equal(monitor.pcie({ device: '00000000:0A:00.0' }).options['device'], '0000:0a:00.0');
  await assert.rejects(once([monitor.pcie({ device: 'ffff:ff:1f.7' })]), code('ERR_GONE'));
});

test('a machine that lacks a file says so in the state table, with the fix in the error', async () => {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-root-'));
  try {
    mkdirSync(join(root, 'proc'));
    writeFileSync(join(root, 'proc/meminfo'), 'MemTotal: 4 kB\n');
    const { latest, states } = await once(
      [monitor.meminfo({ intervalMs: 20 }), monitor.pressure({ intervalMs: 20 })],
      root,
    );
    assert.equal(latest['meminfo']?.[0]?.['mem_total_bytes'], 4096n);
    assert.ok(states.some(({ table, state }) => table === 'pressure' && state === 'unavailable'));
  } finally {
    rmSync(root, { recursive: true });
  }
});
