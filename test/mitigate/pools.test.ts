import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { processStart } from '#lib/host/process';
import { planReserve } from '#lib/mitigate/pool-plan';
import { reservePages } from '#lib/mitigate/pool-reserve';
import { parsePoolFile, poolFile, readPoolStatus } from '#lib/mitigate/pool-status';
import { listJournals, readJournal } from '#lib/mitigate/transaction/journal';
import { writeJournal } from './journal-file.js';
import { SimulatedPools } from './simulated-pools.js';

const MB2 = 2 ** 21;
const GB = 2 ** 30;
const internals = (pools: SimulatedPools) => ({ write: pools.write, patienceMs: 60 });
const at = ({ root, stateDir }: SimulatedPools) => ({
  root,
  stateDir,
  touch: false,
  guardian: false,
});
const want = (count: number, node?: number) => [
  { pageBytes: MB2, count, ...(node === undefined ? {} : { node }) },
];

function oneNode(t: TestContext, total: number, free: number, spare = 1000): SimulatedPools {
  return new SimulatedPools(t, { nodes: [{ total, free, surplus: 0 }], spare });
}

const code = (error: unknown): string => (error as { code: string }).code;

test('files of pools: there and back', () => {
  for (const node of [undefined, 0, 12]) {
    assert.deepEqual(parsePoolFile(poolFile(MB2, node)), { pageBytes: MB2, node: node ?? null });
  }
  assert.equal(parsePoolFile('/proc/meminfo'), null);
});

test('a plan adds only what is missing: promised pages are not free', (t) => {
  const pools = oneNode(t, 20, 12);
  pools.reserved = 5;
  pools.flush();
  const [step] = planReserve({ pages: want(10), root: pools.root }).steps;
  assert.deepEqual([step?.available, step?.growth, step?.from, step?.to], [7, 3, 20, 23]);
  assert.equal(step?.command, `sudo sh -c 'echo 23 > ${pools.file()}'`);
  assert.equal(planReserve({ pages: want(7), root: pools.root }).growthBytes, 0);
  assert.deepEqual(pools.writes, []);
});

test('pages from overcommit are not counted on, and surplus ones are not part of the size to write', (t) => {
  const pools = new SimulatedPools(t, { nodes: [{ total: 10, free: 0, surplus: 4 }], spare: 100 });
  pools.overcommit = 50;
  pools.flush();
  const [step] = planReserve({ pages: want(8), root: pools.root }).steps;
  assert.deepEqual([step?.available, step?.from, step?.to], [0, 6, 14]);
  const [entry] = readPoolStatus(pools.root).pools;
  assert.deepEqual([entry?.persistent, entry?.guaranteed, entry?.available], [6, 0, 46]);
});

test('reserve grows, release takes its own pages and leaves those of others', async (t) => {
  const pools = oneNode(t, 10, 0);
  const held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  assert.deepEqual(held.grown, [{ pageBytes: MB2, node: null, pages: 8 }]);
  assert.equal(pools.sum('total'), 18);
  // Somebody else adds four pages meanwhile.
  await pools.write(pools.file(), '22');
  const report = await held.release();
  assert.deepEqual(report, {
    returned: [{ pageBytes: MB2, node: null, pages: 8 }],
    remaining: [],
    gone: [],
  });
  assert.equal(pools.sum('total'), 14);
  assert.deepEqual(await held.release(), report);
  assert.equal(pools.sum('total'), 14);
});

test('pages that others took out of the pool are gone, and later ones are not ours', async (t) => {
  const pools = oneNode(t, 0, 0);
  const held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  await pools.write(pools.file(), '3');
  (pools.nodes[0] as { free: number }).free = 1;
  pools.flush();
  const first = await held.release();
  assert.deepEqual(
    [first.returned[0]?.pages, first.remaining[0]?.pages, first.gone[0]?.pages],
    [1, 2, 5],
  );
  Object.assign(pools.nodes[0] as object, { total: 22, free: 22 });
  pools.flush();
  const second = await held.release();
  assert.deepEqual([second.returned[0]?.pages, second.remaining, second.gone], [2, [], []]);
  assert.equal(pools.sum('total'), 20);
});

