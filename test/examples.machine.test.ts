// The examples are programs: each runs as it stands. Serial, because one of them measures.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../examples/', import.meta.url));
const programs = readdirSync(folder).filter((name) => name.endsWith('.js'));

test('there are examples of all three rooms', () => {
  for (const room of ['measure', 'mitigate', 'monitor']) {
    assert.ok(
      programs.some((name) => name.startsWith(room)),
      room,
    );
  }
});

for (const program of programs) {
  test(`${program} runs and says something`, () => {
    const run = spawnSync(process.execPath, [join(folder, program)], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    assert.ok(run.stdout.length > 20, run.stdout);
  });
}
