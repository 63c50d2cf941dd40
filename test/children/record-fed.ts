// Records a made-up (Simulated) table into the folder of the first argument until it is killed or the disk is full.
// The second argument is the number of rows of a batch, the third the time between two batches, ms.
import { setTimeout as sleep } from 'node:timers/promises';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { Recorder } from '#lib/monitor/recording/recorder';
import { FedSampler, fedBatch, fedSchema, fedTable } from '../monitor/fed-sampler.js';

const [dir = '', rowsText = '100', msText = '1'] = process.argv.slice(2);
const rows = Number(rowsText);
const schema = fedSchema();

async function* endless() {
  for (let at = 0; ; at++) {
    await sleep(Number(msText));
    yield { table: 'disk', batch: fedBatch(schema, at * rows, rows, 2 + (at % 3)) };
    if (at === 20) process.stdout.write('20 batches\n');
  }
}

const sampler = new FedSampler([fedTable('disk', schema)], endless());
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
  }));
  process.stdout.write(
    `${JSON.stringify({ code, message, fix, status, end, error: manifest.error, read, sizes, taken: sampler.taken })}\n`,
  );
  process.exitCode = 1;
}
