// The whole CUDA path, from the command line to the driver's functions, on the simulated driver. It proves behaviour,
// never speed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Cell, MemcpyDocument } from '#lib/measure/memcpy/types';
import { MiB } from '#lib/units';

const CLI = fileURLToPath(import.meta.resolve('#lib/cli/main'));
const FAKE = fileURLToPath(new URL('../../../debug/fake/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'warpgauge-cuda-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly status: number | null;
  readonly stderr: string;
  readonly log: string;
  readonly document: MemcpyDocument;
}

/** Runs `bench memcpy` against the simulated driver, scripted by `script`. */
function bench(script: string, ...args: string[]): Outcome {
  const scriptFile = join(folder, 'script');
  const logFile = join(folder, 'log');
  writeFileSync(scriptFile, script);
  rmSync(logFile, { force: true });
  const run = spawnSync(process.execPath, [CLI, 'bench', 'memcpy', '--json', '--quiet', ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: {
      ...process.env,
      WARPGAUGE_CUDA: join(FAKE, 'libcuda.so.1'),
      WARPGAUGE_NVML: join(FAKE, 'libnvidia-ml.so.1'),
      WARPGAUGE_CUPTI: join(FAKE, 'libcupti.so'),
      WARPGAUGE_FAKE_SCRIPT: scriptFile,
      WARPGAUGE_FAKE_LOG: logFile,
    },
  });
  return {
    status: run.status,
    stderr: run.stderr,
    log: existsSync(logFile) ? readFileSync(logFile, 'utf8') : '',
    document: run.stdout === '' ? (null as never) : (JSON.parse(run.stdout) as MemcpyDocument),
  };
}

const GRID = [
  '--backend',
  'cuda',
  '--sizes',
  '4MiB',
  '--pages',
  '4k,thp',
  '--blocks',
  '2',
  '--seed',
  '5',
];
const of = (document: MemcpyDocument, prefix: string): Cell[] =>
  document.cells.filter((cell) => cell.id.startsWith(prefix) && cell.legal);

test('the simulated driver is built', () => assert.ok(existsSync(join(FAKE, 'libcuda.so.1'))));

test('every legal cell is measured and verified, vectorAdd included, and says that it is simulated', () => {
  const { status, document, log, stderr } = bench('', ...GRID, '--pins', 'none,register,hostalloc');
  assert.equal(status, 0, stderr);
  assert.equal(document.backend, 'cuda');
  assert.equal(document.proxy, false);
  assert.match(document.device?.name ?? '', /^Simulated/);
  assert.equal(document.device?.simulated, true);
  assert.equal(document.device?.pcie_gen, 5);
  assert.ok(Math.abs((document.device?.ceiling_gbps ?? 0) - 63.02) < 0.01);
  for (const cell of document.cells.filter((c) => c.legal)) {
    assert.equal(cell.status, 'ok', `${cell.id}: ${cell.reason}`);
    assert.equal(cell.samples.length, 2, cell.id);
    for (const sample of cell.samples) {
      assert.equal(sample.verified, true, `${cell.id}: ${sample.why_invalid}`);
      assert.equal(sample.gpu === null, cell.metric === 'register', cell.id);
      if (cell.metric === 'copy' && cell.pin !== 'none')
        assert.ok((sample.t_event_ns ?? 0) > 0, cell.id);
    }
  }
  for (const { id, cupti, cupti_why: why, metric, pin, dir, bytes } of document.cells) {
    if (metric === 'register') {
      assert.equal(cupti, null, id);
      assert.match(why ?? '', /nothing is copied/);
      continue;
    }
    if (cupti === null) continue; // an illegal cell
    assert.equal(cupti.n, 3, id);
    assert.deepEqual(cupti.memory, [pin === 'none' ? 'pageable' : 'pinned'], id);
    assert.equal(cupti.bytes, dir === 'vectorAdd' ? 3 * bytes : bytes, id);
    assert.equal(cupti.disagreement, null, id);
    assert.ok(cupti.copy_ns > 0 && cupti.copy_ns <= cupti.host_ns, id);
  }
  assert.ok(document.cells.filter(({ cupti }) => cupti !== null).length > 20);
  assert.doesNotMatch(document.warnings.join(), /third timer/);
  for (const vector of of(document, 'vectoradd/')) {
    const phases = vector.phases_ns;
    for (const name of [
      'copy_a',
      'copy_b',
      'kernel',
      'copy_c',
      'map',
      'fault',
      'unmap',
      'verify',
    ] as const) {
      assert.ok((phases?.[name] ?? 0) > 0, `${vector.id} ${name}`);
    }
  }
  assert.equal(
    of(document, 'vectoradd/').length,
    2 * (2 + 3),
    'cold 2 and warm 3 kinds, pageable and registered',
  );
  assert.doesNotMatch(log, /VIOLATION/);
  assert.match(log, /cuLaunchKernel/);
});

test('auto takes the device where one answers, and the host proxy where none does', () => {
  const small = [
    '--sizes',
    '1MiB',
    '--pages',
    '4k',
    '--pins',
    'none',
    '--directions',
    'DtoH',
    '--blocks',
    '1',
  ];
  assert.equal(bench('', ...small).document.backend, 'cuda');
  const none = bench('devices = 0', ...small);
  assert.equal(none.status, 0, none.stderr);
  assert.equal(none.document.backend, 'host');
  assert.ok(
    none.document.warnings.some((warning) => /no CUDA device answers/.test(warning)),
    none.document.warnings.join(),
  );
  const asked = bench('devices = 0', '--backend', 'cuda', ...small);
  assert.equal(asked.status, 1);
  assert.match(asked.stderr, /ERR_NO_DEVICE/);
});

test('a device that is lost in the middle ends with what was measured and the reason', () => {
  // Without the copies for CUPTI, which come after all that is measured.
  const args = [...GRID, '--pins', 'none', '--cupti', 'off'];
  const calls = bench('', ...args)
    .log.split('\n')
    .filter((line) => / cu\w+\(/.test(line)).length;
  const { status, document, stderr } = bench(
    `error_from_call = 999@${Math.round(calls * 0.7)}`,
    ...args,
  );
  assert.equal(status, 1, stderr);
  assert.equal(document.complete, false);
  const measured = document.cells.filter((cell) => cell.samples.length > 0);
  assert.ok(measured.length > 0, 'samples before the loss are kept');
  assert.ok(measured.every((cell) => cell.samples.every((sample) => sample.verified)));
  const reasons = document.cells.map((cell) => cell.reason ?? '').join('\n');
  assert.match(reasons, /CUDA_ERROR_UNKNOWN/);
});

test('a device that is dead from the start fails the run', () => {
  const { status, document } = bench(
    'error.cuStreamSynchronize = 719@1',
    ...GRID,
    '--pins',
    'none',
  );
  // Opening the backend may already meet it; then there is one line and no document.
  assert.equal(status, 1);
  if (document === null) return;
  assert.ok(
    document.cells.some(
      (cell) => cell.status === 'failed' && /LAUNCH_FAILED/.test(cell.reason ?? ''),
    ),
  );
});

test('data that is read before the copy has completed is found', () => {
  const { status, document } = bench(
    'ignore_sync = 1\ndelay_us = 20000\ncheck_order = 0',
    ...GRID,
    '--pins',
    'register',
    '--directions',
    'DtoH',
    '--states',
    'cold',
  );
  assert.equal(status, 1);
  const failed = document.cells.filter((cell) => cell.status === 'failed');
  assert.ok(
    failed.length > 0,
    document.cells.map((cell) => `${cell.id} ${cell.status} ${cell.reason}`).join('\n'),
  );
  assert.equal(failed[0]?.error?.code, 'ERR_DATA_MISMATCH');
});

test('a throttled GPU makes samples invalid, with the reason bits', () => {
  const { document } = bench(
    'nvml.reasons = 64',
    ...GRID,
    '--pins',
    'none',
    '--directions',
    'DtoH',
  );
  const samples = document.cells.flatMap((cell) => cell.samples);
  assert.ok(samples.length > 0);
  for (const sample of samples) {
    assert.equal(sample.valid, false);
    assert.match(sample.why_invalid ?? '', /throttled \(reasons 0x40\)/);
  }
  assert.equal(document.n_invalid >= samples.length, true);
});

test('no device memory is a cell that cannot be had, not a crash', () => {
  const { status, document } = bench(
    `memory_bytes = ${6 * MiB}`,
    ...GRID,
    '--pins',
    'none',
    '--directions',
    'DtoH',
  );
  assert.equal(status, 0);
  for (const cell of of(document, 'dtoh/')) {
    assert.equal(cell.status, 'unavailable');
    assert.match(cell.reason ?? '', /OUT_OF_MEMORY/);
  }
});
