import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { monitor, WarpgaugeError } from 'warpgauge';
import {
  type Data,
  nanoseconds,
  type RecordBatch,
  Table,
  type TimestampNanosecond,
  tableFromIPC,
  tableToIPC,
  type Vector,
} from 'warpgauge/arrow';
import { giveBack } from '#lib/monitor/batch';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const block = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
};

/** Everything that a sampler gives until it ends, by table. */
async function collect(sampler: monitor.Sampler): Promise<{
  batches: Map<string, RecordBatch[]>;
  rows: Map<string, number>;
  dropped: Map<string, number>;
}> {
  const batches = new Map<string, RecordBatch[]>();
  const rows = new Map<string, number>();
  const lost = new Map<string, number>();
  for await (const { table, batch, dropped } of sampler) {
    batches.set(table, [...(batches.get(table) ?? []), batch]);
    rows.set(table, (rows.get(table) ?? 0) + batch.numRows);
    lost.set(table, (lost.get(table) ?? 0) + dropped.rows);
  }
  return { batches, rows, dropped: lost };
}

const timesOf = (batch: RecordBatch): BigInt64Array =>
  (batch.data.children[0] as Data).values as unknown as BigInt64Array;

/** A folder in the place of /, for sources of this process; undone after the test. */
function fakeRoot(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-root-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  process.env['WARPGAUGE_ROOT'] = root;
  t.after(() => {
    delete process.env['WARPGAUGE_ROOT'];
    rmSync(root, { recursive: true, force: true });
  });
  return root;
}

const statsOf = (sampler: monitor.Sampler, table: string): monitor.TableStats =>
  sampler.stats().tables.find((each) => each.table === table) as monitor.TableStats;

const code = (expected: string) => (error: unknown) =>
  error instanceof WarpgaugeError && error.code === expected;