test('pages in use are waited for, then left and reported; a later release takes them', async (t) => {
  const pools = oneNode(t, 0, 0);
  const held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  (pools.nodes[0] as { free: number }).free = 2;
  pools.flush();
  const first = await held.release();
  assert.deepEqual([first.returned[0]?.pages, first.remaining[0]?.pages], [2, 6]);
  assert.deepEqual(pools.nodes[0], { total: 6, free: 0, surplus: 0 });
  setTimeout(() => {
    (pools.nodes[0] as { free: number }).free = 6;
    pools.flush();
  }, 20);
  const second = await held.release();
  assert.deepEqual([second.returned[0]?.pages, second.remaining.length], [6, 0]);
  assert.equal(pools.sum('total'), 0);
});

test('pages that are free but promised, or needed beside surplus ones, are not taken', async (t) => {
  const pools = oneNode(t, 0, 0);
  const held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  // Others mapped 3 pages without touching them, and overcommit made 2 more that are in use.
  pools.reserved = 3;
  Object.assign(pools.nodes[0] as object, { total: 10, free: 8, surplus: 2 });
  pools.flush();
  const first = await held.release();
  assert.deepEqual([first.returned[0]?.pages, first.remaining[0]?.pages], [3, 5]);
  assert.deepEqual(pools.nodes[0], { total: 7, free: 5, surplus: 2 });
  pools.reserved = 0;
  Object.assign(pools.nodes[0] as object, { total: 5, free: 5, surplus: 0 });
  pools.flush();
  assert.equal((await held.release()).returned[0]?.pages, 5);
});

test('a pool that stays short: compacted once, given back, ERR_NO_MEMORY with the numbers', async (t) => {
  const pools = oneNode(t, 2, 0, 5);
  await assert.rejects(
    reservePages({ ...at(pools), pages: want(8) }, internals(pools)),
    (error: Error) => {
      assert.equal(code(error), 'ERR_NO_MEMORY');
      assert.match(error.message, /made 5 of 8 more 2 MiB pages, also after compaction/);
      return true;
    },
  );
  assert.equal(pools.sum('total'), 2);
  const compactions = pools.writes.filter((line) => line.startsWith('/proc/sys/vm/compact_memory'));
  assert.equal(compactions.length, 1);
  const [path = ''] = listJournals(pools.stateDir, 'pools');
  assert.equal(readJournal(path).entries.at(-1)?.type, 'rolledback');
});

test('a pool that is short until memory is compacted is no error', async (t) => {
  const pools = oneNode(t, 0, 0, 5);
  pools.compactable = 3;
  await using held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  assert.equal(pools.sum('free'), 8);
  assert.equal(held.grown[0]?.pages, 8);
});

test('a node has its own file, and the pages of the other node do not count', async (t) => {
  const pools = new SimulatedPools(t, {
    nodes: [
      { total: 64, free: 64, surplus: 0 },
      { total: 1, free: 1, surplus: 0 },
    ],
    spare: 100,
  });
  const held = await reservePages({ ...at(pools), pages: want(5, 1) }, internals(pools));
  assert.deepEqual(held.grown, [{ pageBytes: MB2, node: 1, pages: 4 }]);
  assert.deepEqual(pools.writes, [`${pools.file(1)}=5`]);
  assert.equal(pools.nodes[0]?.total, 64);
  await held.release();
  assert.deepEqual(pools.writes.at(-1), `${pools.file(1)}=1`);
  // Promised pages may all lie on node 1: then none of its free ones can be counted on.
  pools.reserved = 3;
  pools.flush();
  const [step] = planReserve({ pages: want(5, 1), root: pools.root }).steps;
  assert.deepEqual([step?.available, step?.growth], [0, 5]);
});

test('one size fails after another grew: both are given back', async (t) => {
  const pools = oneNode(t, 0, 0, 6);
  const big = '/sys/kernel/mm/hugepages/hugepages-1048576kB';
  for (const name of ['nr', 'free', 'resv', 'surplus', 'nr_overcommit']) {
    pools.put(`${big}/${name}_hugepages`, '0\n');
  }
  const pages = [...want(6), { pageBytes: GB, count: 1 }];
  const failed = reservePages({ ...at(pools), pages }, internals(pools));
  await assert.rejects(failed, { code: 'ERR_NO_MEMORY' });
  assert.equal(pools.sum('total'), 0);
});

