import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { monitor, WarpgaugeError } from 'warpgauge';
import type { RecordBatch } from 'warpgauge/arrow';

const invalid = (text: RegExp) => (error: unknown) =>
  error instanceof WarpgaugeError &&
  error.code === 'ERR_INVALID_ARGUMENT' &&
  text.test(error.message);

const requests = (): Promise<monitor.JsTable> =>
  monitor.table({
    name: 'requests',
    schema: {
      route: 'name',
      latency_ns: { type: 'u64', unit: 'ns' },
      delta: 'i64',
      load_ratio: 'f64',
      tokens: 'u32',
      shift: 'i32',
      tiny: 'u8',
      ok: 'bool',
      note: 'text',
      done: 'time',
    },
    keys: ['route'],
    grain: 'one row per request',
  });

async function rowsOf(sampler: monitor.Sampler, table: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const each of sampler) {
    if (each.table !== table) continue;
    for (const row of each.batch) {
      rows.push(Object.fromEntries(each.batch.schema.fields.map(({ name }) => [name, row[name]])));
    }
  }
  return rows;
}

describe('a table that JavaScript feeds', () => {
  it('gives rows of every type back, and null for what is missing', async () => {
    const table = await requests();
    const sampler = await monitor.sample({ sources: [], tables: [table] });
    const row = {
      route: '/generate',
      latency_ns: 2n ** 64n - 1n,
      delta: -5,
      load_ratio: 0.25,
      tokens: 4_294_967_295,
      shift: -1,
      tiny: 255,
      ok: true,
      note: 'grüße',
      done: 1_700_000_000_000_000_000n,
    };
    const before = monitor.now();
    table.append(row);
    table.append({ route: '/health', ok: false });
    const after = monitor.now();
    assert.deepEqual(sampler.latest()['requests'], [
      { route: '/generate', count: 1n },
      { route: '/health', count: 1n },
    ]);
    await sampler.close();
    const batches: RecordBatch[] = [];
    for await (const each of sampler) if (each.table === 'requests') batches.push(each.batch);
    assert.equal(batches.length, 1);
    const times = batches[0]?.data.children[0]?.values as BigInt64Array;
    for (const time of times) assert.ok(time >= before && time <= after);
    const [first, second] = (batches[0] as RecordBatch).toArray();
    assert.deepEqual(
      { ...first?.toJSON(), time: 0, done: 0 },
      { ...row, delta: -5n, time: 0, done: 0 },
    );
    const { route, ok, ...rest } = second?.toJSON() ?? {};
    assert.deepEqual([route, ok], ['/health', false]);
    for (const name of ['latency_ns', 'load_ratio', 'note', 'tiny', 'done'])
      assert.equal(rest[name], null);
    assert.equal(sampler.tables[0]?.keys[0], 'route');
    assert.equal(sampler.tables[0]?.schema.fields[2]?.metadata.get('unit'), 'ns');
  });

  it('takes whole columns, typed arrays or lists', async () => {
    const table = await requests();
    const sampler = await monitor.sample({ sources: [], tables: [table] });
    const n = 1000;
    const latency = BigUint64Array.from({ length: n }, (_, at) => BigInt(at));
    for (let i = 0; i < 3; i++) {
      table.appendColumns({
        route: Array.from({ length: n }, (_, at) => `/r${at % 3}`),
        latency_ns: latency,
        load_ratio: Float64Array.from(latency, Number),
        ok: Array.from({ length: n }, (_, at) => at % 2 === 0),
      });
    }
    await sampler.close();
    const rows = await rowsOf(sampler, 'requests');
    assert.equal(rows.length, 3 * n);
    for (const [at, row] of rows.entries()) {
      const i = at % n;
      assert.deepEqual(
        [row['route'], row['latency_ns'], row['load_ratio'], row['ok'], row['note']],
        [`/r${i % 3}`, BigInt(i), i, i % 2 === 0, null],
      );
    }
    assert.equal(sampler.latest()['requests']?.[0]?.['count'], BigInt(3 * 334));
  });

  it('drops the oldest batches beyond the bound and counts every row', async () => {
    const table = await monitor.table({ name: 'numbers', schema: { n: 'f64' } });
    const sampler = await monitor.sample({
      sources: [],
      tables: [table],
      maxUndeliveredBytes: 2 ** 20,
    });
    const chunk = new Float64Array(50_000);
    for (let i = 0; i < 20; i++) table.appendColumns({ n: chunk });
    await sampler.close();
    let rows = 0;
    let dropped = 0;
    for await (const each of sampler) {
      if (each.table !== 'numbers') continue;
      rows += each.batch.numRows;
      dropped += each.dropped.rows;
    }
    const stats = sampler.stats().tables.find((each) => each.table === 'numbers');
    assert.ok(dropped > 0);
    assert.equal(rows + dropped, 1_000_000);
    assert.deepEqual([stats?.rows, stats?.droppedRows], [rows, dropped]);
  });

  it('keeps the last row of each key where it is a sample table', async () => {
    const table = await monitor.table({
      name: 'queue',
      kind: 'sample',
      schema: { worker: 'name', depth: 'u32' },
      keys: ['worker'],
    });
    const sampler = await monitor.sample({ sources: [], tables: [table] });
    for (const [worker, depth] of [
      ['a', 1],
      ['b', 2],
      ['a', 3],
    ] as const) {
      table.append({ worker, depth });
    }
    const latest = sampler.latest()['queue']?.map(({ worker, depth }) => [worker, depth]);
    assert.deepEqual(latest, [
      ['a', 3],
      ['b', 2],
    ]);
    await sampler.close();
    table.append({ worker: 'c', depth: 1 }); // goes nowhere: no sampler runs
    assert.equal(sampler.latest()['queue']?.length, 2);
  });

  it('refuses a wrong row whole, naming table and column', async () => {
    const table = await requests();
    const sampler = await monitor.sample({ sources: [], tables: [table] });
    const wrong: [Record<string, never>, RegExp][] = [
      [{ route: 'a', latency_ns: -1 }, /requests\.latency_ns/],
      [{ route: 'a', latency_ns: 0.5 }, /whole number/],
      [{ route: 'a', tiny: 256 }, /requests\.tiny/],
      [{ route: 'a', ok: 1 }, /requests\.ok/],
      [{ route: 1 }, /requests\.route/],
      [{}, /requests\.route/],
      [{ route: 'a', nothing: 1 }, /nothing/],
    ] as unknown as [Record<string, never>, RegExp][];
    for (const [row, text] of wrong) assert.throws(() => table.append(row), invalid(text));
    assert.throws(
      () => table.appendColumns({ route: ['a'], tiny: [1, 2] }),
      invalid(/requests\.tiny/),
    );
    assert.throws(() => table.appendColumns({}), invalid(/columns/));
    await sampler.close();
    assert.equal((await rowsOf(sampler, 'requests')).length, 0);

    for (const [options, text] of [
      [{ name: 'Big', schema: { n: 'u64' } }, /name/],
      [{ name: 'state', schema: { n: 'u64' } }, /name/],
      [{ name: 'a', schema: { N: 'u64' } }, /column/],
      [{ name: 'a', schema: { n: 'u65' } }, /type of n/],
      [{ name: 'a', schema: { n: 'u64' }, keys: ['m'] }, /keys/],
      [{ name: 'a', schema: { n: 'u64' }, kind: 'span' }, /duration_ns/],
    ] as unknown as [Parameters<typeof monitor.table>[0], RegExp][]) {
      await assert.rejects(monitor.table(options), invalid(text));
    }
  });
});

