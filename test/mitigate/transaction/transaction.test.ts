import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readAudit } from '#lib/audit';
import { type BeginOptions, begin } from '#lib/mitigate/transaction/begin';
import { encodeLine, listJournals, readJournal } from '#lib/mitigate/transaction/journal';
import type { PlannedStep } from '#lib/mitigate/transaction/kind';
import { DeviceLock, readIntent } from '#lib/mitigate/transaction/lock';
import { listTransactions, settle } from '#lib/mitigate/transaction/settle';
import { undoJournal } from '#lib/mitigate/transaction/undo';
import { SimulatedDevice } from './simulated-kind.js';

const setTo = (target: string, asked: string, from?: string): PlannedStep => ({
  op: 'device.set',
  target,
  asked,
  ...(from === undefined ? {} : { from }),
});
const make = (target: string): PlannedStep => ({ op: 'part.make', target, asked: null });
const destroy = (target: string): PlannedStep => ({ op: 'part.destroy', target, asked: null });

function apply(device: SimulatedDevice, steps: PlannedStep[], more: Partial<BeginOptions> = {}) {
  const { root, stateDir } = device;
  return begin({
    root,
    stateDir,
    kind: device.kind(),
    locks: ['gpu-b', 'gpu-a'],
    intent: 'change the simulated device',
    prepare: () => steps,
    ...more,
  });
}

const recover = (device: SimulatedDevice, mode: 'recover' | 'release' = 'recover') =>
  settle(mode, { root: device.root, stateDir: device.stateDir, kind: device.kind() });

/** Makes the journals say that a process that is gone wrote them. */
function killOwner(device: SimulatedDevice): void {
  for (const path of listJournals(device.stateDir)) {
    const [first = '', ...others] = readFileSync(path, 'utf8').split('\n');
    const { crc, ...header } = JSON.parse(first) as { crc: string };
    writeFileSync(path, encodeLine({ ...header, pidStart: 1 }) + others.join('\n'));
  }
}

test('steps are taken in order, read back, audited; undo takes them back newest first', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('limit', '600');
  device.put('old', 'made');
  const change = await apply(device, [setTo('limit', '400'), destroy('old'), make('new')]);
  assert.deepEqual(
    [device.get('limit'), device.get('old'), device.get('new')],
    ['400', null, 'made'],
  );
  assert.equal(readIntent('gpu-a', device)?.intent, 'change the simulated device');
  const report = await change.undo();
  assert.deepEqual(report.blocked, []);
  assert.deepEqual(
    [device.get('limit'), device.get('old'), device.get('new')],
    ['600', 'made', null],
  );
  assert.deepEqual(device.calls, [
    'limit=400',
    'old=null',
    'new=made',
    'new=null',
    'old=made',
    'limit=600',
  ]);
  assert.equal(readIntent('gpu-a', device), null);
  const audit = readAudit(device.stateDir);
  assert.deepEqual(
    audit.map(({ op, target, prior, observed, undoes, reason }) => [
      op,
      target,
      prior,
      observed,
      undoes,
      reason,
    ]),
    [
      ['device.set', 'limit', '600', '400', null, 'apply'],
      ['part.destroy', 'old', 'made', 'destroyed', null, 'apply'],
      ['part.make', 'new', null, 'made', null, 'apply'],
      ['part.destroy', 'new', 'made', 'destroyed', 2, 'released'],
      ['part.make', 'old', null, 'made', 1, 'released'],
      ['device.set', 'limit', '400', '600', 0, 'released'],
    ],
  );
  assert.deepEqual(new Set(audit.map(({ transaction }) => transaction)), new Set([change.id]));
  assert.equal(await change.undo(), report);
});

test('a setting that says yes and does not follow: ERR_REFUSED, and all is as it was', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  device.put('b', '1');
  device.deaf.add('b');
  await assert.rejects(apply(device, [setTo('a', '2'), setTo('b', '2')]), {
    code: 'ERR_REFUSED',
    source: 'b',
  });
  assert.deepEqual([device.get('a'), device.get('b')], ['1', '1']);
  assert.deepEqual(listTransactions({ ...device, kind: device.kind() }), []);
  assert.deepEqual(
    readAudit(device.stateDir).map(({ target, outcome, error }) => [target, outcome, error]),
    [
      ['a', 'done', null],
      ['b', 'failed', 'ERR_REFUSED'],
      ['a', 'done', null],
    ],
  );
});

