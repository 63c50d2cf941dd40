import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type ErrorRecord, mitigate, WarpgaugeError } from 'warpgauge';
import { Guardian, poolUse } from '../guardian.js';
import { allocateInChild, MADV_POPULATE_WRITE, MADVISE, refuseCall } from './allocating-child.js';

const { allocate } = mitigate;
const MB2 = 2 ** 21;
const isRoot = process.getuid?.() === 0;
const thpFolder = '/sys/kernel/mm/transparent_hugepage';

/** Grown pools, or null with the test skipped. */
function grow(t: TestContext, ...pools: readonly (readonly [number, number])[]): Guardian | null {
  if (!isRoot) {
    t.skip('reserving hugetlb pages needs root');
    return null;
  }
  const guardian = Guardian.start(t);
  for (const [pageKb, pages] of pools) {
    if (!existsSync(`/sys/kernel/mm/hugepages/hugepages-${pageKb}kB`)) {
      t.skip(`no hugetlb pages of ${pageKb} KB here`);
      return null;
    }
    if (!guardian.growPool(pageKb, pages)) {
      t.skip(`the kernel found no ${pages} free pages of ${pageKb} KB`);
      return null;
    }
  }
  return guardian;
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    assert.ok(error instanceof WarpgaugeError, String(error));
    assert.ok(error.fix, error.message);
    return error.code;
  }
};

test('2m: rounding, proof, fault count, private and shared; every page comes back', async (t) => {
  if (!grow(t, [2048, 40])) return;
  const before = poolUse(2048);
  for (const shared of [false, true]) {
    for (const bytes of [1, MB2, MB2 + 1, 33 * MB2]) {
      const region = await allocate({ bytes, pages: '2m', shared });
      const mapped = Math.ceil(bytes / MB2) * MB2;
      assert.equal(region.mappedBytes, mapped);
      assert.equal(region.buffer.byteLength, bytes);
      assert.equal(region.address % BigInt(MB2), 0n);
      assert.deepEqual(region.grantedPages?.bytesByPageSize, { [MB2]: mapped });
      assert.match(region.grantedPages?.method ?? '', /smaps$/);
      const extra = (region.grantedPages?.faults ?? -1) - mapped / MB2;
      assert.ok(extra >= 0 && extra <= 40, `${extra} faults more than pages`);
      region.view(bytes - 1, 1)[0] = 1;
      region.close();
    }
  }
  assert.deepEqual(poolUse(2048), before);
});

test('1g: aligned, proven, private and shared; every page comes back', async (t) => {
  if (!grow(t, [1048576, 1])) return;
  const before = poolUse(1048576);
  for (const shared of [false, true]) {
    const region = await allocate({ bytes: 5 * MB2, pages: '1g', shared });
    assert.equal(region.mappedBytes, 2 ** 30);
    assert.equal(region.address % BigInt(2 ** 30), 0n);
    assert.deepEqual(region.grantedPages?.bytesByPageSize, { [2 ** 30]: 2 ** 30 });
    region.close();
  }
  assert.deepEqual(poolUse(1048576), before);
});

test('a pool that is short: refused before any use, a fallback says why, nothing is lost', async (t) => {
  if (!grow(t, [2048, 8])) return;
  const before = poolUse(2048);
  const spare = before.free - before.reserved;
  const bytes = (spare + 1) * MB2;
  assert.equal(await codeOf(allocate({ bytes, pages: '2m' })), 'ERR_POOL_SHORT');
  assert.equal(await codeOf(allocate({ bytes, pages: '2m', shared: true })), 'ERR_POOL_SHORT');
  const region = await allocate({ bytes, pages: '2m', fallback: ['thp', '4k'] });
  assert.match(region.pages, /^(thp|4k)$/);
  assert.equal(region.fellBackFrom, '2m');
  assert.equal(region.reason?.code, 'ERR_POOL_SHORT');
  region.close();
  assert.deepEqual(poolUse(2048), before);

  // The command in the error is the one that mends it.
  const error = await allocate({ bytes, pages: '2m' }).catch((reason: WarpgaugeError) => reason);
  assert.equal(
    (error as WarpgaugeError).fix,
    `echo ${before.total + 1} | sudo tee /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`,
  );
});

test('without MADV_POPULATE_WRITE hugetlb is unavailable with that reason, not a SIGBUS', (t) => {
  if (!grow(t, [2048, 4])) return;
  const { error } = allocateInChild(
    { bytes: 4 * MB2, pages: '2m' },
    refuseCall(MADVISE, MADV_POPULATE_WRITE),
  );
  assert.equal(error?.code, 'ERR_POPULATE_UNSUPPORTED');
  assert.match(error?.message ?? '', /Linux 5\.14/);
});

test('2m as an ordinary user needs no privilege', (t) => {
  if (!grow(t, [2048, 4])) return;
  const { error, grantedPages } = allocateInChild({ bytes: 4 * MB2, pages: '2m', lock: true }, [
    'setpriv',
    '--reuid=65534',
    '--clear-groups',
  ]);
  assert.equal(error, undefined, error?.message);
  assert.deepEqual(grantedPages?.bytesByPageSize, { [MB2]: 4 * MB2 });
});

