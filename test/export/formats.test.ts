import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import pl from 'nodejs-polars';
import { tableFromIPC } from 'warpgauge/arrow';
import { exportRecording } from 'warpgauge/export';
import { duckdb } from './duckdb.js';
import { type RichRow, recordRich, richRow, richSchema } from './recordings.js';

const ROWS = 1234;
const NAME = 'rich@2.some.table';
const root = await mkdtemp(join(tmpdir(), 'warpgauge-export-'));
const dir = join(root, 'run');
before(() => recordRich(dir, ROWS, 100));
after(() => rm(root, { recursive: true, force: true }));

const want: readonly RichRow[] = Array.from({ length: ROWS }, (_, n) => richRow(n));

/** As text, because readers give 64-bit integers as numbers, bigints or texts. */
const comparable = (rows: readonly object[]): string[] =>
  rows.map((row) =>
    Object.entries(row)
      .map(([key, value]) => `${key}=${value === null ? 'null' : JSON.stringify(String(value))}`)
      .join(' '),
  );

const SELECT = 'SELECT * REPLACE (epoch_ns(time) AS time)';

/** The rows of an Arrow or Parquet table in Polars. */
function polarsRows(frame: pl.DataFrame): Record<string, unknown>[] {
  const texts = ['time', 'u64', 'i64', 'dTLB-load.misses/%'].map((name) =>
    (name === 'time' ? pl.col(name).cast(pl.Int64) : pl.col(name)).cast(pl.Utf8),
  );
  return frame.withColumns(...texts).toRecords();
}

test('Parquet in DuckDB: all values, at full nanoseconds, also over several files', async () => {
  for (const [rowsPerFile, files] of [
    [undefined, 1],
    [1_000_000, 1],
    [300, 5],
    [617, 2],
  ] as const) {
    const out = join(root, `parquet-${rowsPerFile}`);
    const result = await exportRecording(dir, {
      format: 'parquet',
      out,
      ...(rowsPerFile === undefined ? {} : { rowsPerFile }),
    });
    const table = result.tables.find(({ name }) => name === NAME);
    assert.equal(table?.rows, ROWS);
    assert.equal(table?.files.length, files);
    assert.ok(table?.files.every(({ rows }) => rows <= (rowsPerFile ?? ROWS)));
    assert.deepEqual(
      table?.files.map(({ path }) => basename(path)),
      files === 1
        ? [`${NAME}.parquet`]
        : Array.from({ length: files }, (_, part) => `${NAME}-0000${part + 1}.parquet`),
    );
    const from = `FROM '${join(out, `${NAME}*.parquet`)}'`;
    assert.deepEqual(comparable(await duckdb(`${SELECT} ${from} ORDER BY time`)), comparable(want));
  }
});

test('Parquet: the types, the nulls and the statistics that readers filter by', async () => {
  const out = join(root, 'parquet-types');
  await exportRecording(dir, { format: 'parquet', out });
  const from = `FROM '${join(out, `${NAME}.parquet`)}'`;
  const types = Object.fromEntries(
    (await duckdb(`DESCRIBE SELECT * ${from}`)).map((row) => [
      row['column_name'],
      row['column_type'],
    ]),
  );
  assert.deepEqual(types, {
    time: 'TIMESTAMP_NS',
    u64: 'UBIGINT',
    i64: 'BIGINT',
    f64: 'DOUBLE',
    u32: 'UINTEGER',
    i32: 'INTEGER',
    u8: 'UTINYINT',
    flag: 'BOOLEAN',
    device: 'VARCHAR',
    cpu: 'VARCHAR',
    online: 'BOOLEAN',
    'dTLB-load.misses/%': 'UBIGINT',
    text: 'VARCHAR',
  });
  const count = async (where: string) =>
    (await duckdb(`SELECT count(*)::INT AS n ${from} WHERE ${where}`))[0]?.['n'];
  const expected = (of: (row: RichRow) => boolean) => want.filter(of).length;
  assert.equal(
    await count('u64 > 9223372036854775808'),
    expected(({ u64 }) => u64 !== null && u64 > 2n ** 63n),
  );
  assert.equal(
    await count('u32 > 4294967000'),
    expected(({ u32 }) => u32 > 4_294_967_000),
  );
  assert.equal(
    await count("device = 'disk1'"),
    expected(({ device }) => device === 'disk1'),
  );
  assert.equal(
    await count('f64 IS NULL'),
    expected(({ f64 }) => f64 === null),
  );
  assert.equal(
    await count("text = ''"),
    expected(({ text }) => text === ''),
  );
  const nanoseconds = "time > '2023-11-14 22:13:20.001000004'::TIMESTAMP_NS";
  assert.equal(await count(nanoseconds), ROWS - 2);
});

