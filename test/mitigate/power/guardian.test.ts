// What undoes power settings when their owner cannot: the guardian, which starts `warpgauge power recover`.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { power } from '#lib/mitigate/power';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { SimulatedPower } from './simulated-power.js';

const CHILD = fileURLToPath(new URL('../../children/power-change.js', import.meta.url));
const WANTED = JSON.stringify({ powerLimitW: 400, smClockMhz: { min: 345, max: 1200 } });
/** What a kill may take, by the issue. */
const WITHIN_MS = 2000;

interface Held {
  readonly child: ChildProcess;
  readonly guardian: { readonly pid: number | null; readonly reason: string | null };
  readonly expires: string | null;
}

async function hold(options: object): Promise<Held> {
  const child = spawn(process.execPath, [CHILD, 'hold', WANTED, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: process.env,
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, ...(JSON.parse(line) as Omit<Held, 'child'>) };
}

/** Time until nothing of the change is left, in the driver and in the journals. */
async function untilPutBack(machine: SimulatedPower): Promise<number> {
  const begun = performance.now();
  for (;;) {
    const { changes } = await power.status();
    const waited = performance.now() - begun;
    if (changes.length === 0) {
      assert.match(machine.held(), /^limit 700 persistence as found sm - memory -$/);
      return waited;
    }
    assert.ok(waited < 30_000, `${machine.held()}: ${JSON.stringify(changes)}`);
    await sleep(20);
  }
}

test('killed with -9: the guardian puts all back within two seconds', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const { child, guardian } = await hold({});
  assert.equal(typeof guardian.pid, 'number', guardian.reason ?? '');
  assert.equal(machine.held(), 'limit 400 persistence as found sm 345-1200 memory -');
  child.kill('SIGKILL');
  const tookMs = await untilPutBack(machine);
  process.stderr.write(`power: put back ${Math.round(tookMs)} ms after the kill\n`);
  assert.ok(tookMs < WITHIN_MS, `${tookMs} ms`);
});

test('its time is over while it is stopped: the guardian puts all back', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const { child, expires } = await hold({ ttlMs: 300 });
  assert.equal(typeof expires, 'string');
  child.kill('SIGSTOP');
  await untilPutBack(machine);
  child.kill('SIGKILL');
});

test('without a guardian it is left to recover, and the result says so', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const { child, guardian } = await hold({ guardian: false });
  assert.deepEqual(guardian, { pid: null, reason: 'none was asked for' });
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.deepEqual(
    (await power.status()).changes.map(({ state }) => state),
    ['abandoned'],
  );
  assert.deepEqual(
    (await power.recover()).map(({ outcome }) => outcome),
    ['undone'],
  );
  assert.match(machine.held(), /^limit 700 persistence as found sm - memory -$/);
  assert.deepEqual(await power.recover(), []);
});

test(
  'left for a time beyond its process: the guardian puts all back then',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower();
    const child = spawn(process.execPath, [CHILD, 'commit', WANTED, '{"ttlMs":1000}'], {
      stdio: 'inherit',
      env: process.env,
    });
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0);
    await untilPutBack(machine);
  },
);

test('its time is over: the owner itself puts all back', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const plan = await power.plan({ powerLimitW: 400 });
  const change = await plan.apply({ ttlMs: 150, guardian: false });
  assert.match(change.expires ?? '', /^\d{4}-/);
  while ((await power.status()).changes.length > 0) await sleep(20);
  assert.match(machine.held(), /^limit 700 /);
});
