// The process is killed before, in and after every call that changes a GPU, while applying and while recovering, with
// and without a reboot behind it: what recover leaves is the GPU as it was or as it was to be, never between.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mig } from '#lib/mitigate/mig';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { type Given, SimulatedMig } from './simulated-mig.js';

const CHILD = fileURLToPath(new URL('../../children/mig-change.js', import.meta.url));
const MOMENTS = ['die_before', 'die_effect', 'die_after'] as const;

export interface Scenario {
  readonly name: string;
  readonly given: Given;
  readonly want: Record<string, number>;
  readonly enabled: boolean;
  /** States as `now()` tells them: before, after, and both behind a reboot. */
  readonly before: string;
  readonly after: string;
  readonly rebooted: readonly string[];
  readonly mutations: number;
}

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

/** Kills, recovers and judges at every point of one scenario; a test file of its own for each, because it takes a while. */
export function sweep(scenario: Scenario): void {
  let points = 0;

  test(`killed at every change: ${scenario.name}`, NEEDS_FAKE, async () => {
    using machine = new SimulatedMig(scenario.given);
    const begin = machine.snapshot();
    const apply = ['apply', JSON.stringify(scenario.want), String(scenario.enabled)] as const;
    const { before, after: end, rebooted } = scenario;

    assert.equal(machine.now(), before);
    assert.equal(await run(...apply), 'done');
    assert.equal(machine.now(), end);
    assert.equal(
      machine.mutations().length,
      scenario.mutations,
      'no more changes than the difference',
    );

    /** Recovers in this process, twice, and says what became of the GPU. */
    const recovered = async (): Promise<string> => {
      machine.write();
      for (const { outcome, error } of await mig.recover({ patienceMs: 0 })) {
        assert.ok(outcome === 'undone' || outcome === 'void', `${outcome}: ${error?.message}`);
      }
      machine.forgetCalls();
      assert.deepEqual(await mig.recover({ patienceMs: 0 }), [], 'nothing is left to do');
      assert.deepEqual(machine.mutations(), []);
      await mig.status(); // the driver notices a reboot when it is asked
      return machine.now();
    };

    for (let call = 1; call <= scenario.mutations; call++) {
      for (const moment of MOMENTS) {
        begin();
        machine.write(`nvml.${moment} = ${call}`);
        assert.equal(await run(...apply), 'SIGKILL', `${moment} ${call}`);
        points++;
        const crashed = machine.snapshot();
        assert.ok([before, end].includes(await recovered()), `${moment} ${call}: ${machine.now()}`);

        crashed();
        machine.reboot();
        points++;
        assert.ok(
          rebooted.includes(await recovered()),
          `${moment} ${call}, reboot: ${machine.now()}`,
        );
        // The two crashes that leave most to undo.
        if (moment !== 'die_effect' || call < scenario.mutations - 1) continue;

        // Killed again while recovering, at every change that recovering makes.
        for (let again = 1, died = true; died; again++) {
          for (const second of MOMENTS) {
            crashed();
            machine.write(`nvml.${second} = ${again}`);
            const outcome = await run('recover');
            died = outcome === 'SIGKILL';
            if (!died) {
              assert.equal(outcome, 'done');
              break;
            }
            points++;
            const inRecovery = machine.snapshot();
            const where = `${moment} ${call}, recovering ${second} ${again}`;
            assert.ok([before, end].includes(await recovered()), `${where}: ${machine.now()}`);
            if (second !== 'die_effect') continue;
            inRecovery();
            machine.reboot();
            points++;
            assert.ok(rebooted.includes(await recovered()), `${where}, reboot: ${machine.now()}`);
          }
        }
      }
    }
    process.stderr.write(`mig: the process was killed at ${points} points: ${scenario.name}\n`);
    assert.ok(points >= 3 * scenario.mutations);
  });
}
