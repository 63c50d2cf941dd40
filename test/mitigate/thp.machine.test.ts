import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { thp } from '#lib/mitigate/thp';
import { Guardian } from '../guardian.js';
import { SimulatedMachine } from './transaction/crash-points.js';

const MAIN = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));
const FILE = '/sys/kernel/mm/transparent_hugepage/enabled';
const chosen = (): string => /\[(.*)\]/.exec(readFileSync(FILE, 'utf8'))?.[1] ?? '';
const skip = (() => {
  try {
    accessSync(FILE, constants.W_OK);
    return false;
  } catch (error) {
    return `${FILE} cannot be written: ${(error as NodeJS.ErrnoException).code}`;
  }
})();

test('the real policy: set, read back, put back; kept until release', { skip }, async (t) => {
  const { root, stateDir: _ } = new SimulatedMachine(t);
  const stateDir = `${root}/real-state`;
  const guard = Guardian.start(t);
  const before = chosen();
  guard.set(FILE, before);
  const other = before === 'never' ? 'madvise' : 'never';
  {
    await using change = await thp.set({ settings: { enabled: other }, stateDir });
    assert.deepEqual([chosen(), change.guardian.reason], [other, null]);
    assert.equal((await thp.status({ stateDir })).changes[0]?.state, 'held');
  }
  assert.equal(chosen(), before);
  const kept = await thp.set({ settings: { enabled: other }, stateDir, guardian: false });
  await kept.commit();
  assert.deepEqual(await thp.recover({ stateDir }).then((all) => all[0]?.outcome), 'untouched');
  assert.equal(chosen(), other);
  await thp.release({ stateDir });
  assert.equal(chosen(), before);
  assert.deepEqual((await thp.plan({ enabled: before })).steps, []);
});

test('kill -9 of thp set --hold: the guardian puts the policy back', { skip }, async (t) => {
  const guard = Guardian.start(t);
  const before = chosen();
  guard.set(FILE, before);
  const other = before === 'never' ? 'madvise' : 'never';
  const { root } = new SimulatedMachine(t);
  const env = { ...process.env, WARPGAUGE_STATE_DIR: `${root}/real-state` };
  const child = spawn(process.execPath, [MAIN, 'thp', 'set', '--enabled', other, '--hold'], {
    env,
  });
  let said = '';
  for await (const chunk of child.stderr) {
    said += chunk;
    if (said.includes('until Ctrl-C')) break;
  }
  assert.equal(chosen(), other, said);
  child.kill('SIGKILL');
  for (let n = 0; n < 400 && chosen() !== before; n++) await sleep(5);
  assert.equal(chosen(), before);
});

test('a policy that was set for a time is set by nobody else until then', async (t) => {
  const machine = new SimulatedMachine(t);
  const { root, stateDir } = machine;
  const state = { root, stateDir, guardian: false };
  const leased = await thp.set({ ...state, settings: { enabled: 'always' }, ttlMs: 3_600_000 });
  await leased.commit();
  machine.put(FILE, '[always] madvise never'); // as the kernel shows it
  await assert.rejects(thp.set({ ...state, settings: { enabled: 'never' } }), {
    code: 'ERR_REFUSED',
    message: /set for a time until \d{4}-/,
    fix: /warpgauge thp release/,
  });
  {
    await using other = await thp.set({ ...state, settings: { defrag: 'never' } });
    assert.equal(other.changed.length, 1);
  }
  assert.equal((await thp.release({ root, stateDir }))[0]?.outcome, 'undone');
  assert.equal(machine.state(), '10 1 madvise madvise never');
});

test('words that the kernel does not take, and kernels without the file', async (t) => {
  const machine = new SimulatedMachine(t);
  const { root, stateDir } = machine;
  await assert.rejects(thp.set({ settings: { enabled: 'maybe' }, root, stateDir }), {
    code: 'ERR_INVALID_ARGUMENT',
  });
  await assert.rejects(thp.plan({ other: 'x' } as never, { root }), {
    code: 'ERR_INVALID_ARGUMENT',
  });
  await assert.rejects(thp.plan({ enabled: 'never' }, { root: '/nonexistent' }), {
    code: 'ERR_UNAVAILABLE',
  });
  const { steps } = await thp.plan({ enabled: 'always', defrag: 'madvise' }, { root });
  assert.deepEqual(
    steps.map(({ setting, from, to }) => [setting, from, to]),
    [['enabled', 'madvise', 'always']],
  );
});
