import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MessageReader, nanoseconds, tableFromIPC } from 'warpgauge/arrow';
import { samplesIpc, samplesTable } from '#lib/measure/memcpy/samples-table';
import { syntheticDocument } from './synthetic-document.ts';

const document = syntheticDocument({ blocks: 4 });
const samples = document.cells.flatMap((cell) => cell.samples.map((sample) => ({ cell, sample })));

test('one row per sample in run order, read back from the stream as it was written', async () => {
  const table = tableFromIPC(await samplesIpc(document));
  assert.equal(table.numRows, samples.length);
  const inOrder = [...samples].sort((a, b) => a.sample.seq - b.sample.seq);
  for (const [row, { cell, sample }] of inOrder.entries()) {
    const got = table.get(row);
    assert.equal(got?.['cell'], cell.id);
    assert.equal(got?.['kind'], cell.kind);
    assert.equal(got?.['bytes'], BigInt(cell.bytes));
    assert.equal(got?.['t_host_ns'], BigInt(sample.t_host_ns));
    assert.equal(got?.['minflt_thread'], BigInt(sample.minflt_thread));
    assert.equal(got?.['valid'], sample.valid);
    assert.equal(got?.['why_invalid'], sample.why_invalid);
    assert.equal(got?.['dtlb_why'], 'ENOENT');
  }
});

test('what was not measured is null, not 0', async () => {
  const table = await samplesTable(document);
  assert.equal(table.getChild('dtlb_miss')?.nullCount, table.numRows);
  assert.equal(table.getChild('t_event_ns')?.nullCount, table.numRows);
  assert.equal(table.getChild('gpu_sm_mhz')?.get(0), null);
  const sys = samples.filter(({ sample }) => sample.sys_ns === null).length;
  assert.ok(sys > 0 && sys < samples.length);
  assert.equal(table.getChild('sys_ns')?.nullCount, sys);
  assert.equal(table.getChild('t_host_ns')?.nullCount, 0);
});

test('a cuda result has event times and GPU readings', async () => {
  const table = await samplesTable(syntheticDocument({ blocks: 2, backend: 'cuda' }));
  assert.equal(table.getChild('t_event_ns')?.nullCount, 0);
  assert.equal(table.getChild('gpu_pcie_gen')?.get(0), 5n);
  assert.equal(table.schema.metadata.get('simulated'), 'true');
  assert.equal(table.schema.metadata.get('proxy'), 'false');
});

test('time is exact nanoseconds, and the field says on which clock', async () => {
  const monotonic = await samplesTable(document);
  const first = Math.min(...samples.map(({ sample }) => sample.time_ns));
  const column = monotonic.getChild('time');
  assert.ok(column);
  assert.equal(nanoseconds(column)[0], BigInt(first));
  const fieldOf = (table: typeof monotonic) =>
    table.schema.fields.find(({ name }) => name === 'time');
  assert.equal(fieldOf(monotonic)?.metadata.get('source'), 'CLOCK_MONOTONIC');
  assert.equal(String(fieldOf(monotonic)?.type), 'Timestamp<NANOSECOND>');

  const utcOffsetNs = 1_700_000_000_000_000_003n;
  const utc = await samplesTable(document, { utcOffsetNs });
  assert.equal(nanoseconds(utc.getChild('time') as typeof column)[0], BigInt(first) + utcOffsetNs);
  assert.equal(fieldOf(utc)?.type.timezone, 'UTC');
});

test('every numeric column names unit and source; origin stands in the schema', async () => {
  const { schema } = tableFromIPC(await samplesIpc(document));
  for (const field of schema.fields) {
    if (/^(Int64|Float64|Timestamp)/.test(String(field.type))) {
      assert.ok(field.metadata.get('unit') && field.metadata.get('source'), field.name);
    }
  }
  assert.equal(schema.metadata.get('schema'), 'warpgauge/memcpy/1');
  assert.equal(schema.metadata.get('proxy'), 'true');
});

test('the stream is uncompressed and has no delta dictionary, so that other readers open it', async () => {
  let dictionaries = 0;
  let batches = 0;
  const reader = new MessageReader(await samplesIpc(document));
  for (const message of reader) {
    if (message.isDictionaryBatch()) {
      const header = message.header();
      dictionaries++;
      assert.equal(header.isDelta, false);
      assert.equal(header.data.compression, null);
    } else if (message.isRecordBatch()) {
      batches++;
      assert.equal(message.header().compression, null);
    }
    reader.readMessageBody(message.bodyLength);
  }
  assert.ok(dictionaries >= 6, String(dictionaries));
  assert.equal(batches, 1);
});

test('a document without samples is a table without rows', async () => {
  const table = tableFromIPC(await samplesIpc({ ...document, cells: [] }));
  assert.equal(table.numRows, 0);
  assert.ok(table.schema.fields.length > 40);
});

test('views and the table module load no apache-arrow before a table is asked for', () => {
  const script = `
    import { register } from 'node:module';
    const hook = "export function resolve(name, context, next) {"
      + "if (name === 'apache-arrow') throw new Error('apache-arrow was loaded'); return next(name, context); }";
    register('data:text/javascript,' + encodeURIComponent(hook));
    for (const name of ['view/terminal', 'view/plan', 'view/progress', 'view/html', 'view/out-dir']) await import('#lib/' + name);
    const { samplesTable } = await import('#lib/measure/memcpy/samples-table');
    await samplesTable({ cells: [] }).catch((error) => console.log(error.message));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('../../../..', import.meta.url)),
  });
  assert.equal(output.toString(), 'apache-arrow was loaded\n');
});
