import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import pl from 'nodejs-polars';
import { Distribution } from '#lib/monitor/recording/distribution';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { recordWith } from '#lib/monitor/recording/record';
import { jsonLines, onlyTable, streamArrow, streamRows } from '#lib/monitor/recording/row-stream';
import { isoTime, summarize } from '#lib/monitor/recording/summary';
import { renderRecording, stateLine } from '#lib/view/recording';
import { recordingStatus } from '#lib/view/recording-status';
import { FedSampler, fedBatch, fedSchema, fedTable } from './fed-sampler.js';

const root = await mkdtemp(join(tmpdir(), 'warpgauge-recording-'));
after(() => rm(root, { recursive: true, force: true }));
const schema = fedSchema();

test('quantiles are exact for few different values and within 0.1 % for many', () => {
  const few = new Distribution();
  for (let at = 1; at <= 1000; at++) few.add(at);
  assert.deepEqual([few.min, few.quantile(0.5), few.quantile(0.99), few.max], [1, 500, 990, 1000]);
  assert.equal(few.approximate, false);
  const many = new Distribution();
  for (let at = 1; at <= 200_000; at++) many.add(at * 1.5 + 0.25);
  assert.equal(many.approximate, true);
  assert.deepEqual([many.count, many.min, many.max], [200_000, 1.75, 300_000.25]);
  for (const share of [0.01, 0.5, 0.99]) {
    const exact = share * 200_000 * 1.5 + 0.25;
    assert.ok(Math.abs((many.quantile(share) as number) / exact - 1) < 0.001, `${share}`);
  }
  assert.equal(new Distribution().quantile(0.5), null);
});

test('a summary tells rows, losses, what moved, and the same between marks', async () => {
  const out = join(root, 'summary');
  const sampler = new FedSampler(
    [{ ...fedTable('disk', schema), keys: ['device'] }],
    [
      { table: 'disk', batch: fedBatch(schema, 0, 100, 2) },
      { waitMs: 20 },
      { table: 'disk', batch: fedBatch(schema, 100, 100, 2) },
    ],
  );
  sampler.missed = 3;
  const recording = await recordWith(async () => sampler, { out, sources: [], durationMs: 1 });
  recording.mark('warm');
  await recording.done;
  const summary = await summarize(await openRecording(out));
  assert.equal(summary.schema, 'warpgauge/recording-summary/1');
  assert.equal(summary.end, 'duration');
  assert.equal(summary.durationNs, 199 * 1_000_001);
  const disk = summary.tables.find(({ name }) => name === 'disk');
  assert.deepEqual([disk?.rows, disk?.ticks, disk?.missed, disk?.dropped], [200, 200, 3, 0]);
  const faults = disk?.moved.find(({ column, key }) => column === 'faults' && key === 'disk1');
  // Rows of disk1 are the odd numbers; from 1 to 199 it gains 3 each, and every 14th row after the 7th is null.
  assert.equal(faults?.of, 'rate');
  assert.equal(faults?.total, 3 * 198);
  const perRow = 6e9 / (2 * 1_000_001);
  assert.ok(Math.abs((faults?.median as number) - perRow) < 1e-6, `${faults?.median}`);
  const load = disk?.moved.find(({ column, key }) => column === 'load_ratio' && key === 'disk0');
  assert.deepEqual([load?.of, load?.min, load?.max, load?.total], ['value', 0.25, 198 / 8, null]);
  assert.equal(
    disk?.moved.some(({ column }) => column === 'device' || column === 'time'),
    false,
  );
  assert.deepEqual(
    summary.sections.map(({ mark }) => mark),
    [null, 'warm'],
  );
  // The made-up times lie long before the mark.
  assert.deepEqual(
    summary.sections.map(({ tables }) => tables[0]?.rows),
    [200, 0],
  );
  const text = renderRecording(summary, { colour: false, width: 120 });
  assert.match(text, /\(Simulated\)/);
  assert.match(text, /disk +1\.00 ms +200 +200 +3 +0 +Simulated/);
  assert.match(text, /disk1 faults/);
  assert.ok(text.split('\n').every((line) => line.length <= 120));
});