test('an abort between two steps gives back and says ERR_INTERRUPTED', async (t) => {
  const pools = oneNode(t, 0, 0);
  const abort = new AbortController();
  const onStep = (step: string) => step === 'pool:after-write' && abort.abort();
  await assert.rejects(
    reservePages(
      { ...at(pools), pages: want(4), signal: abort.signal },
      { ...internals(pools), onStep: (step) => void onStep(step) },
    ),
    { code: 'ERR_INTERRUPTED' },
  );
  assert.equal(pools.sum('total'), 0);
});

test('commit leaves the pages and ends the reservation', async (t) => {
  const pools = oneNode(t, 0, 0);
  const held = await reservePages({ ...at(pools), pages: want(4) }, internals(pools));
  await held.commit();
  await held[Symbol.asyncDispose]();
  assert.equal(pools.sum('total'), 4);
  await assert.rejects(held.release(), { code: 'ERR_CLOSED' });
  await assert.rejects(held.commit(), { code: 'ERR_CLOSED' });
});

test('nothing missing: nothing is written or journalled, but the pages are ours until release', async (t) => {
  const pools = oneNode(t, 8, 8);
  const held = await reservePages({ ...at(pools), pages: want(8) }, internals(pools));
  assert.deepEqual([held.id, held.grown, pools.writes], [null, [], []]);
  assert.deepEqual(listJournals(pools.stateDir, 'pools'), []);
  await assert.rejects(reservePages({ ...at(pools), pages: want(1) }, internals(pools)), {
    code: 'ERR_LOCKED',
  });
  assert.deepEqual(await held.release(), { returned: [], remaining: [], gone: [] });
});

test('the limit is min(4 GiB, 25 % of available memory), or what the caller says', async (t) => {
  const small = new SimulatedPools(t, {
    nodes: [{ total: 0, free: 0, surplus: 0 }],
    spare: 1e6,
    availableKb: 8 * 1024 * 1024,
  });
  const quarter = planReserve({ pages: want(1024), root: small.root });
  assert.deepEqual([quarter.limitBytes, quarter.refusal], [2 * GB, null]);
  assert.equal(
    planReserve({ pages: want(1025), root: small.root }).refusal?.code,
    'ERR_RESERVE_LIMIT',
  );
  const asked = planReserve({ pages: want(1025), root: small.root, limitBytes: 3 * GB });
  assert.equal(asked.refusal, null);
  const more = planReserve({ pages: want(4097), root: small.root, limitBytes: 100 * GB });
  assert.equal(more.refusal?.code, 'ERR_NO_MEMORY');
  const large = oneNode(t, 0, 0);
  assert.equal(planReserve({ pages: want(1), root: large.root }).limitBytes, 4 * GB);
  await assert.rejects(reservePages({ ...at(large), pages: want(2049) }, internals(large)), {
    code: 'ERR_RESERVE_LIMIT',
  });
  assert.deepEqual(large.writes, []);
});

test('memory that cannot be read is none that may be taken', (t) => {
  const pools = oneNode(t, 0, 0);
  pools.put('/proc/meminfo', '');
  const plan = planReserve({ pages: want(1), root: pools.root });
  assert.deepEqual([plan.limitBytes, plan.refusal?.code], [0, 'ERR_RESERVE_LIMIT']);
});

test('a cgroup limit refuses before anything is written, with its file and the command', (t) => {
  const pools = oneNode(t, 0, 0);
  const own = '/sys/fs/cgroup/job';
  pools.put('/proc/self/mountinfo', '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n');
  pools.put('/proc/self/cgroup', '0::/job\n');
  pools.put('/sys/fs/cgroup/cgroup.controllers', 'hugetlb\n');
  pools.put(`${own}/hugetlb.2MB.max`, `${4 * MB2}\n`);
  pools.put(`${own}/hugetlb.2MB.current`, `${MB2}\n`);
  pools.put(`${own}/hugetlb.2MB.rsvd.max`, 'max\n');
  assert.equal(planReserve({ pages: want(3), root: pools.root }).refusal, null);
  const touch = planReserve({ pages: want(4), root: pools.root }).refusal;
  assert.equal(touch?.code, 'ERR_CGROUP_HUGETLB_MAX');
  assert.equal(touch?.fix, `sudo sh -c 'echo max > ${own}/hugetlb.2MB.max'`);
  pools.put(`${own}/hugetlb.2MB.max`, 'max\n');
  pools.put(`${own}/hugetlb.2MB.rsvd.max`, `${MB2}\n`);
  const mmap = planReserve({ pages: want(4), root: pools.root }).refusal;
  assert.equal(mmap?.code, 'ERR_CGROUP_HUGETLB_RSVD_MAX');
});

