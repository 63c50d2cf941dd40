import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CONTENT_BYTES, DeviceLock, readIntent } from '#lib/mitigate/transaction/lock';

const CHILD = fileURLToPath(new URL('../../children/hold-lock.js', import.meta.url));
// Another root means another machine: these tests never meet the locks of the real one.
const root = mkdtempSync(join(tmpdir(), 'warpgauge-lock-'));
after(() => rmSync(root, { recursive: true, force: true }));
const take = (device: string) => DeviceLock.acquire(device, 'a test', { root });

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
  const first = take('test');
  assert.throws(
    () => take('test'),
    (error: Error) => {
      assert.equal((error as Error & { code: string }).code, 'ERR_LOCKED');
      assert.match(error.message, new RegExp(`pid ${process.pid} `));
      return true;
    },
  );
  first.release();
  first.release();
  take('test').release();
});

test('another process is named by pid and command line, also while it is stopped', async (t) => {
  const { child, said } = await holder(t, 'named');
  assert.equal(said, 'held');
  const { pid, intent } = readIntent('named', { root }) ?? {};
  assert.deepEqual([pid, intent], [child.pid, 'test']);
  child.kill('SIGSTOP');
  assert.throws(
    () => take('named'),
    (error: Error) => {
      assert.match(error.message, new RegExp(`pid ${child.pid} \\(.*hold-lock\\.js named`));
      assert.equal((error as Error & { fix: string }).fix, `kill ${child.pid}`);
      return true;
    },
  );
  take('unrelated').release();
});

test('kill -9 of the holder frees the lock: there is no stale lock to take over', async (t) => {
  const { child } = await holder(t, 'killed');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(readIntent('killed', { root }), null);
  take('killed').release();
});

test('of many at the same moment exactly one gets it', async (t) => {
  const all = await Promise.all(Array.from({ length: 8 }, () => holder(t, 'crowd')));
  assert.deepEqual(all.map(({ said }) => said).sort(), [...Array(7).fill('ERR_LOCKED'), 'held']);
});

test('workers of a cluster do not share it', async () => {
  const child = fileURLToPath(new URL('../../children/lock-in-cluster.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [child, root], {
    timeout: 30_000,
  });
  assert.equal(stdout, 'ERR_LOCKED,held\n');
});

test('the intent is there while the lock is held, always of one length, however long its text', () => {
  const file = join(root, 'run/warpgauge/intent.lock');
  const lock = take('intent');
  assert.equal(readIntent('intent', { root })?.intent, 'a test');
  for (const text of ['x'.repeat(2000), 'ä"\\\n'.repeat(400), '']) {
    lock.announce(text);
    assert.equal(readFileSync(file).length, CONTENT_BYTES);
    const told = readIntent('intent', { root })?.intent;
    assert.ok(told !== undefined && text.startsWith(told), told);
  }
  lock.release();
  assert.equal(readIntent('intent', { root }), null);
  assert.equal(readFileSync(file).length, CONTENT_BYTES);
  assert.throws(() => lock.announce('late'), { code: 'ERR_CLOSED' });
});

const asRoot = process.getuid?.() === 0;

test('a lock folder that cannot be made is an error with the fix', { skip: !asRoot }, () => {
  assert.throws(() => DeviceLock.acquire('x', '', { root: '/dev/null' }), {
    code: 'ERR_SYSCALL',
    fix: 'mkdir -p -m 755 /dev/null/run/warpgauge',
  });
});
