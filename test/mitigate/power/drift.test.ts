// Settings that somebody else, or the driver, takes away after they were made.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { WarpgaugeError } from '#lib/errors';
import { power } from '#lib/mitigate/power';
import type { PowerDrift } from '#lib/mitigate/power/drift';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { SimulatedPower } from './simulated-power.js';

const CHILD = fileURLToPath(new URL('../../children/power-change.js', import.meta.url));
const INTERVAL_MS = 20;

/** Waits for the next drift; the test's own time limit ends it. */
async function next(drifts: PowerDrift[]): Promise<PowerDrift> {
  while (drifts.length === 0) await sleep(5);
  return drifts.shift() as PowerDrift;
}

test('each drift is told once, and again when it changes', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const target = { powerLimitW: 400, persistence: false, smClockMhz: { min: 345, max: 1200 } };
  const change = await (await power.plan(target)).apply({ guardian: false });
  const drifts: PowerDrift[] = [];
  change.onDrift((drift) => drifts.push(drift), { intervalMs: INTERVAL_MS });
  assert.deepEqual(await change.drift(), []);

  machine.interfere({ limitW: 350, persistence: false, sm: [345, 1200] });
  const limit = await next(drifts);
  assert.deepEqual(
    [limit.setting, limit.expected, limit.found, limit.reason],
    ['power_limit', '400 W', '350 W', 'another program has set it'],
  );
  machine.interfere({ limitW: 700, persistence: false });
  const both = [await next(drifts), await next(drifts)];
  assert.deepEqual(
    both.map(({ setting, found }) => [setting, found]),
    [
      ['power_limit', '700 W'],
      ['sm_clock', '1980 MHz'],
    ],
  );
  assert.match(both[0]?.reason ?? '', /default is back and persistence is off/);
  await sleep(5 * INTERVAL_MS);
  assert.deepEqual(drifts, [], 'nothing is told twice');

  machine.interfere({ limitW: 400, persistence: true, sm: [345, 1200] });
  const persistence = await next(drifts);
  assert.deepEqual([persistence.setting, persistence.found], ['persistence', 'on']);
  machine.interfere({ limitW: 350, persistence: false, sm: [345, 1200] });
  assert.equal((await next(drifts)).setting, 'power_limit', 'it had been as set meanwhile');

  await change.undo();
  machine.interfere({ limitW: 300 });
  await sleep(5 * INTERVAL_MS);
  assert.deepEqual(drifts, [], 'nothing is watched after undo');
});

test('a GPU that is gone is told too, and the watch goes on', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const change = await (await power.plan({ powerLimitW: 400 })).apply({ guardian: false });
  const drifts: PowerDrift[] = [];
  const stop = change.onDrift((drift) => drifts.push(drift), { intervalMs: INTERVAL_MS });
  machine.write('nvml.gone = 1');
  const gone = await next(drifts);
  assert.equal(gone.found, null);
  assert.match(gone.reason, /driver/i);
  machine.write();
  machine.interfere({ limitW: 350 });
  assert.equal((await next(drifts)).found, '350 W');
  stop();
  assert.throws(
    () => change.onDrift(() => {}, { intervalMs: 0 }),
    (error: WarpgaugeError) => error.code === 'ERR_INVALID_ARGUMENT',
  );
  await change.undo();
});

test('what a listener throws is told as its own, and the watch goes on', NEEDS_FAKE, async (t) => {
  using machine = new SimulatedPower();
  const child = spawn(process.execPath, [CHILD, 'watch', '{"powerLimitW":400}', '{}'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? 'null');
  assert.deepEqual(await said(), { watching: true });
  machine.interfere({ limitW: 350 });
  assert.deepEqual([await said(), await said()], [{ found: '350 W' }, { uncaught: 'not 350 W' }]);
  machine.interfere({ limitW: 300 });
  assert.deepEqual([await said(), await said()], [{ found: '300 W' }, { uncaught: 'not 300 W' }]);
});
