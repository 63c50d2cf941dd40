// The program behind `npm run test:gpu`, on the simulated driver: that it skips, runs and fails where it should.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MemcpyDocument } from '#lib/measure/memcpy/types';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
const FAKE = fileURLToPath(new URL('../../../debug/fake/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'warpgauge-gpu-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function run(script: string, ...args: string[]): { status: number | null; text: string } {
  const file = join(folder, 'script');
  writeFileSync(file, script);
  const result = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: {
      ...process.env,
      WARPGAUGE_CUDA: join(FAKE, 'libcuda.so.1'),
      WARPGAUGE_NVML: join(FAKE, 'libnvidia-ml.so.1'),
      WARPGAUGE_CUPTI: join(FAKE, 'libcupti.so'),
      WARPGAUGE_FAKE_SCRIPT: file,
    },
  });
  return { status: result.status, text: result.stdout + result.stderr };
}

test('without a real device everything is skipped, with the reason', () => {
  const simulated = run('');
  assert.equal(simulated.status, 0, simulated.text);
  assert.match(simulated.text, /skipped {2}pinned copies.*simulated driver/);
  assert.match(simulated.text, /gpu tests: 0 run, 4 skipped/);
  const none = run('devices = 0');
  assert.equal(none.status, 0, none.text);
  assert.match(none.text, /skipped {2}published predictions:.*ERR_NO_DEVICE/);
});

test('the plumbing runs from end to end, every line marked as simulated', () => {
  const json = join(folder, 'result.json');
  const { status, text } = run('delay_us = 20', '--simulated', '--json', json);
  assert.equal(status, 0, text);
  assert.equal(
    text.match(/^Simulated {2}pinned (HtoD|DtoH) 4 MiB: .*plain loop/gm)?.length,
    2,
    text,
  );
  assert.equal(text.match(/^Simulated {2}(confirmed|refuted|undecided) /gm)?.length, 9, text);
  assert.match(text, /gpu tests: 3 run, 1 skipped/);
  const document = JSON.parse(readFileSync(json, 'utf8')) as MemcpyDocument;
  assert.equal(document.device?.simulated, true);
});

test('a driver that cannot copy fails the test', () => {
  const { status, text } = run('error.cuMemHostAlloc = 2@3', '--simulated');
  assert.notEqual(status, 0, text);
});