/** A cgroup v2 group with the hugetlb controller, or null with the test skipped. */
function makeGroup(t: TestContext, guardian: Guardian): string | null {
  const mount = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' - '))
    .find(([, right = '']) => right.startsWith('cgroup2 '))?.[0]
    ?.split(' ')[4];
  const controllers = mount && join(mount, 'cgroup.controllers');
  if (!mount || !controllers || !/\bhugetlb\b/.test(readFileSync(controllers, 'latin1'))) {
    t.skip('no cgroup v2 hierarchy with the hugetlb controller is mounted here');
    return null;
  }
  const subtree = join(mount, 'cgroup.subtree_control');
  if (!/\bhugetlb\b/.test(readFileSync(subtree, 'latin1'))) {
    guardian.onEnd(`echo -hugetlb > ${subtree}`);
    writeFileSync(subtree, '+hugetlb');
  }
  const group = join(mount, `warpgauge-test-${process.pid}`);
  // A group is busy for a moment after its last process ended.
  guardian.onEnd(`for i in 1 2 3 4 5 6 7 8 9; do rmdir ${group} && break; sleep 0.1; done`);
  mkdirSync(group);
  return group;
}

const insideGroup = (group: string): string[] => [
  '/bin/sh',
  '-c',
  `echo $$ > ${group}/cgroup.procs && exec "$@"`,
  'sh',
];

test('cgroup limits: each has its code and its knob, an empty pool is told apart, never SIGBUS', (t) => {
  const guardian = grow(t, [2048, 16]);
  if (!guardian) return;
  const group = makeGroup(t, guardian);
  if (!group) return;
  const before = poolUse(2048);
  const set = (file: string, value: string) => writeFileSync(join(group, file), value);
  const asked = { bytes: 8 * MB2, pages: '2m' } as const;

  for (const shared of [false, true]) {
    set('hugetlb.2MB.rsvd.max', String(4 * MB2));
    const reservation: ErrorRecord | undefined = allocateInChild(
      { ...asked, shared },
      insideGroup(group),
    ).error;
    assert.equal(reservation?.code, 'ERR_CGROUP_HUGETLB_RSVD_MAX', reservation?.message);
    assert.equal(reservation?.fix, `echo ${8 * MB2} | sudo tee ${group}/hugetlb.2MB.rsvd.max`);

    set('hugetlb.2MB.rsvd.max', 'max');
    set('hugetlb.2MB.max', String(4 * MB2));
    const use: ErrorRecord | undefined = allocateInChild(
      { ...asked, shared },
      insideGroup(group),
    ).error;
    assert.equal(use?.code, 'ERR_CGROUP_HUGETLB_MAX', use?.message);
    assert.match(use?.fix ?? '', /^echo \d+ \| sudo tee .*\/hugetlb\.2MB\.max$/);

    // The limit has refused before, so its counter is not zero: still it is the pool that is short now.
    const short: ErrorRecord | undefined = allocateInChild(
      { bytes: (before.free + 1) * MB2, pages: '2m', shared },
      insideGroup(group),
    ).error;
    assert.equal(short?.code, 'ERR_POOL_SHORT', short?.message);

    set('hugetlb.2MB.max', String(8 * MB2));
    const enough = allocateInChild({ ...asked, shared }, insideGroup(group));
    assert.equal(enough.error, undefined, enough.error?.message);
    assert.deepEqual(enough.grantedPages?.bytesByPageSize, { [MB2]: 8 * MB2 });
    set('hugetlb.2MB.max', 'max');
  }
  assert.deepEqual(poolUse(2048), before);
});

test('THP switched off in sysfs: thp is refused with the file; always leaves 4k at 4 KB', async (t) => {
  if (!isRoot) return t.skip('changing the THP policy needs root');
  const enabled = join(thpFolder, 'enabled');
  if (!existsSync(enabled)) return t.skip('this kernel has no transparent huge pages');
  const size = join(thpFolder, 'hugepages-2048kB/enabled');
  const guardian = Guardian.start(t);
  const expectRefused = async (fix: string) => {
    const error = await allocate({ bytes: MB2, pages: 'thp' }).catch((e: WarpgaugeError) => e);
    assert.ok(error instanceof WarpgaugeError);
    assert.equal(error.code, 'ERR_THP_DISABLED');
    assert.equal(error.fix, fix);
  };

  guardian.set(enabled, 'never');
  await expectRefused(`echo madvise | sudo tee ${enabled}`);
  if (existsSync(size)) {
    // The size of its own may be on while the common switch is off.
    guardian.set(size, 'madvise');
    (await allocate({ bytes: MB2, pages: 'thp' })).close();
    guardian.set(enabled, 'madvise');
    guardian.set(size, 'never');
    await expectRefused(`echo inherit | sudo tee ${size}`);
    guardian.set(size, 'inherit');
  }
  guardian.set(enabled, 'always');
  for (const shared of [false, true]) {
    const region = await allocate({ bytes: 8 * MB2, pages: '4k', shared });
    assert.deepEqual(region.grantedPages?.bytesByPageSize, { 4096: 8 * MB2 });
    region.close();
  }
});

test('what these tests change comes back even if they are killed', async (t) => {
  if (!grow(t, [2048, 1])) return;
  const before = poolUse(2048).total;
  const url = new URL('../guardian.js', import.meta.url).href;
  const code = `const { Guardian, poolUse } = await import('${url}');
    const granted = Guardian.start({ after() {} }).growPool(2048, 2);
    console.log(granted, poolUse(2048).total);
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
  });
  assert.equal(child.signal, 'SIGKILL', child.stderr);
  assert.equal(child.stdout.trim(), `true ${before + 2}`);
  for (let i = 0; i < 100 && poolUse(2048).total !== before; i++) await setTimeout(50);
  assert.equal(poolUse(2048).total, before);
});
