import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  cp,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import pl from 'nodejs-polars';
import {
  Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  type Table,
  TimestampNanosecond,
  tableFromIPC,
  Uint64,
} from 'warpgauge/arrow';
import type { Manifest } from '#lib/monitor/recording/manifest';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { Recorder, type RecorderOptions } from '#lib/monitor/recording/recorder';
import { recover } from '#lib/monitor/recording/recover';
import { scanStream } from '#lib/monitor/recording/stream-scan';
import { TableFile } from '#lib/monitor/recording/table-file';
import { FedSampler, fedBatch, fedSchema, fedTable, START } from './fed-sampler.js';

const root = await mkdtemp(join(tmpdir(), 'warpgauge-recording-'));
after(() => rm(root, { recursive: true, force: true }));

let folders = 0;
const folder = (): string => join(root, String(folders++));

function options(out: string, more: Partial<RecorderOptions> = {}): RecorderOptions {
  return {
    out,
    batchMs: 1000,
    holdMs: 10_000,
    maxBytes: null,
    rotateMs: null,
    keep: null,
    lastMs: null,
    limited: true,
    argv: ['test'],
    command: null,
    signal: null,
    ...more,
  };
}

/** The rows of the made-up table as an independent reader should give them. */
function expected(n: number, names: (n: number) => number) {
  const hole = n % 7 === 0;
  return {
    time: START + BigInt(n) * 1_000_001n,
    faults: hole ? null : 2n ** 63n + BigInt(n) * 3n,
    load_ratio: hole ? null : n / 8,
    busy: hole ? null : n % 2 === 1,
    device: `disk${n % names(n)}`,
  };
}

/** Reads a file with Polars, which shares no code with what wrote it. */
async function polarsRows(path: string): Promise<Record<string, unknown>[]> {
  const frame = pl.readIPCStream(await readFile(path));
  // As text: Polars gives 64-bit integers and times to JavaScript as doubles.
  return frame.withColumn(pl.col('time').cast(pl.Int64).cast(pl.Utf8)).toRecords();
}

function rowsOf(table: Table | RecordBatch): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [];
  for (const batch of 'batches' in table ? table.batches : [table]) {
    const times = batch.getChild('time')?.data[0]?.values as BigInt64Array;
    for (let at = 0; at < batch.numRows; at++) {
      const row = batch.get(at)?.toJSON() as Record<string, unknown>;
      rows.push({ ...row, time: times[at] });
    }
  }
  return rows;
}

/** Everything as text: Polars gives numbers where arrow-js gives bigints. */
const comparable = (rows: readonly Record<string, unknown>[]): string[] =>
  rows.map((row) =>
    Object.entries(row)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
  );

function* sequence(
  schema: ReturnType<typeof fedSchema>,
  batches: number,
  rows: number,
  names: (batch: number) => number,
) {
  for (let at = 0; at < batches; at++) {
    yield { table: 'disk', batch: fedBatch(schema, at * rows, rows, names(at)) };
  }
}

async function recorded(
  batches: number,
  rows: number,
  names: (batch: number) => number = () => 3,
  more: Partial<RecorderOptions> = {},
): Promise<string> {
  const schema = fedSchema();
  const sampler = new FedSampler(
    [fedTable('disk', schema)],
    sequence(schema, batches, rows, names),
  );
  const recording = await Recorder.start(sampler, options(folder(), more));
  await recording.done;
  return recording.dir;
}

test('every table opens in Polars with equal values, also with names that appear half-way', async () => {
  const names = (batch: number) => (batch < 2 ? 2 : 2 + batch);
  const dir = await recorded(6, 50, names);
  const want = comparable(
    Array.from({ length: 300 }, (_, n) => expected(n, (row) => names(Math.floor(row / 50)))),
  );
  const files = (await readdir(dir)).filter((name) => name.endsWith('.arrows'));
  assert.deepEqual(files.sort(), ['clock.arrows', 'disk.arrows', 'mark.arrows', 'state.arrows']);
  for (const file of files) assert.ok(pl.readIPCStream(await readFile(join(dir, file))).width > 0);
  assert.deepEqual(comparable(await polarsRows(join(dir, 'disk.arrows'))), want);
  const recording = await openRecording(dir);
  assert.deepEqual(comparable(rowsOf(await recording.table('disk'))), want);
  const streamed: Record<string, unknown>[] = [];
  for await (const batch of recording.batches('disk')) streamed.push(...rowsOf(batch));
  assert.deepEqual(comparable(streamed), want);
  // arrow-js's own reader, on the whole file
  assert.equal(tableFromIPC(await readFile(join(dir, 'disk.arrows'))).numRows, 300);
});

