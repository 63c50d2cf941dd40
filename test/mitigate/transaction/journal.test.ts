import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { bootId, lockFolder, stateFolder } from '#lib/host/state-folder';
import {
  crc32,
  isClosed,
  Journal,
  listJournals,
  ownerAlive,
  pruneJournals,
  readJournal,
} from '#lib/mitigate/transaction/journal';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'warpgauge-journal-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const INTENT = {
  type: 'intent',
  step: 0,
  op: 'pool.grow',
  target: '/f',
  prior: 1,
  asked: 8,
} as const;

function sample(stateDir: string): Journal {
  const journal = Journal.create({ stateDir, action: 'pools', locks: ['pools'] });
  journal.append(INTENT);
  journal.append({ type: 'done', step: 0, observed: 8 });
  journal.close();
  return journal;
}

test('the checksum is CRC-32 as everybody else computes it', () => {
  assert.equal(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.equal(crc32(Buffer.from('')), 0);
});

test('what was written is read, with who wrote it', (t) => {
  const { path, header } = sample(folder(t));
  const contents = readJournal(path);
  assert.deepEqual([contents.torn, contents.corrupt], [false, null]);
  assert.equal(contents.header?.id, header.id);
  assert.equal(contents.header?.bootId, bootId());
  assert.equal(contents.header?.pid, process.pid);
  assert.equal(ownerAlive(header), true);
  assert.deepEqual(
    contents.entries.map((entry) => entry.type),
    ['intent', 'done'],
  );
  assert.equal((contents.entries[0] as typeof INTENT).asked, 8);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('a file cut anywhere is torn or shorter, never corrupt, and never says more than it did', (t) => {
  const { path } = sample(folder(t));
  const whole = readFileSync(path);
  const ends = [...whole.keys()].filter((at) => whole[at] === 0x0a).map((at) => at + 1);
  for (let length = whole.length - 1; length >= 0; length--) {
    truncateSync(path, length);
    const contents = readJournal(path);
    const lines = ends.filter((end) => end <= length).length;
    assert.equal(contents.corrupt, null, `cut at ${length}`);
    assert.equal(contents.torn, length !== 0 && !ends.includes(length), `cut at ${length}`);
    assert.equal((contents.header === null ? 0 : 1) + contents.entries.length, lines);
  }
});

test('one wrong byte in any line is reported with its line', (t) => {
  const { path } = sample(folder(t));
  const whole = readFileSync(path);
  for (const [at, byte] of whole.entries()) {
    if (byte === 0x0a) continue;
    const damaged = Buffer.from(whole);
    damaged[at] = byte === 0x41 ? 0x42 : 0x41;
    writeFileSync(path, damaged);
    const line = whole.subarray(0, at).filter((each) => each === 0x0a).length + 1;
    assert.equal(readJournal(path).corrupt?.line, line, `byte ${at}`);
  }
});

test('a line that is missing or repeated is reported', (t) => {
  const { path } = sample(folder(t));
  const lines = readFileSync(path, 'utf8').split('\n');
  const without = lines.filter((_, index) => index !== 1).join('\n');
  writeFileSync(path, without);
  assert.deepEqual(readJournal(path).corrupt, { line: 2, reason: 'sequence number 2' });
  writeFileSync(path, [lines[0], lines[0], ...lines.slice(1)].join('\n'));
  assert.equal(readJournal(path).corrupt?.line, 2);
});

test('going on after a torn line cuts it off; the result is whole', async (t) => {
  const { path } = sample(folder(t));
  truncateSync(path, readFileSync(path).length - 5);
  const { journal } = await Journal.reopen(path);
  journal.append({ type: 'rolledback', reason: 'test' });
  journal.close();
  const contents = readJournal(path);
  assert.deepEqual([contents.torn, contents.corrupt], [false, null]);
  assert.deepEqual(
    contents.entries.map((entry) => entry.type),
    ['intent', 'rolledback'],
  );
  assert.equal(isClosed(contents), true);
});

test('a corrupt journal is not written to', async (t) => {
  const { path } = sample(folder(t));
  writeFileSync(path, readFileSync(path, 'utf8').replace('pool.grow', 'pool.grew'));
  const before = readFileSync(path);
  await assert.rejects(Journal.reopen(path), { code: 'ERR_JOURNAL' });
  assert.deepEqual(readFileSync(path), before);
});

test('a folder that cannot be written is ERR_JOURNAL', (t) => {
  const file = join(folder(t), 'file');
  writeFileSync(file, '');
  assert.throws(() => Journal.create({ stateDir: file, action: 'pools', locks: ['pools'] }), {
    code: 'ERR_JOURNAL',
  });
  assert.deepEqual(listJournals(join(folder(t), 'absent'), 'pools'), []);
});

test('of two that go on with a journal the second waits for the first, and not for ever', async (t) => {
  const { path } = sample(folder(t));
  const { journal } = await Journal.reopen(path);
  await assert.rejects(Journal.reopen(path, { waitMs: 20 }), { code: 'ERR_LOCKED' });
  setTimeout(() => journal.close(), 30);
  const second = await Journal.reopen(path, { waitMs: 5000 });
  second.journal.close();
});

test('a pid that was used again, and one of another namespace, is not the owner', (t) => {
  const { header } = sample(folder(t));
  assert.equal(ownerAlive({ ...header, pidStart: header.pidStart + 1 }), false);
  assert.equal(ownerAlive({ ...header, pidNamespace: 'pid:[1]' }), null);
});

test('closed journals are kept up to a hundred, open ones always', (t) => {
  const stateDir = folder(t);
  const open = sample(stateDir);
  for (let n = 0; n < 103; n++) {
    const journal = Journal.create({ stateDir, action: 'pools', locks: ['pools'] });
    journal.append({ type: 'rolledback', reason: 'test' });
    journal.close();
  }
  pruneJournals(listJournals(stateDir, 'pools').map(readJournal));
  const left = listJournals(stateDir, 'pools');
  assert.equal(left.length, 101);
  assert.ok(left.includes(open.path));
});

test('the state folder: option, then environment, then the user', (t) => {
  const dir = folder(t);
  process.env['WARPGAUGE_STATE_DIR'] = dir;
  t.after(() => delete process.env['WARPGAUGE_STATE_DIR']);
  assert.equal(stateFolder({ stateDir: '/x' }), '/x');
  // The guardian works in another folder.
  assert.equal(stateFolder({ stateDir: 'x' }), join(process.cwd(), 'x'));
  assert.equal(stateFolder({}), dir);
  delete process.env['WARPGAUGE_STATE_DIR'];
  const isRoot = process.getuid?.() === 0;
  assert.equal(stateFolder({ root: '/r' }).startsWith('/r/var/lib/warpgauge'), isRoot);
  assert.equal(lockFolder({ root: '/r' }).startsWith('/r/run/warpgauge'), isRoot);
});
