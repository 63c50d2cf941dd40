// Records a made-up (Simulated) table into the folder of the first argument until it is killed or the disk is full.
// The second argument is the number of rows of a batch, the third the time between two batches, ms. With a fourth one, the
// path of a file on the same disk, that file takes what is left of the disk after one batch, then come rows that are kept back
// until the end, then the end.
import { appendFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { Recorder } from '#lib/monitor/recording/recorder';
import { FedSampler, fedBatch, fedSchema, fedTable } from '../monitor/fed-sampler.js';

const [dir = '', rowsText = '100', msText = '1', filler] = process.argv.slice(2);
const rows = Number(rowsText);
const schema = fedSchema();

async function* endless() {
  for (let at = 0; ; at++) {
    await sleep(Number(msText));
    yield { table: 'disk', batch: fedBatch(schema, at * rows, rows, 2 + (at % 3)) };
    if (at === 20) process.stdout.write('20 batches\n');
  }
}

function fill(path: string): void {
  for (const bytes of [65536, 4096]) {
    try {
      for (;;) appendFileSync(path, Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

function* fillingAtTheEnd(path: string) {
  yield { table: 'disk', batch: fedBatch(schema, 0, rows, 2) };
  fill(path);
  // So many names that they do not fit into what the last page of the file has left.
  yield { table: 'disk', batch: fedBatch(schema, rows, 9, 2000) };
}

const script = filler === undefined ? endless() : fillingAtTheEnd(filler);
const sampler = new FedSampler([fedTable('disk', schema)], script);
const recording = await Recorder.start(sampler, {
  out: dir,
  batchMs: 1000,
  holdMs: 10_000,
  maxBytes: null,
  rotateMs: null,
  keep: null,
  lastMs: null,
  limited: false,
  argv: [],
  command: null,
  signal: null,
});
try {
  await recording.done;
} catch (error) {
  const { manifest, tables } = await openRecording(dir);
  const { code, message, fix, status } = error as { code: string } & Record<string, unknown>;
  const { end } = manifest;
  const read = tables.map((table) => ({ name: table.name, rows: table.rows, torn: table.torn }));
  const sizes = manifest.tables.map((table) => ({
    name: table.name,
    rows: table.rows,
    bytes: table.bytes,
    onDisk: statSync(join(dir, table.file)).size,
  }));
  process.stdout.write(
    `${JSON.stringify({ code, message, fix, status, end, error: manifest.error, read, sizes, taken: sampler.taken })}\n`,
  );
  process.exitCode = 1;
}
