import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cgroupFolders } from '#lib/host/cgroup';
import { pools } from '#lib/mitigate/pools';
import { cannotReserve, free, GB, guardPools, MB2, persistent, setPool } from './real-pools.js';

const CHILD = fileURLToPath(new URL('../children/reserve-pages.js', import.meta.url));
const stateDir = guardPools(MB2, GB);
const skip = cannotReserve();

const more = (count: number, pageBytes = MB2) => [{ pageBytes, count: free(pageBytes) + count }];

test('8 more 2 MiB pages are free and touched, and exactly they go back', { skip }, async () => {
  const before = persistent();
  const wasFree = free();
  const held = await pools.reserve({ pages: more(8), stateDir });
  assert.deepEqual(held.grown, [{ pageBytes: MB2, node: null, pages: 8 }]);
  assert.deepEqual([persistent(), free()], [before + 8, wasFree + 8]);
  const status = await pools.status({ stateDir });
  assert.deepEqual(
    status.reservations.map(({ state, outstanding }) => [state, outstanding]),
    [['held', [...held.grown]]],
  );
  const { returned } = await held.release();
  assert.deepEqual(returned, held.grown);
  assert.deepEqual([persistent(), free()], [before, wasFree]);
  assert.deepEqual((await pools.status({ stateDir })).reservations, []);
});

test('one 1 GiB page on node 0', { skip: skip || cannotReserve(GB) }, async (t) => {
  const before = persistent(GB);
  const pages = more(1, GB).map((request) => ({ ...request, node: 0 }));
  const { refusal } = await pools.plan({ pages });
  if (refusal !== null) return t.skip(refusal.message);
  {
    await using held = await pools.reserve({ pages, stateDir });
    assert.deepEqual(held.grown, [{ pageBytes: GB, node: 0, pages: 1 }]);
    assert.equal(persistent(GB), before + 1);
  }
  assert.equal(persistent(GB), before);
});