test('what cannot be taken back after a failure is in the error, stays recorded, and goes later', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('b', '1');
  device.broken.add('b');
  device.used.add('part');
  const steps = [make('part'), setTo('b', '2')];
  await assert.rejects(apply(device, steps), (error: Error) => {
    assert.match(
      error.message,
      /b fails; left behind: make part \(.*in use\): run warpgauge simulated recover$/,
    );
    return true;
  });
  assert.equal(device.get('part'), 'made');
  // Its process lives, and has given it up. Only root's locks tell.
  if (process.getuid?.() !== 0) killOwner(device);
  const [first] = await recover(device);
  assert.equal(first?.state, 'abandoned');
  assert.deepEqual(
    [first?.outcome, first?.blocked[0]?.error.code],
    ['partly-undone', 'ERR_IN_USE'],
  );
  assert.deepEqual(first?.blocked[0]?.error.holders, [{ pid: 1, command: 'simulated' }]);
  device.used.clear();
  assert.equal((await recover(device))[0]?.outcome, 'undone');
  assert.equal(device.get('part'), null);
  assert.deepEqual(await recover(device), []);
});

test('a refusal of any step comes before the first change', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  device.put('b', '1');
  device.used.add('b');
  await assert.rejects(apply(device, [setTo('a', '2'), setTo('b', '2')]), { code: 'ERR_IN_USE' });
  assert.deepEqual([device.calls, listJournals(device.stateDir)], [[], []]);
  DeviceLock.acquire('gpu-a', 'free again', device).release();
});

test('a plan for another state is stale; the same plan a second time has nothing to do', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const plan = [setTo('a', '2', '1')];
  await (await apply(device, plan)).commit();
  for (let n = 0; n < 3; n++) {
    const again = await apply(device, plan);
    assert.equal(again.id, null);
    await again.undo();
  }
  assert.deepEqual(device.calls, ['a=2']);
  device.put('a', '3');
  await assert.rejects(apply(device, plan), (error: Error & { code: string }) => {
    assert.deepEqual(
      [error.code, error.message],
      ['ERR_STALE_PLAN', 'a was 1 when the plan was made and is 3 now'],
    );
    return true;
  });
  assert.deepEqual(device.calls, ['a=2']);
});

test('what others changed since is theirs', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const change = await apply(device, [setTo('a', '2')]);
  device.put('a', '7');
  assert.deepEqual((await change.undo()).undone, []);
  assert.equal(device.get('a'), '7');
});

test('an interruption between two steps takes back and says ERR_INTERRUPTED', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  device.put('b', '1');
  const abort = new AbortController();
  device.onSet = () => abort.abort();
  const steps = [setTo('a', '2'), setTo('b', '2')];
  await assert.rejects(apply(device, steps, { signal: abort.signal }), { code: 'ERR_INTERRUPTED' });
  assert.deepEqual([device.get('a'), device.get('b')], ['1', '1']);
});

test('of two that want one of the devices the second is told who has it', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const change = await apply(device, [setTo('a', '2')]);
  await assert.rejects(apply(device, [], { locks: ['gpu-0', 'gpu-b'] }), (error: Error) => {
    const { code, holders } = error as Error & { code: string; holders: { pid: number }[] };
    assert.deepEqual([code, holders[0]?.pid], ['ERR_LOCKED', process.pid]);
    return true;
  });
  // The lock it got before was given up.
  DeviceLock.acquire('gpu-0', '', device).release();
  await change.undo();
});

test('committed: for release, not for recover; the newest goes first', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  for (const value of ['2', '3']) await (await apply(device, [setTo('a', value)])).commit();
  killOwner(device);
  assert.deepEqual(
    (await recover(device)).map(({ outcome }) => outcome),
    ['untouched', 'untouched'],
  );
  assert.deepEqual(
    (await recover(device, 'release')).map(({ outcome }) => outcome),
    ['undone', 'undone'],
  );
  assert.equal(device.get('a'), '1');
  assert.deepEqual(await recover(device, 'release'), []);
});

test('a crash between intent and done: reading decides, whether it happened or not', async (t) => {
  for (const happened of [true, false]) {
    const device = new SimulatedDevice(t);
    device.put('a', '1');
    await apply(device, [setTo('a', '2'), make('p')], { locks: [] });
    const [path = ''] = listJournals(device.stateDir);
    // Cut off the last `done`: make of p.
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -2);
    truncateSync(path, Buffer.byteLength(`${lines.join('\n')}\n`));
    if (!happened) device.put('p', null);
    killOwner(device);
    await recover(device);
    assert.deepEqual([device.get('a'), device.get('p')], ['1', null], `happened: ${happened}`);
    const decided = readJournal(path).entries.find(
      (entry) => entry.type === 'done' && entry.decidedBy,
    );
    assert.equal(decided?.type === 'done' && decided.observed, happened ? 'made' : null);
  }
});

test('after a boot only what survives it is taken back', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('lasting-mode', '0');
  device.put('limit', '600');
  await apply(device, [setTo('lasting-mode', '1'), setTo('limit', '400')], { locks: [] });
  device.boot('two');
  const [settled] = await recover(device);
  assert.deepEqual([settled?.state, settled?.outcome], ['other-boot', 'undone']);
  assert.deepEqual([device.get('lasting-mode'), device.get('limit')], ['0', '400']);
});

