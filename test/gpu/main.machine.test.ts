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
const LOG = join(folder, 'calls.log');
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
      WARPGAUGE_FAKE_LOG: LOG,
    },
  });
  return { status: result.status, text: result.stdout + result.stderr };
}

test('without a real device everything is skipped, with the reason', () => {
  const simulated = run('');
  assert.equal(simulated.status, 0, simulated.text);
  assert.match(simulated.text, /skipped {2}pinned copies.*simulated driver/);
  assert.match(simulated.text, /gpu tests: 0 run, 5 skipped/);
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
  assert.match(text, /gpu tests: 4 run, 1 skipped/);
  const document = JSON.parse(readFileSync(json, 'utf8')) as MemcpyDocument;
  assert.equal(document.device?.simulated, true);
});

test('limits, MIG profiles and affinity are read, written without a UUID, and nothing is set', () => {
  const limits = join(folder, 'limits.json');
  writeFileSync(LOG, '');
  const script = 'nvml.0.mig_board = H200-141\nnvml.power_limit = 650000';
  const { status, text } = run(script, '--simulated', '--only', 'limits', '--limits', limits);
  assert.equal(status, 0, text);
  assert.match(
    text,
    /^Simulated {2}ok {2}.*650 W asked for, 700 W in force, 200 to 700 W; SM 345-/m,
  );
  assert.match(text, /7g\.141gb@0/);
  const calls = readFileSync(LOG, 'utf8');
  assert.match(calls, /nvmlDeviceGetPowerManagementLimitConstraints/);
  assert.match(calls, /nvmlDeviceGetGpuInstancePossiblePlacements_v2/);
  assert.doesNotMatch(calls, / nvml\w*(Set|Reset|Create|Destroy)\w*\(/);
  const written = readFileSync(limits, 'utf8');
  const { power, mig, affinity } = JSON.parse(written) as Record<string, { uuid: string }[]>;
  assert.deepEqual(
    [power, mig, affinity].map((one) => one?.[0]?.uuid),
    ['GPU-masked', 'GPU-masked', 'GPU-masked'],
  );
  assert.doesNotMatch(written, /53494d55/);
  const wrong = run('nvml.power_limit = 900000', '--simulated', '--only', 'limits');
  assert.equal(wrong.status, 1);
  assert.match(wrong.text, /FAILED .*requestedW is out of its range/);
});

test('a driver that cannot copy fails the test', () => {
  const { status, text } = run('error.cuMemHostAlloc = 2@3', '--simulated');
  assert.notEqual(status, 0, text);
});
