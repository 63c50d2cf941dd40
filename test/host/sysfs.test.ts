import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  chosenWord,
  hostRoot,
  listDir,
  parseKeyValues,
  parseList,
  readNumber,
  readText,
  readTextOrReason,
} from '#lib/host/sysfs';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-sysfs-'));
after(() => rmSync(root, { recursive: true }));
mkdirSync(join(root, 'sys/b'), { recursive: true });
writeFileSync(join(root, 'sys/number'), '512\n');
writeFileSync(join(root, 'sys/word'), 'max\n');
writeFileSync(join(root, 'sys/empty'), '');

test('files are read under the given root', () => {
  assert.equal(readText('/sys/number', root), '512');
  assert.equal(readNumber('/sys/number', root), 512);
  assert.deepEqual(listDir('/sys', root), ['b', 'empty', 'number', 'word']);
});

test('what is no number or cannot be read is null, never 0', () => {
  assert.equal(readNumber('/sys/word', root), null);
  assert.equal(readNumber('/sys/empty', root), null);
  assert.equal(readNumber('/sys/absent', root), null);
  assert.equal(readText('/sys/b', root), null);
  assert.deepEqual(readTextOrReason('/sys/absent', root), { reason: '/sys/absent: ENOENT' });
  assert.deepEqual(listDir('/absent', root), []);
});

test('WARPGAUGE_ROOT stands in for / and an option goes before it', () => {
  process.env['WARPGAUGE_ROOT'] = root;
  try {
    assert.equal(readNumber('/sys/number'), 512);
    assert.equal(readNumber('/sys/number', '/nowhere'), null);
  } finally {
    delete process.env['WARPGAUGE_ROOT'];
  }
  assert.equal(hostRoot(), '/');
});

test('the forms that /proc and /sys use', () => {
  assert.equal(chosenWord('always [madvise] never'), 'madvise');
  assert.equal(chosenWord(null), null);
  assert.deepEqual(
    [...parseKeyValues('MemTotal:  10 kB\nHugePages_Free:    3\npgfault 7\nno number\n')],
    [
      ['MemTotal', 10240],
      ['HugePages_Free', 3],
      ['pgfault', 7],
    ],
  );
  assert.deepEqual(parseList('0-2,5\n'), [0, 1, 2, 5]);
  assert.deepEqual(parseList(null), []);
});