test('requests that no state of the machine could grant', (t) => {
  const { root } = oneNode(t, 0, 0);
  const refused = (pages: unknown, expected: string): void =>
    assert.throws(() => planReserve({ pages: pages as never, root }), { code: expected });
  for (const pages of [
    [],
    null,
    want(0),
    want(-1),
    want(1.5),
    want(Number.NaN),
    want(1, -1),
    [{ pageBytes: '2m', count: 1 }],
    [...want(1), ...want(2)],
    [...want(1), ...want(2, 0)],
    [...want(1, 0), ...want(2)],
    [...want(1, 0), ...want(2, 0)],
  ]) {
    refused(pages, 'ERR_INVALID_ARGUMENT');
  }
  refused([{ pageBytes: GB, count: 1 }], 'ERR_PAGE_KIND_UNSUPPORTED');
  refused(want(1, 7), 'ERR_NUMA_NODE');
  assert.throws(() => planReserve({ pages: want(1), root, limitBytes: -1 }), {
    code: 'ERR_INVALID_ARGUMENT',
  });
});

test('a write that the system refuses is an error with the knob and the command', async (t) => {
  const pools = oneNode(t, 0, 0);
  const refuse = (errno: string, number: number) => ({
    write: async () => {
      throw Object.assign(new Error(errno), { code: errno, errno: -number });
    },
  });
  await assert.rejects(
    reservePages({ ...at(pools), pages: want(4) }, refuse('EACCES', 13)),
    (error: Error & { code: string; fix: string; status: number }) => {
      assert.deepEqual([error.code, error.status], ['ERR_PERMISSION', 13]);
      assert.equal(error.fix, `sudo sh -c 'echo 4 > ${pools.file()}'`);
      return true;
    },
  );
  await assert.rejects(reservePages({ ...at(pools), pages: want(4) }, refuse('EINVAL', 22)), {
    code: 'ERR_SYSCALL',
    status: 22,
  });
});

test('a journal that cannot be written stops before the pool is touched', async (t) => {
  const pools = oneNode(t, 0, 0);
  writeFileSync(join(pools.root, 'file'), '');
  const broken = { ...at(pools), stateDir: join(pools.root, 'file'), pages: want(4) };
  await assert.rejects(reservePages(broken, internals(pools)), { code: 'ERR_JOURNAL' });
  assert.deepEqual(pools.writes, []);
});

test('a journal that was damaged while held is not acted upon; the lock goes with the process', async (t) => {
  const pools = oneNode(t, 0, 0);
  const held = await reservePages({ ...at(pools), pages: want(4) }, internals(pools));
  const [path = ''] = listJournals(pools.stateDir, 'pools');
  const sound = readFileSync(path);
  appendFileSync(path, 'rubbish\n');
  await assert.rejects(held.release(), { code: 'ERR_JOURNAL' });
  assert.equal(pools.sum('total'), 4);
  writeFileSync(path, sound);
  assert.equal((await held.release()).returned[0]?.pages, 4);
});

test('a process is known by its start time', () => {
  assert.ok((processStart(process.pid) ?? 0) > 0);
  assert.equal(processStart(2 ** 22 + 1), null);
});

test('what was given back stays on record, and a machine that reserves daily does not fill up', async (t) => {
  const pools = oneNode(t, 0, 0);
  for (let n = 0; n < 103; n++) writeJournal(pools, [{ type: 'rolledback', reason: 'test' }]);
  const held = await reservePages({ ...at(pools), pages: want(1) }, internals(pools));
  await held.release();
  const kept = listJournals(pools.stateDir, 'pools');
  assert.equal(kept.length, 101);
  assert.equal(readJournal(kept.at(-1) as string).header?.id, held.id);
});
