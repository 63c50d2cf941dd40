// The process is killed before, in and after every call that changes a GPU, while applying, while undoing and while
// recovering, with and without a reboot behind it: what recover leaves is the GPU as it was, never between.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { power } from '#lib/mitigate/power';
import { applyPower } from '#lib/mitigate/power/apply';
import type { PowerTarget } from '#lib/mitigate/power/plan';
import { encodeLine, listJournals } from '#lib/mitigate/transaction/journal';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { SimulatedPower } from './simulated-power.js';

const CHILD = fileURLToPath(new URL('../../children/power-change.js', import.meta.url));
const MOMENTS = ['die_before', 'die_effect', 'die_after'] as const;
const WANTED = JSON.stringify({
  powerLimitW: 400,
  smClockMhz: { min: 345, max: 1200 },
  persistence: false,
});
const MUTATIONS = 3;
/** As found by value; whether by a request or by nobody's makes no difference to anybody. */
const BEFORE = /^limit (as found|600) persistence (as found|on) sm - memory -$/;
const GONE = 'limit as found persistence as found sm - memory -';

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

test('killed at every change of power and clocks', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower(
    'nvml.power_limit = 600000\nnvml.power_limit_enforced = 600000',
  );
  const begin = machine.snapshot();
  const apply = ['undo', WANTED, '{"guardian":false}'] as const;
  assert.equal(await run(...apply), 'done');
  assert.equal(machine.mutations().length, 2 * MUTATIONS, 'no more calls than the difference');
  assert.match(machine.held(), BEFORE);

  /** Recovers in this process, twice. */
  const recovered = async (): Promise<string> => {
    machine.write();
    for (const { outcome, error } of await power.recover({ patienceMs: 0 })) {
      assert.ok(outcome === 'undone' || outcome === 'void', `${outcome}: ${error?.message}`);
    }
    machine.forgetCalls();
    assert.deepEqual(await power.recover({ patienceMs: 0 }), [], 'nothing is left to do');
    assert.deepEqual(machine.mutations(), []);
    await power.status(); // the driver notices a reboot when it is asked
    return machine.held();
  };

  let points = 0;
  // The first half is applied, the second undone.
  for (let call = 1; call <= 2 * MUTATIONS; call++) {
    for (const moment of MOMENTS) {
      const where = `${moment} ${call}`;
      begin();
      machine.write(`nvml.${moment} = ${call}`);
      // After the last call nothing of the driver is called before the end, but by reading back.
      assert.equal(await run(...apply), 'SIGKILL', where);
      points++;
      const crashed = machine.snapshot();
      assert.match(await recovered(), BEFORE, where);
      crashed();
      machine.reboot();
      points++;
      assert.equal(await recovered(), GONE, `${where}, reboot`);
      // The crash that leaves most to undo, killed again while recovering.
      if (moment !== 'die_effect' || call !== MUTATIONS) continue;
      for (let again = 1; again <= MUTATIONS; again++) {
        for (const second of MOMENTS) {
          crashed();
          machine.write(`nvml.${second} = ${again}`);
          assert.equal(await run('recover'), 'SIGKILL', `${where}, recovering ${second} ${again}`);
          points++;
          assert.match(await recovered(), BEFORE, `${where}, recovering ${second} ${again}`);
        }
      }
    }
  }
  process.stderr.write(`power: the process was killed at ${points} points\n`);
  assert.ok(points >= 3 * 2 * MUTATIONS);
});

/** Makes the journals say that a process that is gone wrote them. */
function killOwner(stateDir: string): void {
  for (const path of listJournals(stateDir)) {
    const [first = '', ...others] = readFileSync(path, 'utf8').split('\n');
    if (others.length === 0) continue; // the first line is not whole
    const { crc, ...header } = JSON.parse(first) as { crc: string };
    writeFileSync(path, encodeLine({ ...header, pidStart: 1 }) + others.join('\n'));
  }
}

test(
  'cut at every write and fsync of the journal, of apply, undo and recover',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower(
      'nvml.power_limit = 600000\nnvml.power_limit_enforced = 600000',
    );
    const snapshots: { readonly step: string; readonly restore: () => void }[] = [];
    const onStep = (step: string): void => {
      snapshots.push({ step: `${snapshots.length} ${step}`, restore: machine.snapshot() });
    };
    const plan = await power.plan(JSON.parse(WANTED) as PowerTarget);
    const change = await applyPower(plan, { guardian: false, onStep });
    const applied = snapshots.at(-1);
    await change.undo();
    assert.match(machine.held(), BEFORE);

    // What recover itself writes, of the change as a whole.
    applied?.restore();
    killOwner(machine.stateDir);
    await power.recover({ patienceMs: 0, onStep });

    for (const { step, restore } of snapshots) {
      for (const reboot of [false, true]) {
        restore();
        killOwner(machine.stateDir);
        if (reboot) machine.reboot();
        for (const { outcome, error } of await power.recover({ patienceMs: 0 })) {
          assert.ok(outcome === 'undone' || outcome === 'void', `${step}: ${error?.message}`);
        }
        assert.deepEqual(await power.recover({ patienceMs: 0 }), [], step);
        await power.status();
        assert.match(machine.held(), reboot ? new RegExp(`^${GONE}$`) : BEFORE, step);
      }
    }
    process.stderr.write(`power: the journal was cut at ${snapshots.length} points\n`);
    // Header, lease, intent and done of each call, the last line: before and after the write, and after the fsync.
    assert.ok(snapshots.length >= 3 * (2 + 4 * MUTATIONS + 1), `${snapshots.length}`);
  },
);

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
