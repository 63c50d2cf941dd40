import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { monitor } from 'warpgauge';
import { utcOffsetNs } from '#lib/clock';

describe('the clock of all times', () => {
  it('is UTC, and goes on', () => {
    // Date.now() is cut to whole milliseconds; the offset is kept while NTP slews the realtime clock.
    const before = BigInt(Date.now()) * 1_000_000n;
    const first = monitor.now();
    const second = monitor.now();
    const after = BigInt(Date.now() + 1) * 1_000_000n;
    const tolerance = 50_000_000n;
    assert.ok(
      first > before - tolerance && second < after + tolerance,
      `${before} ${first} ${after}`,
    );
    assert.ok(second > first);
  });

  it('has one offset in all threads of a process', async () => {
    const program = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { utcOffsetNs } = await import(workerData);
      parentPort.postMessage(utcOffsetNs());`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), {
      workerData: import.meta.resolve('#lib/clock'),
    });
    const [offset] = (await once(worker, 'message')) as [bigint];
    assert.equal(offset, utcOffsetNs());
  });
});
