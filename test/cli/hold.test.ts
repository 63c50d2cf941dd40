import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { whileHeld } from '#lib/cli/hold';

test('what is held for a time is held for that time, however long, and not for less', async () => {
  // Longer than a timer of Node may be, than a number of 32 bits, and of no whole number of ms.
  for (const ttlMs of [2 ** 31 + 0.5, 2 ** 33]) {
    const interrupt = new AbortController();
    const held = whileHeld(interrupt.signal, { ttlMs, expires: null });
    assert.equal(await Promise.race([held, sleep(30, 'held')]), 'held', `${ttlMs} ms`);
    interrupt.abort();
    assert.equal(await held, true);
    process.exitCode = undefined; // that of an interrupted command
  }
  const begun = performance.now();
  const { signal } = new AbortController();
  assert.equal(await whileHeld(signal, { ttlMs: 20.5, expires: null }), false);
  assert.ok(performance.now() - begun >= 20.5);
});
