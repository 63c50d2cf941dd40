import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { processStart } from '#lib/host/process';
import { reservePages } from '#lib/mitigate/pool-reserve';
import { listReservations, type SettleReport, settleJournals } from '#lib/mitigate/pool-return';
import type { JournalEntry } from '#lib/mitigate/transaction/journal';
import { DeviceLock } from '#lib/mitigate/transaction/lock';
import { writeJournal } from './journal-file.js';
import { SimulatedPools } from './simulated-pools.js';

const MB2 = 2 ** 21;

function machine(t: TestContext, total: number, free = total): SimulatedPools {
  return new SimulatedPools(t, { nodes: [{ total, free, surplus: 0 }], spare: 1000 });
}

const internals = (pools: SimulatedPools) => ({ write: pools.write, patienceMs: 30 });
const recover = (pools: SimulatedPools) => settleJournals('recover', pools, internals(pools));
const release = (pools: SimulatedPools) => settleJournals('release', pools, internals(pools));
async function nothingLeft(report: Promise<SettleReport>): Promise<void> {
  const { journals, complete } = await report;
  assert.deepEqual([journals, complete], [[], true]);
}
const grow = (target: string, prior: number, asked: number, step = 0): JournalEntry => ({
  type: 'intent',
  step,
  op: 'pool.grow',
  target,
  prior,
  asked,
});
const done = (observed: number, step = 0): JournalEntry => ({ type: 'done', step, observed });

test('recover subtracts the growth of a killed process, and a second one does nothing', async (t) => {
  // 3 were there, 8 were added, others added 4 since.
  const pools = machine(t, 15);
  writeJournal(pools, [grow(pools.file(), 3, 8), done(8)]);
  assert.equal(listReservations(pools)[0]?.state, 'abandoned');
  const report = await recover(pools);
  assert.equal(pools.sum('total'), 7);
  assert.deepEqual(
    report.journals.map(({ outcome, returned }) => [outcome, returned[0]?.pages]),
    [['returned', 8]],
  );
  await nothingLeft(recover(pools));
  assert.equal(pools.sum('total'), 7);
});

test('an intent without done is decided by reading: written whole, in part, or not at all', async (t) => {
  for (const [now, expected] of [
    [11, 3],
    [8, 3],
    [3, 3],
    // Smaller than before: others took pages; nothing of ours can be told from that.
    [2, 2],
    // Others added two as well: theirs stay.
    [13, 5],
  ] as const) {
    const pools = machine(t, now);
    writeJournal(pools, [grow(pools.file(), 3, 8)]);
    assert.equal((await recover(pools)).complete, true);
    assert.equal(pools.sum('total'), expected, `from ${now}`);
    await nothingLeft(recover(pools));
  }
});

test('killed while giving back: what was given is not given twice', async (t) => {
  for (const now of [11, 3]) {
    const pools = machine(t, now);
    const shrink = {
      ...grow(pools.file(), 11, 8, 1),
      op: 'pool.shrink',
      undoes: 0,
    } as JournalEntry;
    writeJournal(pools, [grow(pools.file(), 3, 8), done(8), shrink]);
    await recover(pools);
    assert.equal(pools.sum('total'), 3, `from ${now}`);
  }
});

test('a journal of an earlier boot is void: its pages went with that boot', async (t) => {
  const pools = machine(t, 11);
  writeJournal(pools, [grow(pools.file(), 3, 8), done(8)], { bootId: 'another' });
  assert.equal(listReservations(pools)[0]?.state, 'other-boot');
  assert.equal((await recover(pools)).journals[0]?.outcome, 'void');
  assert.equal(pools.sum('total'), 11);
  await nothingLeft(recover(pools));
});

test('a journal whose process lives is not touched, nor one of another pid namespace', async (t) => {
  const pools = machine(t, 19);
  writeJournal(pools, [grow(pools.file(), 3, 8), done(8)], {
    pidStart: processStart(process.pid) as number,
  });
  writeJournal(pools, [grow(pools.file(), 11, 8), done(8)], { pidNamespace: 'pid:[1]' });
  await using _held = DeviceLock.acquire('pools', 'held', { root: pools.root });
  const report = await recover(pools);
  assert.deepEqual(
    report.journals.map(({ state, outcome }) => [state, outcome]),
    [
      ['foreign', 'untouched'],
      ['held', 'untouched'],
    ],
  );
  assert.deepEqual(pools.writes, []);
});

