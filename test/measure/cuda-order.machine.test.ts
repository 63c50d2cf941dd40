// R9 without a GPU: the order of the driver calls behind a benchmark run, as the simulated driver logged it. Serial:
// it runs the benchmark.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { MemcpyOptions } from '#lib/measure/memcpy/options';
import { MiB } from '#lib/units';

const fakes = fileURLToPath(new URL('../../../debug/fake', import.meta.url));
const cuda = join(fakes, 'libcuda.so.1');
const built = existsSync(cuda)
  ? {}
  : { skip: 'the fake driver libraries are not built (node scripts/setup.mjs --tests)' };
const folder = mkdtempSync(join(tmpdir(), 'warpgauge-fake-'));
const log = join(folder, 'calls.log');
const variables = [
  'WARPGAUGE_CUDA',
  'WARPGAUGE_NVML',
  'WARPGAUGE_FAKE_SCRIPT',
  'WARPGAUGE_FAKE_LOG',
] as const;
const before = new Map(variables.map((name) => [name, process.env[name]]));

/** What the simulated machine does; every copying child starts it anew. */
function simulate(...lines: string[]): void {
  const script = join(folder, 'script');
  writeFileSync(script, lines.join('\n'));
  rmSync(log, { force: true });
  process.env['WARPGAUGE_CUDA'] = cuda;
  process.env['WARPGAUGE_NVML'] = join(fakes, 'libnvidia-ml.so.1');
  process.env['WARPGAUGE_FAKE_SCRIPT'] = script;
  process.env['WARPGAUGE_FAKE_LOG'] = log;
}
const calls = (): string[] =>
  readFileSync(log, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(line.indexOf(' ') + 1));

beforeEach(() => simulate());
after(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true, force: true });
});

const small: MemcpyOptions = {
  backend: 'cuda',
  sizes: [2 * MiB],
  pages: ['4k'],
  pins: ['none', 'register', 'hostalloc'],
  blocks: 1,
  seed: 1,
};

test(
  'R9: no pageable copy starts behind pending work, and every copy is waited for',
  built,
  async () => {
    await runMemcpy(small);
    const all = calls();
    assert.deepEqual(
      all.filter((call) => call.startsWith('VIOLATION')),
      [],
    );
    let pageable = 0;
    let kernelPending = false;
    for (const [i, call] of all.entries()) {
      if (call.startsWith('cuLaunchKernel')) kernelPending = true;
      if (call.startsWith('cuStreamSynchronize')) kernelPending = false;
      if (!/^cuMemcpy(HtoD|DtoH)Async_v2\(.*pageable/.test(call)) continue;
      pageable++;
      assert.ok(!kernelPending, `line ${i}: ${call}`);
      const rest = all.slice(i + 1);
      const sync = rest.findIndex((next) => next.startsWith('cuStreamSynchronize'));
      const elapsed = rest.findIndex((next) => next.startsWith('cuEventElapsedTime'));
      assert.ok(sync >= 0 && (elapsed < 0 || sync < elapsed), `line ${i}: ${call}`);
    }
    assert.ok(pageable > 10);
  },
);

test(
  'R9: the time of a pageable HtoD copy includes its completion on the device',
  built,
  async () => {
    simulate('delay_us = 30000');
    const document = await runMemcpy({
      ...small,
      pins: ['none'],
      directions: ['HtoD'],
    });
    const cells = document.cells.filter((cell) => cell.status === 'ok');
    assert.ok(cells.length > 0);
    for (const cell of cells) {
      for (const sample of cell.samples) assert.ok(sample.t_host_ns >= 30e6, cell.id);
    }
  },
);
