import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { preflight } from '#lib/host/preflight';
import { pool, SERVER, tree } from './tree.js';

const byCheck = (lines: Awaited<ReturnType<typeof preflight>>, check: string) => {
  const found = lines.find((line) => line.check === check);
  assert.ok(found, `no line ${check}`);
  return found;
};

test('all that changes the numbers is looked at', async (t) => {
  const checks = [
    'load',
    'steal',
    'memory',
    'memory.max',
    'hypervisor',
    'page reporting',
    'thp',
    '2m',
    '1g',
    'cgroup hugetlb',
    'memlock',
    'numa',
    'governor',
  ];
  for (const root of ['/', tree(t, SERVER), tree(t, {})]) {
    const lines = await preflight({ root, stealMs: 1 });
    for (const check of checks) byCheck(lines, check);
    for (const line of lines) {
      if (line.level === 'NO') assert.ok(line.effect, line.check);
    }
  }
});

test('load above half of the CPUs this process may use', async (t) => {
  const loaded = { ...SERVER, '/proc/loadavg': '4.50 1.00 1.00 1/500 1\n' };
  const busy = byCheck(await preflight({ root: tree(t, loaded), stealMs: 1 }), 'load');
  assert.equal(busy.level, 'WARN');
  assert.equal(busy.value, '4.50 on 8 CPUs (1 min)');
  const idle = byCheck(await preflight({ root: tree(t, SERVER), stealMs: 1 }), 'load');
  assert.equal(idle.level, 'OK');
});

test('steal is what the hypervisor takes while we look', async (t) => {
  const root = tree(t, SERVER);
  const running = preflight({ root, stealMs: 50 });
  writeFileSync(join(root, '/proc/stat'), 'cpu  110 0 100 1080 0 0 0 15 7 0\n');
  const steal = byCheck(await running, 'steal');
  assert.equal(steal.level, 'WARN');
  assert.equal(steal.value, '10.0 % now');
  assert.ok(steal.effect);
  const quiet = preflight({ root, stealMs: 50 });
  writeFileSync(join(root, '/proc/stat'), 'cpu  120 0 100 1090 0 0 0 15 7 0\n');
  assert.equal(byCheck(await quiet, 'steal').level, 'OK');
});

test('what cannot be read is said, never 0', async (t) => {
  const lines = await preflight({ root: tree(t, {}), stealMs: 1 });
  for (const check of ['load', 'steal', 'memory', 'memlock', 'hypervisor']) {
    assert.equal(byCheck(lines, check).level, 'WARN', check);
    assert.match(byCheck(lines, check).value, /unknown/, check);
  }
});

test('a process without THP, and an empty pool', async (t) => {
  const root = tree(t, {
    ...SERVER,
    ...pool(1048576, { nr: 0, free: 0 }),
    '/proc/self/status': 'THP_enabled:\t0\n',
  });
  const lines = await preflight({ root, stealMs: 1 });
  assert.equal(byCheck(lines, 'thp').level, 'NO');
  assert.equal(byCheck(lines, '1g').level, 'WARN');
  assert.match(byCheck(lines, '1g').fix ?? '', /^echo 1 \| sudo tee/);
});