describe('marks and spans', () => {
  it('refuse what has no place in their attributes when they are given it', async () => {
    const table = await requests();
    await using sampler = await monitor.sample({ sources: [], tables: [table] });
    const wrong = { batch: 8n } as unknown as Record<string, number>;
    for (const give of [() => sampler.mark('m', wrong), () => monitor.span('s', wrong)]) {
      assert.throws(give, { code: 'ERR_INVALID_ARGUMENT', message: /the attribute batch/ });
    }
  });

  it('become rows of every sampler that runs, on the clock of the samples', async () => {
    const sampler = await monitor.sample({ sources: [monitor.vmstat({ intervalMs: 10 })] });
    const before = monitor.now();
    const span = monitor.span('prefill', { batch: 8 });
    sampler.mark('begin', { model: 'x' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    span.end();
    span.end();
    const after = monitor.now();
    await sampler.close();
    monitor.span('nobody runs')[Symbol.dispose]();
    const rows: Record<string, Record<string, unknown>[]> = {};
    for await (const { table, batch } of sampler) {
      const times = batch.data.children[0]?.values as BigInt64Array;
      for (const [at, row] of batch.toArray().entries()) {
        rows[table] = [...(rows[table] ?? []), { ...row.toJSON(), time: times[at] }];
      }
    }
    const [mark] = rows['mark'] ?? [];
    assert.equal(mark?.['name'], 'begin');
    assert.equal(mark?.['attributes'], '{"model":"x"}');
    assert.ok((mark?.['time'] as bigint) >= before && (mark?.['time'] as bigint) <= after);
    assert.equal(rows['span']?.length, 1);
    const [row] = rows['span'] ?? [];
    assert.equal(row?.['name'], 'prefill');
    const duration = row?.['duration_ns'] as bigint;
    assert.ok(duration >= 15_000_000n && duration <= after - before, String(duration));
    assert.ok((row?.['time'] as bigint) >= before);
    assert.throws(() => monitor.span(''), invalid(/name/));
  });
});

describe('what sample() is given', () => {
  it('is refused where it would name a file elsewhere, or one file twice', async () => {
    const given = (more: object) => ({ sources: [{ source: 'vmstat', options: {}, ...more }] });
    for (const options of [
      given({ instance: '../x' }),
      given({ instance: '' }),
      given({ options: null }),
      { sources: [null] },
      undefined,
    ]) {
      await assert.rejects(monitor.sample(options as monitor.SampleOptions), {
        code: 'ERR_INVALID_ARGUMENT',
      });
    }
    const tables = [await monitor.table({ name: 'cpu.system', schema: { x: 'u8' } })];
    await assert.rejects(monitor.sample({ sources: [monitor.cpu()], tables }), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /cpu\.system/,
    });
    assert.throws(() => monitor.process({ pid: 0 }), { code: 'ERR_INVALID_ARGUMENT' });
    assert.throws(() => monitor.perf({ events: ['page-faults'], tree: 1.5 }), /process id/);
  });
});
