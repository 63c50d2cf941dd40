import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MachineLock } from '#lib/mitigate/lock';

const CHILD = fileURLToPath(new URL('../children/hold-lock.js', import.meta.url));
// Another root means another machine: these tests never meet the lock of the real pools.
const root = `/simulated-${process.pid}`;

async function holder(
  t: TestContext,
  name: string,
): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [CHILD, name, root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [said] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, said };
}

test('the second taker of one process is refused until the first is done', async () => {
  const first = await MachineLock.acquire('test', { root });
  await assert.rejects(MachineLock.acquire('test', { root }), (error: Error) => {
    assert.equal((error as Error & { code: string }).code, 'ERR_LOCKED');
    assert.match(error.message, new RegExp(`pid ${process.pid} `));
    return true;
  });
  await first.release();
  await first.release();
  await using _second = await MachineLock.acquire('test', { root });
});

test('another process is named by pid and command line, also while it is stopped', async (t) => {
  const { child, said } = await holder(t, 'named');
  assert.equal(said, 'held');
  child.kill('SIGSTOP');
  await assert.rejects(MachineLock.acquire('named', { root }), (error: Error) => {
    assert.match(error.message, new RegExp(`pid ${child.pid} \\(.*hold-lock\\.js named`));
    assert.equal((error as Error & { fix: string }).fix, `kill ${child.pid}`);
    return true;
  });
  await using _other = await MachineLock.acquire('unrelated', { root });
});

test('kill -9 of the holder frees the lock: there is no stale lock to take over', async (t) => {
  const { child } = await holder(t, 'killed');
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using _lock = await MachineLock.acquire('killed', { root });
});

test('of many at the same moment exactly one gets it', async (t) => {
  const all = await Promise.all(Array.from({ length: 8 }, () => holder(t, 'crowd')));
  assert.deepEqual(all.map(({ said }) => said).sort(), [...Array(7).fill('ERR_LOCKED'), 'held']);
});

test('workers of a cluster do not share it', async () => {
  const child = fileURLToPath(new URL('../children/lock-in-cluster.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [child, root], {
    timeout: 30_000,
  });
  assert.equal(stdout, 'ERR_LOCKED,held\n');
});
