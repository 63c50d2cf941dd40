import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pl from 'nodejs-polars';
import { monitor } from 'warpgauge';
import { Int64, TimestampNanosecond, Utf8 } from 'warpgauge/arrow';
import { clockEvents } from '#lib/monitor/recording/clock-watch';
import { FlightRing } from '#lib/monitor/recording/flight-ring';
import { mark } from '#lib/monitor/recording/mark-inbox';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { OwnTable, stateRow, stateTable } from '#lib/monitor/recording/own-tables';
import { recordWith } from '#lib/monitor/recording/record';
import { Recorder, type RecorderOptions } from '#lib/monitor/recording/recorder';
import { recover } from '#lib/monitor/recording/recover';
import { FedSampler, fedBatch, fedSchema, fedTable } from './fed-sampler.js';

const root = await mkdtemp(join(tmpdir(), 'warpgauge-recording-'));
after(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = (): string => join(root, String(folders++));
const CHILD = fileURLToPath(new URL('../children/record-fed.js', import.meta.url));

const options = (more: Partial<RecorderOptions> = {}): RecorderOptions => ({
  out: folder(),
  batchMs: 1000,
  holdMs: 10_000,
  maxBytes: null,
  rotateMs: null,
  keep: null,
  lastMs: null,
  limited: true,
  argv: [],
  command: null,
  signal: null,
  ...more,
});

const schema = fedSchema();
const fed = (script: ConstructorParameters<typeof FedSampler>[1]): FedSampler =>
  new FedSampler([fedTable('disk', schema)], script);

async function rowsIn(dir: string): Promise<number> {
  const { tables } = await openRecording(dir);
  return tables.find(({ name }) => name === 'disk')?.rows ?? 0;
}

test('kill -9 loses at most what was under way; recover makes every table readable', async () => {
  for (let round = 0; round < 3; round++) {
    const dir = folder();
    const child = spawn(process.execPath, [CHILD, dir, '200', '1'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const before = await openRecording(dir);
    assert.equal(before.running, false);
    assert.equal(before.manifest.end, 'running');
    const rows = await rowsIn(dir);
    assert.ok(rows >= 20 * 200, `${rows} rows`);
    assert.equal(rows % 200, 0);
    const result = await recover(dir);
    assert.equal(result.changed, true);
    assert.equal((await recover(dir)).changed, false);
    for (const table of (await openRecording(dir)).manifest.tables) {
      assert.equal(
        pl.readIPCStream(await readFile(join(dir, table.file))).height,
        table.rows,
        table.name,
      );
    }
    assert.equal(await rowsIn(dir), rows);
    assert.equal((await openRecording(dir)).manifest.end, 'recovered');
  }
});

/** Runs the shell script with folder, node and child in a mount namespace of its own; null: skipped, there is none. */
function onItsDisk(t: TestContext, script: string): SpawnSyncReturns<string> | null {
  const args = ['--mount', 'sh', '-c', script, 'sh', root, process.execPath, CHILD];
  const result = spawnSync('unshare', args, { encoding: 'utf8', timeout: 60_000 });
  const cannot = /unshare failed|permission denied|not permitted/i.test(result.stderr);
  if (!cannot && result.error === undefined) return result;
  t.skip(`no private mount namespace here: ${result.stderr || result.error?.message}`);
  return null;
}

/** What the child told of a disk that was full. */
function toldOf({ status, stdout, stderr }: SpawnSyncReturns<string>) {
  assert.equal(status, 1, stderr);
  const told = JSON.parse(stdout.split('\n').find((line) => line.startsWith('{')) ?? '{}');
  assert.equal(told.code, 'ERR_OUTPUT');
  return told;
}

test('a full disk ends the recording with an error, and what was written is whole', (t) => {
  const script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1/run" 500 1';
  const result = onItsDisk(t, script);
  if (result === null) return;
  const told = toldOf(result);
  assert.equal(told.status, 28);
  assert.match(told.message, /no space left/);
  assert.match(told.fix, /free some space/);
  assert.equal(told.end, 'failed');
  assert.equal(told.error.code, 'ERR_OUTPUT');
  const disk = told.read.find(({ name }: { name: string }) => name === 'disk');
  // All but the batch that found no room.
  assert.equal(disk.rows, (told.taken - 1) * 500);
  assert.ok(disk.rows > 5000);
  assert.equal(told.sizes.find(({ name }: { name: string }) => name === 'disk').rows, disk.rows);
});

test('a disk that is full at the end, too: every file ends with its last whole batch', (t) => {
  const script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1/run" 100 1 "$1/filler"';
  const result = onItsDisk(t, script);
  if (result === null) return;
  const told = toldOf(result);
  assert.equal(told.end, 'failed');
  for (const { name, bytes, onDisk } of told.sizes) assert.equal(onDisk, bytes, name);
  const disk = told.read.find(({ name }: { name: string }) => name === 'disk');
  assert.equal(disk.rows, 100);
});

test('a full disk at the start is told, and nothing is left behind', (t) => {
  const script =
    'mount -t tmpfs -o size=16k none "$1" && "$2" "$3" "$1/run" 10 1; find "$1" -type f';
  const result = onItsDisk(t, script);
  if (result === null) return;
  assert.match(result.stderr, /ERR_OUTPUT|ENOSPC/);
  assert.equal(result.stdout, '');
});

test('a folder that holds something is refused; --force replaces recordings and nothing else', async () => {
  const out = folder();
  const open = async () => fed([{ table: 'disk', batch: fedBatch(schema, 0, 10, 2) }]);
  await (await recordWith(open, { out, sources: [] })).done;
  await assert.rejects(recordWith(open, { out, sources: [] }), { code: 'ERR_OUTPUT' });
  const again = await recordWith(open, { out, sources: [], force: true });
  await assert.rejects(recordWith(open, { out, sources: [], force: true }), {
    code: 'ERR_OUTPUT',
    message: /is being recorded by process/,
  });
  await again.done;
  await writeFile(join(out, 'thesis.txt'), 'mine');
  await assert.rejects(recordWith(open, { out, sources: [], force: true }), { code: 'ERR_OUTPUT' });
  assert.equal(await readFile(join(out, 'thesis.txt'), 'utf8'), 'mine');
  await assert.rejects(recordWith(open, { out: '/proc/warpgauge', sources: [] }), {
    code: 'ERR_OUTPUT',
  });
});

test('a recording whose sources cannot be opened leaves no folder behind', async () => {
  const out = join(folder(), 'a', 'b');
  const failing = async (): Promise<FedSampler> => {
    throw new Error('no such source');
  };
  await assert.rejects(recordWith(failing, { out, sources: [] }), /no such source/);
  await assert.rejects(readdir(join(out, '..', '..')), { code: 'ENOENT' });
});

test('bad options are told before anything is made', async () => {
  const open = async () => fed([]);
  const bad = [
    { batchMs: 0 },
    { maxBytes: 1.5 },
    { keep: 2 },
    { rotateMs: -1 },
    { lastMs: 1000, rotateMs: 1000 },
    { holdMs: Number.NaN },
    { out: '' },
  ];
  for (const options of bad) {
    await assert.rejects(recordWith(open, { out: folder(), sources: [], ...options }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
  }
});

test('an aborted signal ends the recording as interrupted, with all rows', async () => {
  const abort = new AbortController();
  const sampler = fed([{ table: 'disk', batch: fedBatch(schema, 0, 30, 2) }, { waitMs: 60_000 }]);
  const { signal } = abort;
  const recording = await Recorder.start(sampler, options({ signal }));
  setTimeout(() => abort.abort(), 50);
  assert.equal((await recording.done).end, 'interrupted');
  assert.equal(await rowsIn(recording.dir), 30);
  assert.equal((await openRecording(recording.dir)).manifest.end, 'interrupted');
  // Closing again, and after the end, changes nothing.
  assert.equal((await recording.close()).end, 'interrupted');
});

test('states are written as they come, and every part begins with all of them', async () => {
  const row = (time: bigint) => ({
    time,
    source: 'gpu',
    table: 'gpu',
    key: '',
    field: '',
    state: 'unavailable',
    reason: 'no_driver',
    code: -2,
  });
  const states = stateTable();
  const given: ReturnType<typeof row>[] = [];
  const sampler = fed(
    (function* () {
      for (let at = 0; at < 4; at++) {
        given.push(row(BigInt(at)));
        yield { table: 'state', batch: states.batch([stateRow(row(BigInt(at)))]) };
        yield { waitMs: 30 };
        yield { table: 'disk', batch: fedBatch(schema, at * 10, 10, 2) };
      }
    })(),
  );
  sampler.states = given;
  const recording = await Recorder.start(sampler, options({ rotateMs: 50 }));
  const { parts } = await recording.done;
  assert.ok(parts.length >= 2, `${parts.length} parts`);
  const last = await (await openRecording(parts.at(-1) as string)).table('state');
  const times = last.getChild('time')?.data.flatMap(({ values }) => [...(values as BigInt64Array)]);
  assert.deepEqual(times, [0n, 1n, 2n, 3n]);
  assert.equal(last.getChild('reason')?.get(0), 'no_driver');
  assert.equal(last.getChild('code')?.get(0), -2n);
});

test('maxBytes ends a recording; rotation keeps the newest parts, each a whole recording', async () => {
  const full = await Recorder.start(
    fed(
      (function* () {
        for (let at = 0; ; at++) yield { table: 'disk', batch: fedBatch(schema, at * 100, 100, 2) };
      })(),
    ),
    options({ maxBytes: 100_000 }),
  );
  assert.equal((await full.done).end, 'max-bytes');
  const { bytes } = full.stats();
  assert.ok(bytes >= 100_000 && bytes < 120_000, `${bytes}`);

  const rotated = await Recorder.start(
    fed(
      (function* () {
        for (let at = 0; at < 40; at++) {
          yield { table: 'disk', batch: fedBatch(schema, at * 100, 100, 2) };
          yield { waitMs: 10 };
        }
      })(),
    ),
    options({ rotateMs: 50, keep: 3 }),
  );
  const { parts } = await rotated.done;
  assert.equal(parts.length, 3);
  assert.deepEqual(
    (await readdir(rotated.dir)).sort(),
    parts.map((part) => part.slice(-6)),
  );
  assert.ok(Number(parts.at(-1)?.slice(-6)) > 3, 'parts were removed');
  let next: bigint | null = null;
  for (const part of parts) {
    const recording = await openRecording(part);
    const times = (await recording.table('disk')).getChild('time');
    const values = times?.data.flatMap(({ values }) => [...(values as BigInt64Array)]) ?? [];
    assert.ok(values.length > 0);
    if (next !== null) assert.equal(values[0], next, 'nothing is lost between two parts');
    next = (values.at(-1) as bigint) + 1_000_001n;
    assert.equal(recording.manifest.part, Number(part.slice(-6)));
  }
  await assert.rejects(openRecording(rotated.dir), { code: 'ERR_RECORDING', message: /holds 3/ });
});

test('a mark from another process finds the part that is being written', async () => {
  const script = (function* () {
    for (let at = 0; at < 10; at++) {
      yield { table: 'disk', batch: fedBatch(schema, at * 10, 10, 2) };
      yield { waitMs: 20 };
    }
    yield { waitMs: 60_000 };
  })();
  const sampler = fed(script);
  const recording = await Recorder.start(sampler, options({ rotateMs: 60 }));
  while (sampler.taken < 10) await new Promise((resolve) => setTimeout(resolve, 10));
  await mark(recording.dir, 'here', { batch: 7 });
  const { parts } = await recording.close();
  assert.ok(parts.length > 1);
  // In one of the last two, where the next part began at that very moment.
  const marks = [];
  for (const part of parts.slice(-2)) marks.push(...(await (await openRecording(part)).marks()));
  assert.deepEqual(
    marks.map(({ name, attributes }) => [name, attributes]),
    [['here', { batch: 7 }]],
  );
});

test('a flight recorder writes its last moments on demand and at its end', async () => {
  const sampler = fed([
    { table: 'disk', batch: fedBatch(schema, 0, 100, 2) },
    { waitMs: 400 },
    { table: 'disk', batch: fedBatch(schema, 100, 100, 2) },
    { waitMs: 100 },
    { table: 'disk', batch: fedBatch(schema, 200, 100, 2) },
    { waitMs: 60_000 },
  ]);
  const recording = await Recorder.start(
    sampler,
    options({ out: await made(), lastMs: 350, batchMs: 20 }),
  );
  while (sampler.taken < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(await readdir(recording.dir), [], 'nothing is written before it is asked for');
  assert.ok(recording.stats().keptBytes > 0);
  const dumped = await recording.dump();
  assert.equal(await rowsIn(dumped), 200);
  const { parts } = await recording.close();
  assert.deepEqual(
    parts.map((part) => part.slice(-6)),
    ['000001', '000002'],
  );
  assert.equal(pl.readIPCStream(await readFile(join(dumped, 'disk.arrows'))).height, 200);
  const plain = await Recorder.start(fed([]), options());
  await assert.rejects(plain.dump(), { code: 'ERR_RECORDING' });
  await plain.done;
});

async function made(): Promise<string> {
  const dir = folder();
  await mkdir(dir);
  return dir;
}

test('every part and every dump has the names of all its ids, each once', async () => {
  const own = new OwnTable('disk.name', 'one row per new id of disk', [
    { name: 'time', type: new TimestampNanosecond('UTC') },
    { name: 'id', type: new Int64() },
    { name: 'name', type: new Utf8() },
  ]);
  const named = (from: number, count: number) => ({
    table: 'disk.name',
    batch: own.batch(
      Array.from({ length: count }, (_, at) => ({
        time: BigInt(from + at),
        id: BigInt(from + at),
        name: `path ${from + at}`,
      })),
    ),
  });
  const sampler = (pauseMs: number): FedSampler =>
    new FedSampler(
      [fedTable('disk', schema), fedTable('disk.name', own.info.schema, null)],
      (function* () {
        for (let at = 0; at < 6; at++) {
          yield named(3 * at, 3);
          yield { table: 'disk', batch: fedBatch(schema, at * 10, 10, 2) };
          yield { waitMs: pauseMs };
        }
      })(),
    );
  const namesIn = async (dir: string): Promise<unknown[]> => {
    const table = await (await openRecording(dir)).table('disk.name');
    return [...(table.getChild('name') ?? [])];
  };
  const paths = (count: number) => Array.from({ length: count }, (_, at) => `path ${at}`);

  const rotated = await Recorder.start(sampler(20), options({ rotateMs: 30, maxBytes: 10 ** 9 }));
  const { parts } = await rotated.done;
  assert.ok(parts.length > 2, `${parts.length} parts`);
  let told = 0;
  for (const part of parts) {
    const rows = await rowsIn(part);
    told += rows;
    // Names come just before the ten rows that use them, at times as the first of a part that has to be begun.
    const names = await namesIn(part);
    assert.deepEqual(names, paths(names.length));
    assert.ok(names.length >= 3 * (told / 10), `${names.length} names of ${told} rows`);
  }
  assert.equal((await namesIn(parts.at(-1) as string)).length, 18);

  const flight = await Recorder.start(
    sampler(0),
    options({ out: await made(), lastMs: 1, batchMs: 1, maxBytes: 1 }),
  );
  const [dump] = (await flight.done).parts;
  assert.equal(await rowsIn(dump as string), 0, 'no batch is as short as one byte');
  assert.deepEqual(await namesIn(dump as string), paths(18));
  assert.ok(flight.stats().keptBytes > 0);
});

test('the ring of a flight recorder keeps to its memory', () => {
  let now = 0;
  const ring = new FlightRing(1000, 10_000, () => now);
  for (let at = 0; at < 100; at++) {
    now += 10;
    const dropped = { batches: 0, rows: 0 };
    ring.add({ table: 'disk', batch: fedBatch(schema, at * 10, 10, 2), dropped });
    assert.ok(ring.bytes <= 10_000);
  }
  assert.ok(ring.shortenedRows > 0);
  now += 2000;
  assert.equal(ring.contents().batches.length, 0);
  assert.equal(ring.bytes, 0);
});

test('counts of a dump are those of the batches that it holds', () => {
  let now = 0;
  const ring = new FlightRing(1000, 1e9, () => now);
  const add = (table: string, ticks: number, missed: number, lost = 0): void => {
    const dropped = { batches: lost > 0 ? 1 : 0, rows: lost };
    ring.add({ table, batch: fedBatch(schema, 0, 10, 2), dropped, counts: { ticks, missed } });
  };
  const stats = fed([]).stats();
  const counts = () => {
    const { ticks, missed, droppedRows } = ring.contents().countsOf(stats).tables[0] ?? {};
    return { ticks, missed, droppedRows };
  };
  assert.deepEqual(counts(), { ticks: 0, missed: 0, droppedRows: 0 });
  add('disk', 10, 1, 5);
  now = 900;
  add('disk', 20, 2);
  add('other', 1000, 1000, 1000);
  add('disk', 35, 7, 3);
  assert.deepEqual(counts(), { ticks: 35, missed: 7, droppedRows: 8 });
  now = 1500; // the first is forgotten, with what was lost before it
  assert.deepEqual(counts(), { ticks: 25, missed: 6, droppedRows: 3 });
  now = 5000;
  assert.deepEqual(counts(), { ticks: 0, missed: 0, droppedRows: 0 });
});

test('a dump counts each tick and missed deadline of its time once', async () => {
  const recording = await monitor.record({
    out: folder(),
    sources: [monitor.vmstat({ intervalMs: 1 })],
    lastMs: 300,
    batchMs: 20,
  });
  await new Promise((resolve) => setTimeout(resolve, 700));
  const dirs = [await recording.dump()];
  const { parts } = await recording.close();
  dirs.push(parts.at(-1) as string);
  for (const dir of dirs) {
    const opened = await openRecording(dir);
    const table = opened.tables.find(({ name }) => name === 'vmstat');
    const times = (await opened.table('vmstat'))
      .getChild('time')
      ?.data.flatMap(({ values }) => [...(values as BigInt64Array)]) as bigint[];
    assert.ok(times.length > 50 && times.length < 700, `${times.length} rows`);
    assert.equal(table?.rows, times.length);
    assert.equal(table?.ticks, times.length); // vmstat has a row per tick
    // Every deadline from the first row to the last, and those missed just before the first.
    const deadlines = Number((times.at(-1) as bigint) - (times[0] as bigint)) / 1e6 + 1;
    const counted = (table?.ticks ?? 0) + (table?.missed ?? 0);
    assert.ok(counted >= deadlines - 1, `${counted} of ${deadlines}`);
    assert.ok(counted <= deadlines + 100, `${counted} of ${deadlines}`);
  }
});

test('a step of the clock and a suspend are told, slewing is not', () => {
  const anchor = {
    monotonicNs: 0n,
    realtimeNs: 0n,
    boottimeNs: 0n,
    bracketNs: 100,
    state: 0,
    error: null,
    maxErrorNs: 0,
  };
  const second = 1_000_000_000n;
  const later = { ...anchor, monotonicNs: second, realtimeNs: second, boottimeNs: second };
  const names = (after: typeof anchor) =>
    clockEvents(anchor, after, 7n).map(({ name, attributes }) => [name, attributes]);
  assert.deepEqual(names(later), []);
  assert.deepEqual(names({ ...later, realtimeNs: second + 500_000n }), []);
  assert.deepEqual(names({ ...later, realtimeNs: second - 5_000_000n }), [
    ['clock step', { step_ns: -5_000_000 }],
  ]);
  assert.deepEqual(names({ ...later, realtimeNs: 4n * second, boottimeNs: 4n * second }), [
    ['suspend', { duration_ns: 3_000_000_000 }],
  ]);
});

test('the public face: record, mark, open, summarize', async () => {
  const out = folder();
  const requests = await monitor.table({ name: 'requests', schema: { latency_ns: 'u64' } });
  {
    await using recording = await monitor.record({
      out,
      sources: [monitor.vmstat({ intervalMs: 10 })],
      tables: [requests],
    });
    requests.append({ latency_ns: 5n });
    recording.mark('load', { batch: 32 });
    requests.append({ latency_ns: 2n ** 63n });
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const recording = await monitor.openRecording(out);
  const table = await recording.table('requests');
  assert.deepEqual([...(table.getChild('latency_ns')?.toArray() ?? [])], [5n, 2n ** 63n]);
  assert.deepEqual(
    (await recording.marks()).map(({ name, attributes }) => [name, attributes]),
    [['load', { batch: 32 }]],
  );
  await assert.rejects(recording.table('request'), { message: /did you mean requests\?/ });
  const summary = await monitor.summarize(out);
  assert.equal(summary.end, 'closed');
  assert.equal(summary.sections.length, 2);
  assert.equal((await monitor.recover(out)).changed, false);
});
