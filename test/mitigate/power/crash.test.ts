// The process is killed around every call that changes a GPU and before every call on files and locks, while applying, while
// undoing and while recovering, with and without a reboot behind it: what recover leaves is the GPU as it was, never between.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { power } from '#lib/mitigate/power';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { NEEDS_FORKS, sweep } from '../mig/crash-sweep.js';
import { SimulatedPower } from './simulated-power.js';

const CHILD = fileURLToPath(new URL('../../children/power-change.js', import.meta.url));
const MOMENTS = ['die_before', 'die_effect', 'die_after'] as const;
/** As found by value; whether by a request or by nobody's makes no difference to anybody. */
const BEFORE = /^limit (as found|600) persistence (as found|on) sm - memory -$/;
const GONE = /^limit as found persistence as found sm - memory -$/;

test('killed at every point: a limit, a lock and persistence, set and put back', {
  ...NEEDS_FORKS,
}, async (t) => {
  const done = await sweep({
    machine: () =>
      new SimulatedPower('nvml.power_limit = 600000\nnvml.power_limit_enforced = 600000'),
    request: {
      power: { powerLimitW: 400, smClockMhz: { min: 345, max: 1200 }, persistence: false },
    },
    worst: 3,
  });
  assert.match(done.before, GONE);
  assert.match(done.after, BEFORE);
  assert.equal(done.mutating, 6, 'three changes and their undoing, no more');
  assert.ok(
    done.crashes.length >= 2 * 2 * done.mutating,
    'before and after each change is another',
  );
  for (const { name, state, rebooted, outcomes, again, mutations } of done.crashes) {
    assert.match(state, rebooted ? GONE : BEFORE, name);
    for (const outcome of outcomes) assert.match(outcome, /^(undone|void)$/, name);
    assert.deepEqual([again, mutations], [0, 0], `${name}: a second recover does nothing`);
  }
  const least = 3 * done.mutating + done.fileCalls;
  t.diagnostic(
    `killed at ${done.killed} points, ${done.crashes.length / 2} different remains, each also behind a reboot; ${done.mutating} changes, ${done.fileCalls} calls on files`,
  );
  assert.ok(done.killed >= least, `${done.killed} points are fewer than ${least}`);
});

async function run(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [CHILD, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: process.env,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return signal ?? (code === 0 ? 'done' : `code ${code}: ${stderr}`);
}

test(
  'killed while it puts back a limit that an out-of-band one had lowered',
  NEEDS_FAKE,
  async () => {
    // Not the whole sweep: the two calls that only this case makes.
    using machine = new SimulatedPower('nvml.power_limit_enforced = 500000');
    const begin = machine.snapshot();
    for (const call of [2, 3]) {
      for (const moment of MOMENTS) {
        begin();
        machine.write(`nvml.${moment} = ${call}`);
        const outcome = await run('undo', '{"powerLimitW":400}', '{"guardian":false}');
        assert.equal(outcome, 'SIGKILL', `${moment} ${call}`);
        machine.write();
        const [settled] = await power.recover({ patienceMs: 0 });
        assert.equal(settled?.outcome, 'partly-undone');
        assert.match(
          settled?.blocked[0]?.error.message ?? '',
          /500 W as it was found, but in-band/,
        );
        assert.match(machine.held(), /^limit 500 /, `${moment} ${call}`);
      }
    }
  },
);

test('killed while it puts back a lock of ours that another had replaced', NEEDS_FAKE, async () => {
  // Not the whole sweep: the one call that only this case makes, by the undoing and by a recover that is killed in turn.
  using machine = new SimulatedPower();
  const quick = { guardian: false } as const;
  await (await (await power.plan({ smClockMhz: { min: 345, max: 1200 } })).apply(quick)).commit();
  const kill = async (at: string, ...args: string[]): Promise<void> => {
    machine.write(`nvml.${at}`);
    assert.equal(await run(...args), 'SIGKILL', at);
    machine.write();
  };
  const recovered = async (name: string): Promise<void> => {
    const outcomes = (await power.recover({ patienceMs: 0 })).map(({ outcome }) => outcome);
    assert.deepEqual(outcomes.sort(), ['undone', 'untouched'], name);
    assert.match(machine.held(), / sm 345-1200 /, name);
    machine.forgetCalls();
    await power.recover({ patienceMs: 0 });
    assert.deepEqual(machine.mutations(), [], `${name}: a second recover does nothing`);
  };
  const undo = ['undo', '{"smClockMhz":{"min":345,"max":900}}', '{"guardian":false}'];
  const begin = machine.snapshot();
  for (const moment of MOMENTS) {
    begin();
    await kill(`${moment} = 2`, ...undo);
    await recovered(`undoing, ${moment}`);
  }
  begin();
  await kill('die_effect = 1', ...undo);
  const crashed = machine.snapshot();
  for (const moment of MOMENTS) {
    crashed();
    await kill(`${moment} = 1`, 'recover');
    await recovered(`recovering, ${moment}`);
  }
});
