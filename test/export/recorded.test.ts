import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pl from 'nodejs-polars';
import { monitor } from 'warpgauge';
import { DataType } from 'warpgauge/arrow';
import { exportRecording } from 'warpgauge/export';
import { duckdb } from './duckdb.js';

const root = await mkdtemp(join(tmpdir(), 'warpgauge-export-real-'));
const dir = join(root, 'run');
after(() => rm(root, { recursive: true, force: true }));

before(async () => {
  const recording = await monitor.record({
    out: dir,
    durationMs: 1000,
    batchMs: 200,
    sources: [
      monitor.vmstat({ intervalMs: 1 }),
      monitor.meminfo({ intervalMs: 10 }),
      monitor.process({ pid: process.pid, intervalMs: 20 }),
      monitor.disk({ intervalMs: 20 }),
      monitor.cpu({ intervalMs: 50 }),
    ],
  });
  recording.mark('begin, with a comma', { step: 1 });
  await recording.done;
});

/** Every cell as text, null as null; 64-bit integers and times would be numbers in JavaScript. */
function polarsTexts(frame: pl.DataFrame, times: readonly string[]): unknown[][] {
  const columns = frame.columns.map((name) => {
    const column = pl.col(name);
    return (times.includes(name) ? column.cast(pl.Int64) : column).cast(pl.Utf8);
  });
  return frame.select(...columns).rows();
}

async function duckdbTexts(
  from: string,
  columns: readonly string[],
  times: readonly string[],
): Promise<unknown[][]> {
  const cells = columns.map((name) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    const cell = times.includes(name) ? `epoch_ns(${quoted})` : quoted;
    return `${cell}::VARCHAR AS ${quoted}`;
  });
  const rows = await duckdb(`SELECT ${cells.join(', ')} FROM ${from}`);
  return rows.map((row) => columns.map((name) => row[name]));
}

/** Readers write the same double in different ways. */
function same(a: unknown, b: unknown, type: string): boolean {
  return a === b || (type === 'float' && a !== null && b !== null && Number(a) === Number(b));
}

test('what was recorded on this machine is the same in every format, by readers that share no code', async () => {
  const { tables } = await exportRecording(dir, { format: 'parquet', out: join(root, 'parquet') });
  await exportRecording(dir, { format: 'arrow', out: join(root, 'arrow') });
  const { tables: described } = await monitor.openRecording(dir);
  const rowsOf = (name: string) => tables.find((table) => table.name === name)?.rows ?? 0;
  assert.ok(rowsOf('vmstat') > 100 && rowsOf('process') > 5 && rowsOf('mark') === 1);
  for (const { name, rows } of tables) {
    const fields = described.find((table) => table.name === name)?.schema.fields ?? [];
    const times = fields
      .filter(({ type }) => DataType.isTimestamp(type))
      .map((field) => field.name);
    // The recording itself, through Polars: warpgauge has no part in it.
    const recorded = pl.readIPCStream(await readFile(join(dir, `${name}.arrows`)));
    const want = polarsTexts(recorded, times);
    assert.equal(want.length, rows, name);
    const types = fields.map(({ type }) => (DataType.isFloat(type) ? 'float' : 'other'));
    const arrow = polarsTexts(
      pl.readIPC(await readFile(join(root, 'arrow', `${name}.arrow`))),
      times,
    );
    assert.deepEqual(arrow, want, `${name} as Arrow`);
    const path = join(root, 'parquet', `${name}.parquet`);
    const parquet = await duckdbTexts(`'${path}'`, recorded.columns, times);
    assert.equal(parquet.length, rows, name);
    for (const [at, row] of want.entries()) {
      const ok = row.every((cell, index) => same(parquet[at]?.[index], cell, types[index] ?? ''));
      assert.ok(ok, `${name}, row ${at}: ${parquet[at]} instead of ${row}`);
    }
  }
});
