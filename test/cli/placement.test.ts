import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { SimulatedMachine } from '../mitigate/transaction/crash-points.js';
import { whyNotNobody } from '../nobody.js';

const MAIN = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));

function warpgauge(env: Record<string, string>, ...args: string[]) {
  return spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

function check(name: string, text: string): Record<string, unknown> {
  const file = new URL(`../../../../schemas/${name}.schema.json`, import.meta.url);
  const ajv = new Ajv2020({ allErrors: true, validateFormats: false, allowUnionTypes: true });
  const validate = ajv.compile(JSON.parse(readFileSync(file, 'utf8')) as object);
  const document = JSON.parse(text) as Record<string, unknown>;
  assert.equal(validate(document), true, JSON.stringify(validate.errors));
  assert.equal(validate({ ...document, extra: 1 }), false);
  return document;
}

test('thp: status, plan, set, release on a simulated machine, each by its schema', (t) => {
  const machine = new SimulatedMachine(t);
  const env = { WARPGAUGE_ROOT: machine.root, WARPGAUGE_STATE_DIR: machine.stateDir };
  const thp = (...args: string[]) => warpgauge(env, 'thp', ...args);
  const before = machine.state();
  const { steps } = check('thp-1', thp('set', '--enabled', 'always', '--dry-run', '--json').stdout);
  assert.equal((steps as unknown[]).length, 1);
  assert.equal(machine.state(), before);
  check('thp-1', thp('set', '--enabled', 'always', '--defrag', 'never', '--json').stdout);
  assert.equal(machine.state(), '10 1 always never never');
  const { changes } = check('thp-1', thp('status', '--json').stdout);
  assert.equal((changes as { state: string }[])[0]?.state, 'committed');
  check('thp-1', thp('release', '--json').stdout);
  assert.equal(machine.state(), before);
  check('thp-1', thp('recover', '--json').stdout);
  assert.equal(thp('set').status, 2);
});

test('unprivileged: thp plans, refuses before the first change, and says what is missing', {
  skip: whyNotNobody(),
}, (t) => {
  const file = '/sys/kernel/mm/transparent_hugepage/enabled';
  const before = readFileSync(file, 'utf8');
  const other = before.includes('[never]') ? 'madvise' : 'never';
  const as = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, MAIN, 'thp'];
  const thp = (...args: string[]) =>
    spawnSync('setpriv', [...as, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    });
  const plan = thp('set', '--enabled', other, '--dry-run', '--json');
  assert.equal(plan.status, 1);
  const { steps, refusal } = check('thp-1', plan.stdout) as {
    steps: unknown[];
    refusal: { code: string; capability: string };
  };
  assert.deepEqual([steps.length, refusal.code, refusal.capability], [1, 'ERR_PERMISSION', file]);
  const set = thp('set', '--enabled', other);
  assert.equal(set.status, 1);
  assert.ok(set.stderr.includes(`sudo sh -c 'echo ${other} > ${file}'`), set.stderr);
  assert.equal(readFileSync(file, 'utf8'), before);
  t.diagnostic(thp('recover').stdout);
});

test('numa status and run keep to their schemas; run passes codes on', (t) => {
  const machine = new SimulatedMachine(t);
  check('numa-1', warpgauge({}, 'numa', 'status', '--json').stdout);
  const report = join(machine.root, 'run.json');
  const ran = warpgauge(
    {},
    'run',
    '--report',
    report,
    '--',
    'sh',
    '-c',
    'echo out; sleep 0.3; exit 7',
  );
  assert.deepEqual([ran.status, ran.stdout], [7, 'out\n']);
  const document = check('run-1', readFileSync(report, 'utf8'));
  assert.equal(document['code'], 7);
  assert.equal(warpgauge({}, 'run', '--', 'nowhere-to-be-found').status, 127);
  assert.equal(warpgauge({}, 'run', '--', '/etc/passwd').status, 126);
  assert.equal(warpgauge({}, 'run', '--', 'sh', '-c', 'kill -9 $$').status, 137);
  assert.equal(warpgauge({}, 'run', '--node', '63', '--', 'true').status, 125);
});