test('of many columns those that tell most are shown, all with all', async () => {
  const column = (name: string, key: string | null, total: number | null, max: number) => ({
    ...{
      column: name,
      key,
      unit: '1',
      total,
      min: 0.5,
      median: 1,
      p99: 1,
      max,
      approximate: false,
    },
    of: total === null ? ('value' as const) : ('rate' as const),
  });
  const cpus = Array.from({ length: 40 }, (_, cpu) => column('idle', `cpu${cpu}`, 1e6 + cpu, 9));
  const counters = Array.from({ length: 20 }, (_, at) => column(`counter_${at}`, null, at, 1));
  const gauges = Array.from({ length: 20 }, (_, at) => column(`gauge_${at}`, null, null, 1 + at));
  const out = join(root, 'many');
  const sampler = new FedSampler(
    [fedTable('disk', schema)],
    [{ table: 'disk', batch: fedBatch(schema, 0, 10, 2) }],
  );
  await (await recordWith(async () => sampler, { out, sources: [], durationMs: 1 })).done;
  const whole = await summarize(await openRecording(out));
  const moved = [...cpus, ...counters, ...gauges];
  const states = Array.from({ length: 30 }, (_, at) => ({
    ...{ table: 'disk', key: '', field: `field${at}` },
    ...{ state: 'unavailable', reason: 'not_supported', code: 0 },
  }));
  const tables = whole.tables.map((table) => ({ ...table, moved }));
  const summary = { ...whole, tables, states };
  const options = { colour: false, width: 120 };
  const short = renderRecording(summary, options);
  const shown = [...short.matchAll(/^ {4}(?:cpu\d+ )?((?:idle|counter|gauge)\S*) /gm)].map(
    ([, name]) => name,
  );
  assert.deepEqual(shown, [
    'idle',
    ...[16, 17, 18, 19].map((n) => `counter_${n}`),
    ...[15, 16, 17, 18, 19].map((n) => `gauge_${n}`),
  ]);
  assert.match(short, /cpu39 idle/);
  assert.match(short, /and 70 more columns: warpgauge show --all/);
  assert.match(
    short,
    /disk field19: unavailable, not_supported\n {4}and 10 more lines: warpgauge show --all/,
  );
  const all = renderRecording(summary, { ...options, all: true });
  assert.equal([...all.matchAll(/^ {4}cpu\d+ idle /gm)].length, 40);
  assert.match(all, /disk field29: /);
  assert.doesNotMatch(all, /and \d+ more/);
});

test('a state tells the rate that can be had', () => {
  const row = { table: 'perf', key: '', field: '', state: 'degraded' };
  assert.equal(
    stateLine({ ...row, reason: 'too_slow', code: 2_500_000 }),
    'perf: degraded, too_slow: once in 2.50 ms at best',
  );
  assert.equal(
    stateLine({ ...row, reason: 'no_permission', code: 13 }),
    'perf: degraded, no_permission',
  );
});

test('times as text keep their nanoseconds', () => {
  assert.equal(isoTime(1_700_000_000_000_000_003n), '2023-11-14T22:13:20.000000003Z');
  assert.equal(isoTime(0n), '1970-01-01T00:00:00.000000000Z');
  assert.equal(isoTime(-1n), '1969-12-31T23:59:59.999999999Z');
});

test('rows as JSON lines: integers beyond 2^53 as text, null where there is nothing', async () => {
  const lines = jsonLines('disk', fedBatch(schema, 0, 9, 2))
    .trimEnd()
    .split('\n');
  assert.equal(lines.length, 9);
  assert.deepEqual(JSON.parse(lines[0] as string), {
    table: 'disk',
    time: '2023-11-14T22:13:20.000000003Z',
    faults: null,
    load_ratio: null,
    busy: null,
    device: 'disk0',
  });
  assert.deepEqual(JSON.parse(lines[3] as string), {
    table: 'disk',
    time: '2023-11-14T22:13:20.003000006Z',
    faults: String(2n ** 63n + 9n),
    load_ratio: 0.375,
    busy: true,
    device: 'disk1',
  });
  const sampler = new FedSampler(
    [fedTable('disk', schema)],
    [
      { table: 'disk', batch: fedBatch(schema, 0, 5, 2) },
      { table: 'disk', batch: fedBatch(schema, 5, 5, 2) },
    ],
  );
  const got: string[] = [];
  await streamRows(sampler, async (bytes) => {
    got.push(String(bytes));
    return false; // the reader went away
  });
  assert.equal(got.length, 1);
});

test('one table as an Arrow stream; more than one is refused', async () => {
  const sampler = new FedSampler(
    [fedTable('disk', schema)],
    [
      { table: 'disk', batch: fedBatch(schema, 0, 5, 2) },
      { table: 'disk', batch: fedBatch(schema, 5, 5, 4) },
    ],
  );
  const chunks: Uint8Array[] = [];
  await streamArrow(sampler, async (bytes) => {
    chunks.push(bytes as Uint8Array);
    return true;
  });
  assert.equal(pl.readIPCStream(Buffer.concat(chunks)).height, 10);
  assert.throws(() => onlyTable([fedTable('a', schema), fedTable('b', schema)]), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /a, b/,
  });
  assert.throws(() => onlyTable([]), { code: 'ERR_INVALID_ARGUMENT' });
});

test('the status line is for terminals alone, fits them, and is removed', () => {
  const sampler = new FedSampler([fedTable('disk', schema)], []);
  sampler.missed = 12;
  const stats = { sampler: sampler.stats(), rows: 5, bytes: 2048, parts: [], keptBytes: 0 };
  for (const isTTY of [true, false]) {
    let text = '';
    const stream = { isTTY, columns: 60, write: (more: string) => (text += more) };
    const status = recordingStatus(stream, 'run\u001b[2J');
    status.update(stats);
    status.close();
    const [, line, rest] = text.split('\r\u001b[2K');
    if (!isTTY) assert.equal(text, '');
    else {
      assert.match(line ?? '', /^recording run \[2J {2}0 ns {2}5 rows, 2 KiB {2}12 missed/);
      assert.ok((line ?? '').length < 60);
      assert.equal(rest, '');
    }
  }
});
