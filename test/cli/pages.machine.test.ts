import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cannotReserve, free, guardPools, MB2, persistent } from '../mitigate/real-pools.js';

const MAIN = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));
const stateDir = guardPools(MB2);
const skip = cannotReserve();
const env = { ...process.env, WARPGAUGE_STATE_DIR: stateDir };
const more = (count: number): string => `2m=${free() + count}`;

function pages(...args: string[]) {
  return spawnSync(process.execPath, [MAIN, 'pages', ...args], { encoding: 'utf8', env });
}

/** `pages reserve --hold` that has its pages. */
async function holder(
  t: TestContext,
  ...options: string[]
): Promise<ChildProcessWithoutNullStreams> {
  const args = ['pages', 'reserve', '--hold', '--pages', more(8), ...options];
  const child = spawn(process.execPath, [MAIN, ...args], { env });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  for await (const chunk of child.stderr) {
    said += chunk;
    if (said.includes('until Ctrl-C')) return child;
  }
  throw new Error(`ended without holding: ${said}`);
}

test('reserve leaves the pages, release gives back just those', { skip }, () => {
  const before = persistent();
  const reserve = pages('reserve', '--pages', more(8), '--json');
  assert.equal(reserve.status, 0, reserve.stderr);
  const { held, grown, guardian } = JSON.parse(reserve.stdout) as {
    held: boolean;
    grown: object[];
    guardian: { pid: number | null };
  };
  assert.deepEqual([held, grown], [false, [{ page_bytes: 2 ** 21, node: null, pages: 8 }]]);
  assert.equal(guardian.pid, null);
  assert.equal(persistent(), before + 8);
  assert.match(pages('status').stdout, /committed +\d+ +8 x 2 MiB pages/);
  assert.equal(pages('recover').status, 0);
  assert.equal(persistent(), before + 8);
  const release = pages('release');
  assert.equal(release.status, 0, release.stderr);
  assert.match(release.stdout, /gave back 8 x 2 MiB pages/);
  assert.equal(persistent(), before);
  assert.match(pages('release').stdout, /^nothing to release/);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} during --hold: the pages go back, exit 130`, { skip }, async (t) => {
    const before = persistent();
    const child = await holder(t);
    assert.equal(persistent(), before + 8);
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(code, 130);
    assert.equal(persistent(), before);
    assert.match(pages('recover').stdout, /^nothing to recover/);
  });
}

test('while pages are held a second reserve is exit 1 and names the holder', {
  skip,
}, async (t) => {
  const before = persistent();
  const child = await holder(t, '--no-guardian');
  const second = pages('reserve', '--pages', more(8));
  assert.equal(second.status, 1);
  assert.match(second.stderr, new RegExp(`pid ${child.pid} \\(.*pages reserve --hold.*ERR_LOCKED`));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(persistent(), before + 8);
  const recovered = pages('recover');
  assert.equal(recovered.status, 0);
  assert.match(recovered.stdout, new RegExp(`pid ${child.pid}; gave back 8 x 2 MiB pages`));
  assert.equal(persistent(), before);
});

async function until(what: string, timeoutMs: number, holds: () => boolean): Promise<number> {
  const begin = performance.now();
  while (!holds()) {
    const passed = performance.now() - begin;
    assert.ok(passed < timeoutMs, `${what}: not within ${timeoutMs} ms`);
    await sleep(5);
  }
  return performance.now() - begin;
}

test('kill -9 during --hold: the guardian gives the pages back within 2 s', { skip }, async (t) => {
  const before = persistent();
  const child = await holder(t);
  child.kill('SIGKILL');
  const ms = await until('the pool is as before', 2000, () => persistent() === before);
  t.diagnostic(`${ms.toFixed(0)} ms after the kill`);
  assert.match(pages('recover').stdout, /^nothing to recover/);
});

test('--ttl: held pages go back after it with exit 0, committed ones by the guardian', {
  skip,
}, async () => {
  const before = persistent();
  const held = pages('reserve', '--pages', more(8), '--hold', '--ttl', '300ms');
  assert.equal(held.status, 0, held.stderr);
  assert.match(held.stderr, /gave back 8 x 2 MiB pages/);
  assert.equal(persistent(), before);
  const left = pages('reserve', '--pages', more(8), '--ttl', '700ms', '--json');
  assert.equal(persistent(), before + 8);
  const { expires } = JSON.parse(left.stdout) as { expires: string };
  await until('the time is over', 5000, () => persistent() === before);
  assert.ok(Date.now() >= Date.parse(expires) - 50, 'not before its time');
  const again = pages('reserve', '--pages', more(8), '--ttl', '200ms', '--no-guardian');
  assert.match(again.stderr, /no guardian/);
  await sleep(300);
  assert.equal(persistent(), before + 8);
  assert.match(pages('status').stdout, /expired +\d+ +8 x 2 MiB pages/);
  assert.equal(pages('recover').status, 0);
  assert.equal(persistent(), before);
});

const nobody = process.getuid?.() === 0 ? false : 'only root can become nobody';

test('unprivileged: status and plan work, reserve is ERR_PERMISSION with the command', {
  skip: nobody,
}, () => {
  const before = persistent();
  const unprivileged = (...args: string[]) =>
    spawnSync(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        process.execPath,
        MAIN,
        'pages',
        ...args,
      ],
      { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: '/nonexistent' } },
    );
  assert.equal(unprivileged('status').status, 0);
  const count = more(8);
  const plan = unprivileged('plan', '--pages', count, '--json');
  assert.equal(plan.status, 1);
  const { refusal } = JSON.parse(plan.stdout) as { refusal: { code: string; fix: string } };
  const command = `sudo sh -c 'echo ${before + 8} > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'`;
  assert.deepEqual([refusal.code, refusal.fix], ['ERR_PERMISSION', command]);
  const reserve = unprivileged('reserve', '--pages', count);
  assert.equal(reserve.status, 1);
  assert.ok(reserve.stderr.includes('ERR_PERMISSION'), reserve.stderr);
  assert.ok(reserve.stderr.includes(`fix: ${command}\n`), reserve.stderr);
  assert.match(unprivileged('recover').stdout, /^nothing to recover/);
  assert.equal(persistent(), before);
});