test('a dictionary is written once, again when it grew, and never as a delta', async () => {
  const dir = await recorded(6, 50, (batch) => (batch < 3 ? 2 : 4));
  const file = await open(join(dir, 'disk.arrows'));
  const scan = await scanStream(file);
  await file.close();
  const kinds = scan.messages.map(({ kind }) => kind[0]).join('');
  assert.equal(kinds, 'sdbbbdbbb');
});

test('batches of few rows are gathered: same values, a fraction of the messages', async () => {
  const names = (batch: number) => 1 + Math.floor(batch / 10);
  const dir = await recorded(40, 1, names);
  const recording = await openRecording(dir);
  const [table] = recording.tables.filter(({ name }) => name === 'disk');
  assert.equal(table?.rows, 40);
  assert.equal(table?.batches, 4);
  const want = comparable(Array.from({ length: 40 }, (_, n) => expected(n, (row) => names(row))));
  assert.deepEqual(comparable(await polarsRows(join(dir, 'disk.arrows'))), want);
  assert.deepEqual(comparable(rowsOf(await recording.table('disk'))), want);
});

test('what is kept back is fewer than ten rows, and is written before it is too old', async () => {
  const schema = fedSchema();
  const path = folder();
  const file = await TableFile.create(path, schema, { holdMs: 3_600_000, ownsBatches: false });
  for (let at = 0; at < 60; at += 3) {
    await file.write(fedBatch(schema, at, 3, 2));
    assert.ok(file.rows > at + 3 - 10, `${file.rows} of ${at + 3} rows are written`);
  }
  const scanned = await open(path);
  const { messages } = await scanStream(scanned);
  await scanned.close();
  assert.equal(messages.filter(({ kind }) => kind === 'batch').length, 5, 'of 12 rows each');
  await file.write(fedBatch(schema, 60, 3, 2));
  await file.flushOld(1000);
  assert.equal(file.rows, 60);
  await file.flushOld(3_600_000);
  assert.equal(file.rows, 63);
  await file.close();
});

