import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { monitor } from 'warpgauge';
import { StepReader } from '#lib/monitor/recording/step-series';
import { recordTables } from '../export/recordings.js';
import { madeBatches, madeTable, START } from '../view/made-tables.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-steps-'));
after(() => rm(root, { recursive: true, force: true }));

test('counters become rates, gauges hold, windows lie before their row, and what is not known is a gap', async () => {
  const dir = join(root, 'run');
  const none = null;
  const cell = (values: readonly (number | null)[]) => (n: number) => values[n] ?? null;
  const table = madeTable(
    'made',
    'sample',
    6,
    [
      { name: 'time', type: 'time', value: (n) => (n === 5 ? 8e9 : n * 1e9) },
      // Beyond 2^53, where a double has no single counts; null once, and reset once.
      {
        name: 'count',
        type: 'u64',
        kind: 'counter',
        unit: 'bytes',
        value: cell([2 ** 60, 2 ** 60 + 256, none, 2 ** 60 + 1024, 0, 512]),
      },
      { name: 'level', type: 'f64', kind: 'gauge', unit: 'W', value: cell([1, 2, none, 4, 4, 5]) },
      { name: 'window_ns', type: 'u64', kind: 'gauge', unit: 'ns', value: () => 1e9 },
      {
        name: 'read_bytes',
        type: 'u64',
        kind: 'gauge',
        unit: 'bytes',
        window: 'window_ns',
        value: cell([10, 20, none, 40, 50, 60]),
      },
    ],
    1000,
  );
  await recordTables(dir, [table.info], madeBatches([table], 4));
  const recording = await monitor.openRecording(dir);
  const described = recording.tables.find(({ name }) => name === 'made');
  assert.ok(described !== undefined);
  const steps: Record<string, (number | string)[][]> = {};
  const reader = new StepReader(
    described,
    START,
    (name) => name !== 'window_ns',
    (series, at, value) => {
      const name = `${series.column} ${series.unit}`;
      steps[name] = [...(steps[name] ?? []), [at / 1e9, Number.isNaN(value) ? 'gap' : value]];
    },
  );
  for await (const batch of recording.batches('made')) reader.read(batch);
  reader.end();
  assert.deepEqual(steps, {
    'count bytes/s': [
      [0, 256],
      [1, 384],
      [3, 'gap'],
      [4, 128],
      [8, 'gap'],
    ],
    'level W': [
      [0, 1],
      [1, 2],
      [2, 'gap'],
      [3, 4],
      [4, 4],
      [8, 5],
      [9, 'gap'],
    ],
    // Between 4 s and 7 s no window was recorded.
    'read_bytes bytes/s': [
      [-1, 10],
      [0, 20],
      [1, 'gap'],
      [2, 40],
      [3, 50],
      [4, 'gap'],
      [7, 60],
      [8, 'gap'],
    ],
  });
});
