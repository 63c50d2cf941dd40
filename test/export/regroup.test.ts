import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordBatch } from 'warpgauge/arrow';
import { csvText, isoTimes } from '#lib/export/csv';
import { regroup } from '#lib/export/regroup';
import { fileNames } from '#lib/export/targets';
import { richBatch, richSchema } from './recordings.js';

test('batches of any size become pieces of one size with the same rows', async () => {
  const schema = richSchema();
  for (const sizes of [[10], [1, 1, 1], [40, 0, 3, 200, 1], [16, 16, 16], []]) {
    for (const rows of [1, 7, 16, 1000]) {
      const total = sizes.reduce((sum, size) => sum + size, 0);
      async function* batches(): AsyncGenerator<RecordBatch> {
        let from = 0;
        for (const size of sizes) {
          yield richBatch(schema, from, size);
          from += size;
        }
      }
      const pieces: RecordBatch[] = [];
      for await (const piece of regroup(schema, batches(), rows)) pieces.push(piece);
      assert.deepEqual(
        pieces.map(({ numRows }) => numRows),
        Array.from({ length: Math.ceil(total / rows) }, (_, at) =>
          Math.min(rows, total - at * rows),
        ),
      );
      const u32 = pieces.flatMap((piece) => Array.from(piece.getChild('u32') ?? []));
      assert.deepEqual(
        u32,
        Array.from({ length: total }, (_, n) => 4_294_967_295 - n),
      );
    }
  }
});

test('times keep all nine digits, before and after 1970', () => {
  const iso = isoTimes();
  assert.equal(iso(1_700_000_000_123_456_789n), '2023-11-14T22:13:20.123456789Z');
  assert.equal(iso(1_700_000_001_000_000_000n), '2023-11-14T22:13:21.000000000Z');
  assert.equal(iso(0n), '1970-01-01T00:00:00.000000000Z');
  assert.equal(iso(-1n), '1969-12-31T23:59:59.999999999Z');
});

test('texts are quoted where RFC 4180 needs it, and the empty text is not a null', () => {
  assert.deepEqual(['a', '', 'a,b', 'a"b', 'a\nb', 'a b'].map(csvText), [
    'a',
    '""',
    '"a,b"',
    '"a""b"',
    '"a\nb"',
    'a b',
  ]);
});

test('a table of several files has them numbered so that names sort', () => {
  assert.deepEqual(fileNames('perf@2', 'parquet', 0), ['perf@2.parquet']);
  assert.deepEqual(fileNames('gpu.pcie', 'csv', 1), ['gpu.pcie.csv']);
  assert.deepEqual(fileNames('a', 'parquet', 2), ['a-00001.parquet', 'a-00002.parquet']);
});
