// The examples are programs: each runs as it stands. Serial, because one of them measures.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { COPIES, FAKE_ENV, NEEDS_FAKE } from './monitor/trace-fake.js';

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

test('monitor-trace.js sees the copies of a CUDA program (Simulated)', NEEDS_FAKE, () => {
  const run = spawnSync(process.execPath, [join(folder, 'monitor-trace.js'), COPIES], {
    encoding: 'utf8',
    env: FAKE_ENV,
  });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /^HtoD: \d+ bytes$/m);
  assert.match(run.stdout, /cuda_copies ended with 0$/m);
});