test('an audit log with a torn line and a repeated record tells each change once', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const change = await apply(device, [setTo('a', '2')]);
  const file = join(device.stateDir, 'audit.jsonl');
  const [line = ''] = readFileSync(file, 'utf8').split('\n');
  appendFileSync(file, `${line}\n${line.slice(0, 40)}`);
  await change.undo();
  assert.deepEqual(
    readAudit(device.stateDir).map(({ step }) => step),
    [0, 1],
  );
});

test('a device that is gone stops neither the rollback nor the recovery of the others', async (t) => {
  const device = new SimulatedDevice(t);
  for (const name of ['a', 'b', 'c']) device.put(name, '1');
  device.onSet = (target) => {
    if (target === 'b') device.gone.add('b');
  };
  const steps = ['a', 'b', 'c'].map((name) => setTo(name, '2'));
  await assert.rejects(apply(device, steps), (error: Error) => {
    assert.match(error.message, /b is gone; left behind: set b to 2 \(Simulated: b is gone\)/);
    return true;
  });
  assert.deepEqual([device.get('a'), device.get('b'), device.get('c')], ['1', '2', '1']);
  killOwner(device);
  const [first] = await recover(device);
  assert.deepEqual(
    [first?.outcome, first?.blocked.map(({ record, error }) => [record.target, error.code])],
    ['partly-undone', [['b', 'ERR_NO_DEVICE']]],
  );
  device.onSet = () => {};
  device.gone.clear();
  assert.equal((await recover(device))[0]?.outcome, 'undone');
  assert.equal(device.get('b'), '1');
});

test('release first takes back what is left on top, and leaves what somebody holds', async (t) => {
  const device = new SimulatedDevice(t);
  for (const name of ['a', 'b']) device.put(name, '1');
  await (await apply(device, [setTo('a', '2')])).commit();
  const outcomes = async () =>
    (await recover(device, 'release')).map(({ state, outcome }) => [state, outcome]);
  const held = await apply(device, [make('part')]);
  assert.deepEqual(await outcomes(), [
    ['held', 'untouched'],
    ['committed', 'failed'], // the lock of the living one
  ]);
  await held.undo();

  device.broken.add('b');
  device.onSet = (target) => {
    if (target === 'b') device.broken.add('a');
  };
  await assert.rejects(apply(device, [setTo('a', '3'), setTo('b', '2')]), /left behind/);
  device.broken.clear();
  device.onSet = () => {};
  killOwner(device);
  assert.deepEqual(await outcomes(), [
    ['abandoned', 'undone'],
    ['committed', 'undone'],
  ]);
  assert.equal(device.get('a'), '1');
});

test('a change whose commit cannot be written down, or that was undone meanwhile, is not committed', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const full = await apply(device, [setTo('a', '2')]);
  const [path = ''] = listJournals(device.stateDir);
  const text = readFileSync(path);
  writeFileSync(path, 'no journal\n');
  await assert.rejects(full.commit(), /left behind: .*: run warpgauge simulated recover/);
  assert.equal(full.committed, false);
  DeviceLock.acquire('gpu-a', 'free again', device).release();
  writeFileSync(path, text);
  killOwner(device);
  assert.equal((await recover(device))[0]?.outcome, 'undone');

  const late = await apply(device, [setTo('a', '2')]);
  const newest = listJournals(device.stateDir).at(-1) ?? '';
  await undoJournal(newest, device.kind(), 'guardian: its time is over', device);
  await assert.rejects(late.commit(), { code: 'ERR_CLOSED', message: /its time was over/ });
  assert.deepEqual([late.committed, device.get('a')], [false, '1']);
  DeviceLock.acquire('gpu-a', 'free again', device).release();
});

test('an audit log that cannot be written stops a change, and never its undoing', async (t) => {
  const device = new SimulatedDevice(t);
  device.put('a', '1');
  const change = await apply(device, [setTo('a', '2')]);
  const log = join(device.stateDir, 'audit.jsonl');
  rmSync(log);
  mkdirSync(log); // nothing can be appended to a folder, not even by root
  assert.deepEqual((await change.undo()).blocked, []);
  assert.equal(device.get('a'), '1');
  await assert.rejects(apply(device, [setTo('a', '2')]), {
    code: 'ERR_SYSCALL',
    fix: /Make room for/,
  });
  assert.equal(device.get('a'), '1');
  assert.deepEqual(listTransactions({ ...device, kind: device.kind() }), []);
});

test('what rested and cannot be taken back rests again', async (t) => {
  const device = new SimulatedDevice(t);
  const change = await apply(device, [make('part')]);
  change.rest();
  device.used.add('part');
  assert.equal((await change.undo()).blocked.length, 1);
  assert.equal(readIntent('gpu-a', device)?.intent, 'held: change the simulated device');
  device.used.clear();
  assert.deepEqual((await change.undo()).blocked, []);
});
