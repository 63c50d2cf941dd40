import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addStats, encodeFrame, FrameReader } from '#lib/monitor/isolated-frames';
import type { TableStats } from '#lib/monitor/types';

function pieces(bytes: Buffer, size: number): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) all.push(bytes.subarray(at, at + size));
  return all;
}

test('frames come back whole however the pipe cuts them', () => {
  const sent = [
    { header: { kind: 'ready', utcOffsetNs: '17' } as const, payload: new Uint8Array() },
    {
      header: {
        kind: 'batch',
        source: 'gpu',
        table: 'gpu.pcie',
        dropped: { batches: 0, rows: 0 },
      } as const,
      payload: new Uint8Array(300).map((_, index) => index),
    },
    { header: { kind: 'states', states: [] } as const, payload: new Uint8Array([7]) },
  ];
  const bytes = Buffer.concat(sent.flatMap(({ header, payload }) => encodeFrame(header, payload)));
  for (const size of [1, 3, 7, 8, 9, 64, 1000]) {
    const reader = new FrameReader();
    assert.deepEqual(
      pieces(bytes, size).flatMap((piece) => reader.push(piece)),
      sent,
      `pieces of ${size}`,
    );
  }
});

test('a payload can be read as 64-bit numbers, wherever it stood in the stream', () => {
  const reader = new FrameReader();
  const payload = new Uint8Array(new BigInt64Array([5n, -6n]).buffer);
  const header = { kind: 'ready', utcOffsetNs: 'odd' } as const;
  const [frame] = reader.push(Buffer.concat(encodeFrame(header, payload)));
  assert(frame !== undefined);
  assert.deepEqual([...new BigInt64Array(frame.payload.buffer)], [5n, -6n]);
});

test('bytes of somebody else in the pipe are refused, not waited for', () => {
  assert.throws(() => new FrameReader().push(Buffer.from('NVRM: something happened\n')));
});

test('counts of helpers that followed each other add up', () => {
  const stats: TableStats = {
    table: 'gpu',
    rows: 10,
    ticks: 5,
    missed: 1,
    droppedBatches: 2,
    droppedRows: 3,
    intervalMs: 10,
    costs: [
      {
        name: 'tick',
        calls: 5,
        p50Ns: 1,
        p99Ns: 2,
        maxNs: 3,
        totalNs: 6,
        histogram: [{ upToNs: 2, calls: 5 }],
      },
    ],
  };
  const both = addStats(stats, { ...stats, rows: 1 });
  assert.equal(both.rows, 11);
  assert.equal(both.ticks, 10);
  assert.equal(both.missed, 2);
  assert.equal(both.droppedRows, 6);
  assert.equal(both.costs[0]?.calls, 10);
  assert.equal(both.costs[0]?.totalNs, 12);
  assert.deepEqual(both.costs[0]?.histogram, [{ upToNs: 2, calls: 10 }]);
  assert.deepEqual(addStats(undefined, stats), stats);
});