test('the manifest says what is in the files, with their digests', async () => {
  const dir = await recorded(4, 25);
  const { manifest, environment, running, tables } = await openRecording(dir);
  assert.equal(manifest.schema, 'warpgauge/recording/1');
  assert.equal(manifest.end, 'duration');
  assert.equal(running, false);
  assert.equal(manifest.host.hostname, hostname());
  assert.match(manifest.host.bootId ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(manifest.simulated, true);
  assert.equal((environment as { schema: string }).schema, 'warpgauge/environment/2');
  for (const table of manifest.tables) {
    const bytes = await readFile(join(dir, table.file));
    assert.equal(table.sha256, createHash('sha256').update(bytes).digest('hex'), table.name);
    assert.equal(table.bytes, bytes.length, table.name);
    assert.equal(table.rows, tables.find(({ name }) => name === table.name)?.rows, table.name);
  }
  const disk = manifest.tables.find(({ name }) => name === 'disk');
  assert.deepEqual([disk?.rows, disk?.ticks, disk?.missed], [100, 100, 0]);
  assert.deepEqual(
    (await readdir(dir)).filter((name) => name.startsWith('.')),
    [],
  );
});

test('marks of the script and of another process, in the order of time', async () => {
  const schema = fedSchema();
  const sampler = new FedSampler([fedTable('disk', schema)], [{ waitMs: 60_000 }]);
  const recording = await Recorder.start(sampler, options(folder()));
  recording.mark('first', { batch: 32 });
  const { mark } = await import('#lib/monitor/recording/mark-inbox');
  await mark(recording.dir, 'second');
  recording.mark('third');
  await assert.rejects(async () => recording.mark(''), { code: 'ERR_INVALID_ARGUMENT' });
  await recording.close();
  const marks = await (await openRecording(recording.dir)).marks();
  assert.deepEqual(
    marks.map(({ name, attributes }) => [name, attributes]),
    [
      ['first', { batch: 32 }],
      ['second', null],
      ['third', null],
    ],
  );
  assert.ok(marks.every(({ time }, at) => at === 0 || time >= (marks[at - 1]?.time ?? 0n)));
  await assert.rejects(mark(recording.dir, 'late'), { code: 'ERR_RECORDING' });
  await assert.rejects(mark(root, 'nowhere'), { code: 'ERR_RECORDING' });
});

test('recover copies the marks that a killed recorder did not come to take, once', async () => {
  const dir = await recorded(2, 12);
  const { manifest, uncopiedMarks } = await openRecording(dir);
  assert.deepEqual(await uncopiedMarks(), []);
  const line = (name: string, at: bigint): string =>
    `${JSON.stringify({ monotonicNs: String(at), name, attributes: { batch: 8 } })}\n`;
  await writeFile(join(dir, 'marks.jsonl'), line('late', 5n) + line('später ☃', 7n));
  assert.equal((await recover(dir)).changed, true);
  assert.deepEqual(await (await openRecording(dir)).uncopiedMarks(), []);
  const marks = pl.readIPCStream(await readFile(join(dir, 'mark.arrows')));
  assert.deepEqual(marks.getColumn('name').toArray(), ['late', 'später ☃']);
  assert.deepEqual(marks.getColumn('attributes').toArray(), ['{"batch":8}', '{"batch":8}']);
  const [first] = await (await openRecording(dir)).marks();
  assert.equal(first?.time, 5n + BigInt(manifest.clock.utcOffsetNs));
  assert.equal((await recover(dir)).changed, false);
});

test('a file cut at any byte is read up to its last whole batch, and recovered so that Polars opens it', async () => {
  const dir = await recorded(3, 12, (batch) => 2 + batch);
  const path = join(dir, 'disk.arrows');
  const whole = await readFile(path);
  const file = await open(path);
  const { messages } = await scanStream(file);
  await file.close();
  const ends = messages
    .filter(({ kind }) => kind === 'batch')
    .map((each) => each.offset + each.bytes);
  assert.equal(ends.length, 3);
  const schemaEnd = messages[0]?.bytes as number;
  const copy = folder();
  const cut = join(copy, 'disk.arrows');
  await cp(dir, copy, { recursive: true });
  // This table alone: the others are whole, and reading them a thousand times takes long.
  const described = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as Manifest;
  const tables = described.tables.filter(({ name }) => name === 'disk');
  const manifest = JSON.stringify({ ...described, tables });
  // Every byte of the last batch, and of all before it one in 97, which meets every kind of place.
  const cuts = Array.from({ length: whole.length + 1 }, (_, bytes) => bytes).filter(
    (bytes) => bytes >= (ends[1] as number) || bytes % 97 === 0 || ends.includes(bytes + 1),
  );
  for (const bytes of cuts) {
    await writeFile(cut, whole.subarray(0, bytes));
    await writeFile(join(copy, 'manifest.json'), manifest);
    const batches = ends.filter((end) => end <= bytes).length;
    const read = await openRecording(copy);
    const table = read.tables.find(({ name }) => name === 'disk');
    if (bytes < schemaEnd) {
      assert.equal(table, undefined, `${bytes}`);
    } else {
      assert.deepEqual(
        [table?.rows, table?.torn],
        [batches * 12, bytes < whole.length],
        `${bytes}`,
      );
      assert.equal((await read.table('disk')).numRows, batches * 12, `${bytes}`);
    }
    const first = await recover(copy);
    assert.equal(first.tables.find(({ name }) => name === 'disk')?.changed, bytes < whole.length);
    const second = await recover(copy);
    assert.equal(second.changed, false, `${bytes}: recovering twice changes nothing`);
    if (bytes < schemaEnd) {
      await assert.rejects(stat(cut), { code: 'ENOENT' });
      continue;
    }
    const bytesNow = await readFile(cut);
    assert.ok(
      bytesNow.equals(
        Buffer.concat([
          whole.subarray(0, batches === 0 ? schemaEnd : ends[batches - 1]),
          whole.subarray(-8),
        ]),
      ),
      `${bytes}`,
    );
    const again = await openRecording(copy);
    const described = again.manifest.tables.find(({ name }) => name === 'disk');
    assert.equal(described?.rows, batches * 12);
    assert.equal(described?.sha256, createHash('sha256').update(bytesNow).digest('hex'));
  }
  // What recover left at each number of batches opens in Polars with the right values.
  for (const [batches, end] of [schemaEnd, ...ends].entries()) {
    await writeFile(cut, whole.subarray(0, end + 5));
    await writeFile(join(copy, 'manifest.json'), manifest);
    await recover(copy);
    const want = Array.from({ length: batches * 12 }, (_, n) =>
      expected(n, (row) => 2 + Math.floor(row / 12)),
    );
    assert.deepEqual(comparable(await polarsRows(cut)), comparable(want));
  }
});

test('bytes that are no Arrow stream are told, not read', async () => {
  const dir = await recorded(2, 20);
  const path = join(dir, 'disk.arrows');
  const whole = await readFile(path);
  const file = await open(path);
  const { messages } = await scanStream(file);
  await file.close();
  const last = messages.at(-1) as { offset: number };
  // Zeros where the last batch was, as after a power cut.
  await writeFile(path, Buffer.concat([whole.subarray(0, last.offset), Buffer.alloc(400)]));
  assert.equal((await openRecording(dir)).tables.find(({ name }) => name === 'disk')?.rows, 20);
  await recover(dir);
  assert.equal((await polarsRows(path)).length, 20);
  await truncate(path, 0);
  assert.equal(
    (await openRecording(dir)).tables.some(({ name }) => name === 'disk'),
    false,
  );
  await writeFile(join(dir, 'manifest.json'), '{"schema":"warpgauge/memcpy/1"}');
  await assert.rejects(openRecording(dir), { code: 'ERR_RECORDING' });
  await assert.rejects(openRecording(join(root, 'absent')), { code: 'ERR_RECORDING' });
});

test('what a file takes beyond its cells: under 1.15x at 10 kHz, under 2x at 1 Hz', async () => {
  const counters = (columns: number) =>
    new Schema([
      new Field('time', new TimestampNanosecond('UTC'), false),
      ...Array.from({ length: columns - 1 }, (_, at) => {
        const meaning = { unit: 'pages', kind: 'counter', source: `/proc/vmstat counter_${at}` };
        return new Field(`counter_${at}`, new Uint64(), true, new Map(Object.entries(meaning)));
      }),
    ]);
  const batchOf = (schema: Schema, length: number): RecordBatch => {
    const children = schema.fields.map(({ type }, at) =>
      makeData({
        type,
        length,
        nullCount: 0,
        data: at === 0 ? new BigInt64Array(length) : new BigUint64Array(length),
      } as never),
    );
    const type = new Struct(schema.fields);
    return new RecordBatch(schema, makeData({ type, length, nullCount: 0, children }));
  };
  const cases = [
    // one hour at 1 Hz, ten seconds held together
    { columns: 200, rows: 1, batches: 3600, together: 10, most: 2 },
    { columns: 6, rows: 1, batches: 3600, together: 10, most: 2 },
    // a minute at 10 kHz, in batches of 100 ms
    { columns: 6, rows: 1000, batches: 600, together: 1, most: 1.15 },
  ];
  for (const { columns, rows, batches, together, most } of cases) {
    const schema = counters(columns);
    const file = await TableFile.create(folder(), schema, {
      holdMs: 3_600_000,
      ownsBatches: false,
    });
    for (let at = 1; at <= batches; at++) {
      await file.write(batchOf(schema, rows));
      if (at % together === 0) await file.flush(0);
    }
    await file.close();
    const ratio = file.bytes / (columns * 8 * rows * batches);
    assert.ok(ratio <= most, `${columns} columns, ${rows} rows: ${ratio}`);
    assert.equal(file.rows, rows * batches);
  }
});