describe('a sampler', () => {
  it('has exactly duration / interval deadlines, and loses nothing', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 0.5 }), monitor.vmstat({ intervalMs: 70 })],
      durationMs: 500,
    });
    const { rows } = await collect(sampler);
    for (const [table, deadlines] of [
      ['vmstat', 1000],
      ['vmstat@2', 7],
    ] as const) {
      const { ticks, missed, droppedRows, costs, rows: counted } = statsOf(sampler, table);
      assert.equal(ticks + missed, deadlines);
      assert.equal(rows.get(table), ticks);
      assert.equal(counted, ticks);
      assert.equal(droppedRows, 0);
      assert.equal(costs[0]?.calls, ticks);
      const buckets = costs[0]?.histogram ?? [];
      assert.equal(
        buckets.reduce((sum, { calls }) => sum + calls, 0),
        ticks,
      );
      assert.ok(
        buckets.every(({ upToNs }, at) => at === 0 || upToNs > (buckets[at - 1]?.upToNs ?? 0)),
      );
    }
    assert.ok(sampler.stats().cpuNs > 0);
    assert.equal(sampler.stats().undeliveredBytes, 0);
  });

  it('gives the numbers of the kernel at exact times, in one buffer per batch', async () => {
    const faults = (): bigint =>
      BigInt(/^pgfault (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? -1);
    const before = { time: monitor.now(), faults: faults() };
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 5 })],
      durationMs: 200,
    });
    const batches = (await collect(sampler)).batches.get('vmstat') as RecordBatch[];
    const after = { time: monitor.now(), faults: faults() };
    for (const batch of batches) {
      const buffers = new Set(batch.data.children.map((data) => data.values.buffer));
      assert.equal(buffers.size, 1);
    }
    const table = new Table(batches);
    const times = nanoseconds(table.getChild('time') as Vector<TimestampNanosecond>);
    const counts = [...(table.getChild('pgfault') as Vector)] as bigint[];
    for (const [at, time] of times.entries()) {
      assert.ok(time > (times[at - 1] ?? before.time) && time < after.time);
      // The kernel folds its per-CPU counts now and then: equal is possible, less is not.
      assert.ok((counts[at] as bigint) >= (counts[at - 1] ?? before.faults));
      assert.ok((counts[at] as bigint) <= after.faults);
    }
    const field = table.schema.fields.find(({ name }) => name === 'pgfault');
    assert.equal(field?.metadata.get('kind'), 'counter');
    assert.equal(field?.metadata.get('source'), '/proc/vmstat pgfault');
    const again = tableFromIPC(tableToIPC(table, 'stream'));
    assert.equal(again.numRows, table.numRows);
    assert.deepEqual([...(again.getChild('pgfault') as Vector)], counts);
  });

  it('keeps one dictionary until a name is new', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.net({ intervalMs: 10 })],
      batchMs: 20,
      durationMs: 200,
    });
    const batches = (await collect(sampler)).batches.get('net') as RecordBatch[];
    assert.ok(batches.length > 3);
    const column = batches[0]?.schema.fields.findIndex(
      ({ metadata, name }) => name !== 'time' && metadata.get('kind') === 'key',
    ) as number;
    const dictionaries = new Set(batches.map((batch) => batch.data.children[column]?.dictionary));
    assert.equal(dictionaries.size, 1);
    assert.equal([...dictionaries][0]?.data.length, 1);
  });

  it('says in latest() what the last tick said: a vanished entity is absent', async (t) => {
    const head =
      'Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n';
    const line = (name: string): string => `${name}: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n`;
    const root = fakeRoot(t, { 'proc/net/dev': head + line('eth0') + line('eth1') });
    const sampler = await monitor.sample({ sources: [monitor.net({ intervalMs: 5 })] });
    const names = (): unknown[] =>
      (sampler.latest()['net'] ?? []).map((row) => Object.values(row)[1]);
    await sleep(100);
    assert.deepEqual(names(), ['eth0', 'eth1']);
    writeFileSync(join(root, 'proc/net/dev'), head + line('eth1'));
    await sleep(100);
    assert.deepEqual(names(), ['eth1']);
    await sampler.close();
    assert.deepEqual(names(), ['eth1']);
  });

  it('drops the oldest batches beyond the bound and counts every row', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 0.5 })],
      batchMs: 10,
      maxUndeliveredBytes: 2 ** 20,
    });
    block(1500);
    const { undeliveredBytes, memoryBytes, deliveredBytes } = sampler.stats();
    assert.ok(undeliveredBytes <= 2 ** 20);
    // Beside what waits: one batch being written, two prepared, one to be used again, each at most an eighth of the bound;
    // and queues.
    assert.ok(memoryBytes > undeliveredBytes, `${memoryBytes} of ${undeliveredBytes}`);
    assert.ok(memoryBytes < 1.75 * 2 ** 20, `${memoryBytes}`);
    assert.equal(deliveredBytes, 0);
    const closed = sampler.close();
    const { rows, dropped } = await collect(sampler);
    await closed;
    const { ticks, droppedRows, droppedBatches, rows: counted } = statsOf(sampler, 'vmstat');
    assert.ok(droppedBatches > 0);
    assert.ok(droppedRows > 0);
    assert.equal((rows.get('vmstat') ?? 0) + droppedRows, ticks);
    assert.equal(counted, rows.get('vmstat'));
    assert.equal(dropped.get('vmstat'), droppedRows);
    assert.ok(sampler.stats().deliveredBytes > 0);
    assert.ok(sampler.stats().memoryBytes < 2 ** 18, `${sampler.stats().memoryBytes}`);
  });

  it('takes the memory of a batch back that its reader gave back, and no other', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 1 })],
      batchMs: 10,
    });
    const kept: RecordBatch[] = [];
    let given = 0;
    for await (const { table, batch } of sampler) {
      if (table !== 'vmstat') continue;
      if (kept.length < 3) {
        kept.push(batch);
        continue;
      }
      giveBack(batch);
      assert.equal(timesOf(batch).length, 0);
      if (++given === 20) break;
    }
    await sampler.close();
    const times = kept.flatMap((batch) => [...timesOf(batch)]);
    assert.ok(times.length >= 3);
    for (const [at, time] of times.entries())
      assert.ok(at === 0 || time > (times[at - 1] as bigint));
  });

  it('loses nothing to a script that keeps all its batches', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 0.5 })],
      batchMs: 10,
      maxUndeliveredBytes: 2 ** 20,
      durationMs: 1500,
    });
    const { rows, batches } = await collect(sampler);
    const bytes = (batches.get('vmstat') ?? []).reduce(
      (sum, batch) => sum + (batch.data.children[0]?.values.buffer.byteLength ?? 0),
      0,
    );
    assert.ok(bytes > 2 ** 20, `${bytes} bytes are held by the script`);
    assert.equal(statsOf(sampler, 'vmstat').droppedRows, 0);
    assert.equal(rows.get('vmstat'), statsOf(sampler, 'vmstat').ticks);
  });

  it('neither ticks nor misses while paused', async () => {
    const sampler = await monitor.sample({ sources: [monitor.vmstat({ intervalMs: 2 })] });
    await sleep(60);
    sampler.pause();
    await sleep(50);
    const paused = statsOf(sampler, 'vmstat');
    await sleep(100);
    assert.deepEqual(
      [statsOf(sampler, 'vmstat').ticks, statsOf(sampler, 'vmstat').missed],
      [paused.ticks, paused.missed],
    );
    sampler.resume();
    await sleep(60);
    assert.ok(statsOf(sampler, 'vmstat').ticks > paused.ticks);
    await sampler.close();
    const { ticks, missed } = statsOf(sampler, 'vmstat');
    assert.ok((ticks + missed) * 2 < sampler.stats().elapsedNs / 1e6 - 90);
  });

  it('hands over at once what it is asked to flush', async () => {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 5 })],
      batchMs: 60_000,
    });
    const next = sampler[Symbol.asyncIterator]().next();
    await sleep(100);
    assert.equal(statsOf(sampler, 'vmstat').rows, 0);
    sampler.flush();
    const { value } = await next;
    assert.equal(value?.table, 'vmstat');
    assert.ok((value?.batch.numRows ?? 0) > 1);
    await sampler.close();
    assert.throws(() => sampler.flush(), code('ERR_CLOSED'));
  });

  it('is closed by its signal, by close() twice and by using; each time its last rows come', async () => {
    const aborter = new AbortController();
    const first = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 1000 })],
      signal: aborter.signal,
    });
    setTimeout(() => aborter.abort(), 50);
    assert.equal((await collect(first)).rows.get('vmstat'), 1);

    const second = await monitor.sample({ sources: [monitor.vmstat({ intervalMs: 5 })] });
    await sleep(30);
    await Promise.all([second.close(), second.close()]);
    assert.equal((await collect(second)).rows.get('vmstat'), statsOf(second, 'vmstat').ticks);
    assert.equal(second.latest()['vmstat']?.length, 1);
    assert.throws(() => second.pause(), code('ERR_CLOSED'));
    assert.throws(() => second.mark('late'), code('ERR_CLOSED'));

    let disposed: monitor.Sampler;
    {
      await using third = await monitor.sample({ sources: [monitor.vmstat({ intervalMs: 5 })] });
      disposed = third;
    }
    assert.throws(() => disposed.resume(), code('ERR_CLOSED'));
  });

  it('serves several readers and several samplers at once', async () => {
    const samplers = await Promise.all(
      [1, 2, 3].map((intervalMs) =>
        monitor.sample({ sources: [monitor.vmstat({ intervalMs })], batchMs: 10, durationMs: 200 }),
      ),
    );
    for (const sampler of samplers) {
      const iterator = sampler[Symbol.asyncIterator]();
      const answers = await Promise.all([iterator.next(), iterator.next(), iterator.next()]);
      const rows = answers.reduce((sum, { value }) => sum + (value?.batch.numRows ?? 0), 0);
      const rest = (await collect(sampler)).rows.get('vmstat') ?? 0;
      assert.equal(rows + rest, statsOf(sampler, 'vmstat').ticks);
    }
  });

  it('tells what the machine lacks as a state, and goes on', async (t) => {
    fakeRoot(t, { 'proc/vmstat': 'pgfault 1\nnr_free_pages 2\n' });
    const sampler = await monitor.sample({
      sources: [monitor.meminfo(), monitor.vmstat({ intervalMs: 10 })],
      durationMs: 50,
    });
    assert.deepEqual(
      sampler.states.map(({ source, table, state, reason }) => [source, table, state, reason]),
      [['meminfo', 'meminfo', 'unavailable', 'not_supported']],
    );
    const { batches } = await collect(sampler);
    const [state] = (batches.get('state') ?? []).flatMap((batch) => batch.toArray());
    assert.equal(state?.['source'], 'meminfo');
    assert.equal(state?.['reason'], 'not_supported');
    await assert.rejects(monitor.sample({ sources: [monitor.meminfo()] }), code('ERR_UNAVAILABLE'));
  });

  it('refuses what it cannot do, naming the option', async () => {
    const { vmstat } = monitor;
    const wrong: [Parameters<typeof monitor.sample>[0], string, RegExp][] = [
      [{ sources: [vmstat({ intervalMs: 0 })] }, 'ERR_INVALID_ARGUMENT', /intervalMs of vmstat/],
      [{ sources: [vmstat({ intervalMs: 0.04 })] }, 'ERR_INVALID_ARGUMENT', /0\.05/],
      [{ sources: [vmstat({ intervalMs: Number.NaN })] }, 'ERR_INVALID_ARGUMENT', /intervalMs/],
      [{ sources: [] }, 'ERR_INVALID_ARGUMENT', /sources/],
      [{ sources: [{ source: 'nothing', options: {} }] }, 'ERR_UNKNOWN_SOURCE', /vmstat/],
      [{ sources: [{ source: 'vmstat', options: { a: 'b' } }] }, 'ERR_INVALID_ARGUMENT', /vmstat/],
      [{ sources: [vmstat()], batchMs: 0 }, 'ERR_INVALID_ARGUMENT', /batchMs/],
      [{ sources: [vmstat()], durationMs: -1 }, 'ERR_INVALID_ARGUMENT', /durationMs/],
      [{ sources: [vmstat()], maxUndeliveredBytes: 5 }, 'ERR_INVALID_ARGUMENT', /maxUndelivered/],
      [
        { sources: [vmstat({ instance: 'a' }), vmstat({ instance: 'a' })] },
        'ERR_INVALID_ARGUMENT',
        /instance/,
      ],
      [{ sources: [vmstat()], signal: AbortSignal.abort() }, 'ERR_INTERRUPTED', /signal/],
    ];
    for (const [options, expected, text] of wrong) {
      await assert.rejects(monitor.sample(options), (error: unknown) => {
        assert.ok(error instanceof WarpgaugeError);
        assert.equal(error.code, expected);
        assert.match(error.message, text);
        return true;
      });
    }
  });
});