test('a 1 GiB page is split into 2 MiB pages, and put together again', {
  skip: skip || cannotReserve(GB),
}, async (t) => {
  const before = [persistent(), persistent(GB)];
  const one = await pools
    .reserve({ pages: more(1, GB), stateDir, guardian: false })
    .catch(() => null);
  if (one === null) return t.skip('this machine has no contiguous GiB now');
  await one.commit();
  t.after(() => pools.release({ stateDir }));
  const held = await pools.reserve({ pages: more(8), demote: true, touch: false, stateDir });
  assert.deepEqual(held.split, [{ pageBytes: GB, node: null, pages: 1 }]);
  assert.deepEqual(held.grown, []);
  assert.deepEqual([persistent(), persistent(GB)], [(before[0] as number) + 512, before[1]]);
  const { returned, remaining } = await held.release();
  assert.deepEqual([returned, remaining], [[{ pageBytes: MB2, node: null, pages: 512 }], []]);
  assert.deepEqual([persistent(), persistent(GB)], [before[0], (before[1] as number) + 1]);
  // The same, and its holder is killed: the guardian puts it together again.
  const child = spawn(process.execPath, [CHILD, stateDir, '8', '0', 'guarded', 'demote'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) if (line === 'held') break;
  assert.deepEqual([persistent(), persistent(GB)], [(before[0] as number) + 512, before[1]]);
  child.kill('SIGKILL');
  for (let n = 0; n < 400 && persistent(GB) === before[1]; n++) await sleep(5);
  assert.deepEqual([persistent(), persistent(GB)], [before[0], (before[1] as number) + 1]);
  await pools.release({ stateDir });
  assert.deepEqual([persistent(), persistent(GB)], before);
});

test('four pages that somebody else adds meanwhile stay', { skip }, async (t) => {
  const before = persistent();
  t.after(() => setPool(before));
  const held = await pools.reserve({ pages: more(8), stateDir });
  setPool(before + 12);
  await held.release();
  assert.equal(persistent(), before + 4);
});

test('a pool that somebody else empties meanwhile: nothing below it is written', {
  skip,
}, async (t) => {
  const before = persistent();
  t.after(() => setPool(before));
  const held = await pools.reserve({ pages: more(8), stateDir });
  setPool(Math.max(0, before - 2));
  const { returned } = await held.release();
  assert.ok(persistent() >= 0);
  assert.equal(persistent() + (returned[0]?.pages ?? 0), Math.max(0, before - 2));
});

test('kill -9 at every boundary: recover brings the pool back, a second one does nothing', {
  skip,
}, async () => {
  const before = persistent();
  const killedAt: string[] = [];
  for (let killAt = 1; ; killAt++) {
    const child = spawnSync(process.execPath, [CHILD, stateDir, '8', `${killAt}`], {
      encoding: 'utf8',
    });
    if (child.signal === null) {
      assert.equal(child.status, 0, child.stderr);
      break;
    }
    assert.equal(child.signal, 'SIGKILL');
    const last = child.stdout.trim().split('\n').at(-1) ?? '';
    killedAt.push(last.slice(last.indexOf(' ') + 1));
    const report = await pools.recover({ stateDir });
    assert.equal(persistent(), before, `killed at ${last}`);
    assert.equal(report.complete, true);
    assert.deepEqual((await pools.recover({ stateDir })).journals, [], `killed at ${last}`);
    assert.ok(killAt < 100, 'the child always ends itself');
  }
  for (const boundary of [
    'journal:before-header',
    'journal:before-intent',
    'journal:after-intent',
    'pool:before-write',
    'pool:after-write',
    'journal:written-done',
    'journal:after-done',
    'pool:before-touch',
    'pool:touched',
    'journal:before-rolledback',
  ]) {
    assert.ok(killedAt.includes(boundary), `${boundary} was never reached`);
  }
  assert.equal(persistent(), before);
});

test('the second reserver is told who holds the pools; kill -9 frees them', { skip }, async (t) => {
  const before = persistent();
  const request = more(8);
  const child = spawn(process.execPath, [CHILD, stateDir, '8', '0', 'hold'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) if (line === 'held') break;
  await assert.rejects(pools.reserve({ pages: request, stateDir }), (error: Error) => {
    assert.equal((error as Error & { code: string }).code, 'ERR_LOCKED');
    assert.match(error.message, new RegExp(`pid ${child.pid} \\(.*reserve-pages\\.js`));
    return true;
  });
  assert.equal((await pools.recover({ stateDir })).journals[0]?.outcome, 'untouched');
  assert.equal(persistent(), before + 8);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const held = await pools.reserve({ pages: request, stateDir });
  assert.match(
    held.notes.join(),
    new RegExp(`Undid what pid ${child.pid} had left: give back 8 x 2 MiB pages`),
  );
  assert.equal(persistent(), before + 8);
  await held.release();
  assert.equal(persistent(), before);
});

/** A cgroup of our own with hugetlb limits, or why there can be none. */
function hugetlbGroup(t: TestContext): { dir: string } | { why: string } {
  const found = cgroupFolders('hugetlb');
  if (found?.version !== 2) return { why: 'no cgroup v2 hierarchy has the hugetlb controller' };
  const top = found.folders.at(-1) as string;
  const control = join(top, 'cgroup.subtree_control');
  const dir = join(top, `warpgauge-test-${process.pid}`);
  try {
    const had = readFileSync(control, 'utf8').split(/\s+/).includes('hugetlb');
    if (!had) writeFileSync(control, '+hugetlb');
    t.after(() => {
      if (existsSync(dir)) rmdirSync(dir);
      if (!had) writeFileSync(control, '-hugetlb');
    });
    mkdirSync(dir);
  } catch (error) {
    return { why: `${control}: ${(error as Error).message}` };
  }
  return { dir };
}

test('the limits of a real cgroup are read, and refuse before anything is written', {
  skip,
}, async (t) => {
  const group = hugetlbGroup(t);
  if ('why' in group) return t.skip(group.why);
  const before = persistent();
  const inside = (code: string) =>
    spawnSync(
      'sh',
      [
        '-c',
        `echo $$ > ${group.dir}/cgroup.procs && exec "$0" --input-type=module -e "$1"`,
        process.execPath,
        code,
      ],
      { encoding: 'utf8' },
    );
  const library = new URL('../../../../dist/mitigate/pools.js', import.meta.url).href;
  for (const [file, code] of [
    ['hugetlb.2MB.max', 'ERR_CGROUP_HUGETLB_MAX'],
    ['hugetlb.2MB.rsvd.max', 'ERR_CGROUP_HUGETLB_RSVD_MAX'],
  ] as const) {
    writeFileSync(`${group.dir}/${file}`, `${2 * MB2}`);
    const { stdout, stderr } = inside(`
      import { pools } from '${library}';
      const { cgroup_hugetlb } = await pools.status({ stateDir: '${stateDir}' });
      const error = await pools.reserve({
        pages: [{ pageBytes: ${MB2}, count: ${free() + 8} }], stateDir: '${stateDir}',
      }).catch((caught) => caught);
      console.log(JSON.stringify({ limits: cgroup_hugetlb, code: error.code, fix: error.fix }));
    `);
    const said = JSON.parse(stdout || `"${stderr}"`) as {
      limits: { file: string; bytes: number | null }[];
      code: string;
      fix: string;
    };
    const path: string = `${group.dir}/${file}`;
    assert.equal(said.limits.find((limit) => limit.file === path)?.bytes, 2 * MB2);
    assert.deepEqual([said.code, said.fix], [code, `sudo sh -c 'echo max > ${path}'`]);
    writeFileSync(path, 'max');
  }
  assert.equal(persistent(), before);
});
