import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardianExecutable } from '#lib/addon';

test('a guardian that cannot read its journal does not say that it watches', (t) => {
  const found = guardianExecutable();
  assert.ok('path' in found, JSON.stringify(found));
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-guardian-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const args = [join(folder, 'audit'), folder, '/', `${process.pid}`, '0', '-1'];
  for (const journal of [join(folder, 'none.jsonl'), folder]) {
    const { status, stdout }: SpawnSyncReturns<string> = spawnSync(found.path, [journal, ...args], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout], [1, ''], journal);
  }
});