test('committed pages are for release, not for recover', async (t) => {
  const pools = machine(t, 11);
  writeJournal(pools, [grow(pools.file(), 3, 8), done(8), { type: 'commit' }]);
  assert.equal((await recover(pools)).journals[0]?.outcome, 'untouched');
  assert.equal(pools.sum('total'), 11);
  assert.equal((await release(pools)).journals[0]?.outcome, 'returned');
  assert.equal(pools.sum('total'), 3);
  await nothingLeft(release(pools));
});

test('a torn last line counts as not written', async (t) => {
  const pools = machine(t, 11);
  const path = writeJournal(pools, [grow(pools.file(), 3, 8), done(8)]);
  truncateSync(path, readFileSync(path).length - 3);
  assert.equal((await recover(pools)).journals[0]?.returned[0]?.pages, 8);
  assert.equal(pools.sum('total'), 3);
});

test('a journal cut in its first line changed nothing and goes away', async (t) => {
  const pools = machine(t, 11);
  const path = writeJournal(pools, []);
  truncateSync(path, 20);
  assert.equal((await recover(pools)).journals[0]?.outcome, 'void');
  assert.equal(existsSync(path), false);
  assert.equal(pools.sum('total'), 11);
});

test('a corrupt journal is reported with file and line and not acted upon', async (t) => {
  const pools = machine(t, 11);
  const path = writeJournal(pools, [grow(pools.file(), 3, 8), done(8)]);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"asked":8', '"asked":9'));
  const report = await recover(pools);
  assert.equal(report.complete, false);
  assert.equal(report.journals[0]?.error?.code, 'ERR_JOURNAL');
  assert.match(report.journals[0]?.error?.message ?? '', /line 2: wrong checksum/);
  assert.equal(pools.sum('total'), 11);
});

test('pages that are still in use stay recorded and are taken later', async (t) => {
  const pools = machine(t, 11, 6);
  writeJournal(pools, [grow(pools.file(), 3, 8)]);
  const first = await recover(pools);
  assert.deepEqual(
    [first.complete, first.journals[0]?.outcome, first.journals[0]?.remaining[0]?.pages],
    [false, 'partly-returned', 2],
  );
  assert.deepEqual(pools.nodes[0], { total: 5, free: 0, surplus: 0 });
  (pools.nodes[0] as { free: number }).free = 5;
  pools.flush();
  assert.equal((await recover(pools)).complete, true);
  assert.equal(pools.sum('total'), 3);
});

test('reserve first gives back what a killed run left, and says so', async (t) => {
  const pools = machine(t, 11);
  writeJournal(pools, [grow(pools.file(), 3, 8)]);
  const held = await reservePages(
    { ...pools, touch: false, guardian: false, pages: [{ pageBytes: MB2, count: 5 }] },
    internals(pools),
  );
  assert.deepEqual(held.notes, [
    `Undid what pid ${process.pid} had left: give back 8 x 2 MiB pages`,
  ]);
  assert.equal(held.grown[0]?.pages, 2);
  await held.release();
  assert.equal(pools.sum('total'), 3);
});

test('recover waits for nobody: while pages are held by a run it says ERR_LOCKED', async (t) => {
  const pools = machine(t, 11);
  await using _lock = DeviceLock.acquire('pools', 'test', pools);
  await nothingLeft(recover(pools));
  writeJournal(pools, [grow(pools.file(), 3, 8), done(8)]);
  const report = await recover(pools);
  assert.deepEqual([report.complete, report.journals[0]?.error?.code], [false, 'ERR_LOCKED']);
  assert.equal(pools.sum('total'), 11);
});

test('other files in the folder are left alone', async (t) => {
  const pools = machine(t, 11);
  const path = writeJournal(pools, [grow(pools.file(), 3, 8), done(8)]);
  appendFileSync(path.replace('/pools-2026', '/mig-2026'), 'not ours\n');
  assert.equal((await recover(pools)).journals.length, 1);
});
