import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doctor } from 'warpgauge';

test('all probes together take less than 100 ms', async () => {
  // The best of five: what else runs on this machine can only add to it.
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const { probes } = await doctor();
    best = Math.min(
      best,
      probes.reduce((sum, probe) => sum + probe.duration_ns, 0),
    );
  }
  assert.ok(best < 100e6, `${best / 1e6} ms`);
});