test('Parquet: what the columns mean is in the file', async () => {
  const out = join(root, 'parquet-meta');
  await exportRecording(dir, { format: 'parquet', out });
  const path = join(out, `${NAME}.parquet`);
  const rows = await duckdb(
    `SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata('${path}')`,
  );
  const entries = Object.fromEntries(rows.map(({ key, value }) => [key, value as string]));
  const about = JSON.parse(entries['warpgauge.table'] ?? '') as Record<string, unknown>;
  assert.equal(about['name'], NAME);
  assert.equal(about['simulated'], true);
  const columns = JSON.parse(entries['warpgauge.columns'] ?? '') as Record<string, object>;
  assert.deepEqual(columns['time'], { unit: 'ns', source: 'Simulated' });
  assert.deepEqual(
    Object.keys(columns),
    richSchema().fields.map(({ name }) => name),
  );
  const arrow = tableFromIPC(Buffer.from(entries['ARROW:schema'] ?? '', 'base64')).schema;
  assert.equal(arrow.fields.find(({ name }) => name === 'u8')?.metadata.get('source'), 'Simulated');
  assert.equal(arrow.metadata.get('grain'), 'one row per tick');
});

test('Parquet in Polars', async () => {
  const out = join(root, 'parquet-polars');
  await exportRecording(dir, { format: 'parquet', out });
  const frame = pl.readParquet(join(out, `${NAME}.parquet`));
  assert.deepEqual(comparable(polarsRows(frame)), comparable(want));
  assert.equal(pl.readParquet(join(out, 'empty.parquet')).width, richSchema().fields.length);
});

test('an Arrow file in Polars and arrow-js: one dictionary for names that came batch by batch', async () => {
  // Batches of 100 rows are cut and joined to pieces of 37, 250 and all rows.
  for (const rowsPerFile of [37, 250, 1_000_000]) {
    const out = join(root, `arrow-${rowsPerFile}`);
    const { tables } = await exportRecording(dir, { format: 'arrow', out, rowsPerFile });
    assert.equal(tables.find(({ name }) => name === NAME)?.files.length, 1);
    const bytes = await readFile(join(out, `${NAME}.arrow`));
    assert.deepEqual(comparable(polarsRows(pl.readIPC(bytes))), comparable(want));
    const read = tableFromIPC(bytes);
    assert.equal(read.numRows, ROWS);
    assert.equal(read.schema.fields[1]?.metadata.get('source'), 'Simulated');
    const empty = await readFile(join(out, 'empty.arrow'));
    assert.equal(pl.readIPC(empty).width, richSchema().fields.length);
    assert.equal(tableFromIPC(empty).numRows, 0);
  }
});

test('CSV: RFC 4180, nine digits, every bit of 64-bit integers, nothing for null', async () => {
  const out = join(root, 'csv');
  await exportRecording(dir, { format: 'csv', out });
  const text = await readFile(join(out, `${NAME}.csv`), 'utf8');
  const [header, ...lines] = text.split('\r\n');
  assert.equal(
    header,
    'time,u64,i64,f64,u32,i32,u8,flag,device,cpu,online,dTLB-load.misses/%,text',
  );
  assert.equal(
    lines[0],
    '2023-11-14T22:13:20.000000003Z,,,,4294967295,0,,,,cpu0,false,9223372036854775808,',
  );
  assert.ok(
    text.includes(
      '\r\n2023-11-14T22:13:20.005000008Z,18446744073709551610,4611686018427387909,0.625,4294967290,-5,5,false,disk1,cpu2,false,9223372036854775823,ä 🙂\r\n',
    ),
  );
  assert.match(text, /,"say ""so"""\r\n/);
  assert.match(text, /,"two\r\nlines"\r\n/);
  assert.match(text, /,""\r\n/);
  assert.ok(text.endsWith('\r\n'));
  assert.equal(
    await readFile(join(out, 'empty.csv'), 'utf8'),
    'time,u64,i64,f64,u32,i32,u8,flag,device,cpu,online,dTLB-load.misses/%,text\r\n',
  );
  const types =
    "{'time': 'VARCHAR', 'u64': 'UBIGINT', 'i64': 'BIGINT', 'f64': 'DOUBLE', 'u32': 'UINTEGER', 'i32': 'INTEGER', 'u8': 'UTINYINT', 'flag': 'BOOLEAN', 'device': 'VARCHAR', 'cpu': 'VARCHAR', 'online': 'BOOLEAN', 'dTLB-load.misses/%': 'UBIGINT', 'text': 'VARCHAR'}";
  const rows = await duckdb(
    `SELECT * REPLACE (epoch_ns(rtrim(time, 'Z')::TIMESTAMP_NS) AS time) FROM read_csv('${join(out, `${NAME}.csv`)}', header = true, allow_quoted_nulls = false, columns = ${types})`,
  );
  assert.deepEqual(comparable(rows), comparable(want));
});

test("the recorder's own tables are exported too, and nothing half-written is left", async () => {
  for (const format of ['parquet', 'csv', 'arrow'] as const) {
    const out = join(root, `all-${format}`);
    const { tables } = await exportRecording(dir, { format, out });
    const names = ['clock', 'empty', 'mark', NAME, 'state'];
    assert.deepEqual(tables.map(({ name }) => name).sort(), names);
    assert.deepEqual(
      (await readdir(out)).sort(),
      names.map((name) => `${name}.${format}`),
    );
  }
});
