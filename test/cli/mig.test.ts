import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { type Given, GPU, SimulatedMig } from '../mitigate/mig/simulated-mig.js';
import { NEEDS_FAKE } from '../monitor/gpu-fake.js';
import { type RunResult, warpgauge } from './run.js';

const schema = JSON.parse(
  readFileSync(new URL('../../../../schemas/mig-1.schema.json', import.meta.url), 'utf8'),
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

/** The command line beside a Simulated GPU. */
function machine(given: Given = {}) {
  const mig = new SimulatedMig(given);
  const run = (...args: string[]): RunResult => {
    const env = Object.entries(process.env).filter(([name]) => name.startsWith('WARPGAUGE_'));
    return warpgauge(['mig', ...args], Object.fromEntries(env) as Record<string, string>);
  };
  return { mig, run, [Symbol.dispose]: () => mig[Symbol.dispose]() };
}

test('a plan for a board needs no GPU, and its JSON keeps to the schema', () => {
  const request = '3g.40gb=1,2g.20gb=1,1g.10gb=2';
  const result = warpgauge(['mig', 'plan', '--board', 'H100-80', '--want', request, '--json']);
  assert.deepEqual([result.code, result.stderr], [0, '']);
  const plan = document<{
    feasible: boolean;
    source: { kind: string };
    layout: { profile: string; start: number }[];
  }>(result);
  assert.deepEqual([plan.feasible, plan.source.kind], [true, 'offline']);
  assert.deepEqual(
    plan.layout.map(({ profile, start }) => `${profile}@${start}`),
    ['2g.20gb@0', '1g.10gb@2', '1g.10gb@3', '3g.40gb@4'],
  );
  const text = warpgauge(['mig', 'plan', '--board', 'H100-80', '--want', request]);
  assert.match(text.stdout, /create 3g\.40gb at 4/);
  assert.match(text.stdout, /offline table/);
  document(warpgauge(['mig', 'profiles', '--board', 'B200-180', '--json']));
});

test('what cannot be is exit code 1, with the document on standard output and what is in the way', () => {
  const args = ['mig', 'plan', '--board', 'H100-80', '--want', '3g.40gb=2,1g.10gb=1'];
  const result = warpgauge([...args, '--json']);
  assert.equal(result.code, 1);
  const plan = document<{
    feasible: boolean;
    blocked_by: { kind: string; profile: string; starts: { by: { profile: string }[] }[] }[];
  }>(result);
  assert.equal(plan.feasible, false);
  assert.deepEqual(
    plan.blocked_by.map(({ kind, profile }) => [kind, profile]),
    [['placement', '1g.10gb']],
  );
  assert.ok(plan.blocked_by[0]?.starts.every(({ by }) => by[0]?.profile === '3g.40gb'));
  assert.match(warpgauge(args).stdout, /slice 6: taken by 3g\.40gb at 4 \(also asked for\)/);
});

test('a bad argument is one line and exit code 2', () => {
  for (const args of [
    ['plan', '--board', 'H100-80'],
    ['plan', '--board', 'H300', '--want', 'none'],
    ['plan', '--board', 'H100-80', '--want', '3g.40gb=x'],
    ['plan', '--board', 'H100-80', '--want', '5g.40gb=1'],
    ['plan', '--board', 'H100-80', '--off', '--want', 'none'],
    ['plan', '--file', '/nonexistent.yaml', '--config', 'a'],
    ['plan', '--file', '/nonexistent.yaml'],
    ['export', '--unit'],
    ['unknown'],
  ]) {
    const { code, stderr } = warpgauge(['mig', ...args]);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, /^warpgauge: [^\n]+\n$/, args.join(' '));
  }
});

test('status, apply, assert, export and recover on a Simulated GPU', NEEDS_FAKE, () => {
  using at = machine({ instances: ['19@0:1@0'], script: 'nvml.0.processes = 1:C:1000:20:0' });
  const status = document<{ gpus: { uuid: string; simulated: boolean; instances: object[] }[] }>(
    at.run('status', '--json'),
  );
  assert.deepEqual(
    status.gpus.map(({ uuid, simulated, instances }) => [uuid, simulated, instances.length]),
    [[GPU, true, 1]],
  );
  assert.match(at.run('status').stdout, /1g\.10gb +20 +1c MIG-[0-9a-f-]+ +1 /);
  assert.match(at.run('status').stdout, /free slots: 7g\.80gb=0/);

  const refused = at.run('apply', '--want', '1g.10gb=1,3g.40gb=1');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /needs your consent.*--yes/);
  assert.deepEqual(at.mig.mutations(), []);
  const blocked = at.run('apply', '--want', '4g.40gb=1', '--yes', '--json');
  assert.equal(blocked.code, 1);
  assert.equal(document<{ feasible: boolean }>(blocked).feasible, false);

  const applied = at.run('apply', '--want', '1g.10gb=1,3g.40gb=1', '--yes', '--json');
  assert.equal(applied.code, 0, applied.stderr);
  const { gpus } = document<{ gpus: { cuda_visible_devices: string; changed: boolean }[] }>(
    applied,
  );
  assert.match(gpus[0]?.cuda_visible_devices ?? '', /^MIG-[^,]+,MIG-[^,]+$/);
  assert.equal(at.mig.now(), 'mode 1 19@0:1@0 9@4:3@0');
  assert.match(at.run('export', '--env').stdout, /^CUDA_VISIBLE_DEVICES=MIG-/m);

  const same = at.run('assert', '--want', '1g.10gb=1,3g.40gb=1', '--json');
  assert.deepEqual([same.code, document<{ matches: boolean }>(same).matches], [0, true]);
  const other = at.run('assert', '--want', '1g.10gb=2');
  assert.equal(other.code, 1);
  assert.match(
    other.stdout,
    /wanted MIG on, 2 x 1g\.10gb; found MIG on, 1 x 1g\.10gb, 1 x 3g\.40gb/,
  );
  assert.equal(at.run('assert', '--mode-only').code, 0);
  assert.equal(at.run('assert', '--off', '--mode-only').code, 1);

  const yaml = at.run('export', '--config', 'now').stdout;
  assert.deepEqual(parse(yaml), {
    version: 'v1',
    'mig-configs': {
      now: [{ devices: [0], 'mig-enabled': true, 'mig-devices': { '1g.10gb': 1, '3g.40gb': 1 } }],
    },
  });
  const file = join(at.mig.folder, 'layouts.yaml');
  writeFileSync(file, yaml);
  assert.equal(at.run('assert', '--file', file, '--config', 'now').code, 0);
  const plans = document<{ plans: { steps: object[] }[] }>(
    at.run('plan', '--file', file, '--config', 'now', '--json'),
  );
  assert.deepEqual(plans.plans[0]?.steps, []);

  const unit = at.run('export', '--unit', '--file', file, '--config', 'now').stdout;
  assert.match(unit, /^ExecStart=\S*node \S+main\.js mig apply --file \S+ --config now --yes$/m);
  assert.doesNotMatch(unit, /allow/);
  const recovered = document<{ complete: boolean; transactions: object[] }>(
    at.run('recover', '--json'),
  );
  assert.deepEqual([recovered.complete, recovered.transactions], [true, []]);
});
