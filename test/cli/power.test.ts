import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { SimulatedPower } from '../mitigate/power/simulated-power.js';
import { NEEDS_FAKE } from '../monitor/gpu-fake.js';
import { MAIN, type RunResult, warpgauge } from './run.js';

const schema = JSON.parse(
  readFileSync(new URL('../../../../schemas/power-1.schema.json', import.meta.url), 'utf8'),
) as object;
const validate = new Ajv2020({
  allErrors: true,
  validateFormats: false,
  allowUnionTypes: true,
}).compile(schema);

function document<T>({ stdout }: RunResult): T {
  const parsed = JSON.parse(stdout) as T;
  assert.equal(validate(parsed), true, JSON.stringify(validate.errors?.slice(0, 3)));
  return parsed;
}

const run = (...args: string[]): RunResult => {
  const env = Object.entries(process.env).filter(([name]) => name.startsWith('WARPGAUGE_'));
  return warpgauge(['power', ...args], Object.fromEntries(env) as Record<string, string>);
};

test('status, plan and apply, as text and as documents of the schema', NEEDS_FAKE, () => {
  using machine = new SimulatedPower('nvml.power_average = 137000');
  const status = document<{ gpus: { power_limit: { max_w: number } }[] }>(run('status', '--json'));
  assert.equal(status.gpus[0]?.power_limit.max_w, 700);
  assert.match(run('status').stdout, /power limit +700 W \(200 W to 700 W, default 700 W\)/);
  const settings = ['--limit', '400', '--sm-clock', '345,1200', '--persistence', 'off'];
  const plan = document<{ steps: unknown[]; warnings: { code: string }[]; refusal: unknown }>(
    run('plan', ...settings, '--json'),
  );
  assert.equal(plan.steps.length, 3);
  assert.equal(plan.warnings[0]?.code, 'cap_above_draw');
  const text = run('plan', ...settings).stdout;
  assert.match(text, /power limit 700 W -> 400 W\n {4}sudo nvidia-smi -i GPU-\S+ -pl 400/);
  assert.match(text, /SM clock lock unknown -> 345-1200 MHz/);
  assert.match(text, /^note: GPU-.*draws 137 W now/m);

  const without = run('apply', ...settings);
  assert.equal(without.code, 1);
  assert.match(without.stderr, /needs your consent.*\n?.*--yes/);
  assert.deepEqual(machine.mutations(), []);
  document(run('apply', ...settings, '--yes', '--json'));
  assert.equal(machine.held(), 'limit 400 persistence off sm 345-1200 memory -');
  assert.match(run('status').stdout, /committed: pid \d+, 3 settings not put back/);
  assert.match(run('apply', ...settings, '--yes').stdout, /nothing to change/);
  assert.equal(
    document<{ transactions: unknown[] }>(run('recover', '--json')).transactions[0] !== undefined,
    true,
  );
  assert.match(machine.held(), /limit 400 /, 'recover leaves what was meant to stay');
  const released = document<{ transactions: { outcome: string }[] }>(run('release', '--json'));
  assert.equal(released.transactions[0]?.outcome, 'undone');
  assert.equal(machine.held(), 'limit 700 persistence on sm - memory -');
  assert.match(run('release').stdout, /nothing to release/);
});

test('settings of all GPUs at once', NEEDS_FAKE, () => {
  using machine = new SimulatedPower('devices = 2');
  assert.equal(run('plan', '--limit', '400').code, 2, 'which of the two?');
  assert.equal(run('apply', '--gpu', 'all', '--limit', '400', '--yes').code, 0);
  assert.match(machine.held(0), /limit 400 /);
  assert.match(machine.held(1), /limit 400 /);
});

test('--hold until Ctrl-C, and what others change meanwhile is told', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const args = ['power', 'apply', '--limit', '400', '--yes', '--hold', '--no-guardian'];
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: process.env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface({ input: child.stderr })) {
    if (line.startsWith('held by pid')) {
      assert.match(machine.held(), /limit 400 /);
      machine.interfere({ limitW: 350 });
    }
    if (!line.startsWith('drift: ')) continue;
    assert.match(line, /power limit is 350 W, was set to 400 W: another program has set it/);
    break;
  }
  machine.interfere({ limitW: 400 });
  child.kill('SIGINT');
  const [code] = (await once(child, 'exit')) as [number];
  assert.equal(code, 130);
  assert.match(machine.held(), /limit 700 /);
});

test('a bad argument is one line and exit code 2', NEEDS_FAKE, () => {
  using _machine = new SimulatedPower();
  for (const args of [
    ['plan'],
    ['plan', '--limit', '4OO'],
    ['plan', '--limit', '100'],
    ['plan', '--sm-clock', '1200,345'],
    ['plan', '--sm-clock', 'fast'],
    ['plan', '--memory-clock', '2000'],
    ['plan', '--persistence', 'maybe'],
  ]) {
    const { code, stderr } = run(...args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  }
});
