// The source pm-sampling as users get it, over the fake libcuda and libcupti.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { monitor } from 'warpgauge';
import { parseSourceSpec } from '#lib/monitor/source-spec';

const FAKES = fileURLToPath(new URL('../../../debug/fake/', import.meta.url));
const CUPTI = join(FAKES, 'libcupti.so');
const NEEDS_FAKE = existsSync(CUPTI)
  ? {}
  : { skip: 'the fake driver libraries are not built (node scripts/setup.mjs --tests)' };
const GPU = 'GPU-53494d55-4c41-5445-4400-000000000000';

/** A simulated machine with this script, for the time of a test. */
class Machine {
  readonly #folder = mkdtempSync(join(tmpdir(), 'warpgauge-pm-'));
  readonly #saved = { ...process.env };
  readonly log = join(this.#folder, 'calls.log');

  constructor(script = '', cupti = CUPTI) {
    const file = join(this.#folder, 'script');
    writeFileSync(file, `# ${file}\n${script}`);
    process.env['WARPGAUGE_CUDA'] = join(FAKES, 'libcuda.so.1');
    process.env['WARPGAUGE_CUPTI'] = cupti;
    process.env['WARPGAUGE_FAKE_SCRIPT'] = file;
    process.env['WARPGAUGE_FAKE_LOG'] = this.log;
  }

  count(name: string): number {
    return readFileSync(this.log, 'utf8').split(` ${name}(`).length - 1;
  }

  [Symbol.dispose](): void {
    for (const name of Object.keys(process.env)) {
      if (name.startsWith('WARPGAUGE_')) delete process.env[name];
    }
    Object.assign(process.env, this.#saved);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

test('the builder and the text give native code the same options', () => {
  assert.deepEqual(
    monitor.pmSampling({
      intervalMs: 0.1,
      devices: ['GPU-1', 'MIG-2'],
      hardwareBufferBytes: 2 ** 28,
    }),
    parseSourceSpec('pm-sampling:interval=100us,devices=GPU-1+MIG-2,hardwareBufferBytes=256MiB'),
  );
  assert.deepEqual(monitor.pmSampling(), { source: 'pm-sampling', options: {} });
  const invalid = { code: 'ERR_INVALID_ARGUMENT' };
  assert.throws(() => monitor.pmSampling({ intervalMs: 0.01 }), invalid);
  assert.throws(() => monitor.pmSampling({ intervalMs: 2000 }), invalid);
  assert.throws(() => monitor.pmSampling({ hardwareBufferBytes: 1000 }), invalid);
  assert.throws(() => parseSourceSpec('pm-sampling:devices=0'), invalid);
  assert.throws(() => parseSourceSpec('pm-sampling:hardwareBufferBytes=4GiB'), invalid);
});

test('rows of the hardware as record batches, marked Simulated', NEEDS_FAKE, async () => {
  using machine = new Machine('pm_chip = AD102\npm.pcie__read_bytes.sum = 8192\n');
  await using sampler = await monitor.sample({
    sources: [monitor.pmSampling({ intervalMs: 0.2 })],
    durationMs: 400,
    keepAlive: true,
  });
  const info = sampler.tables.find(({ name }) => name === 'pm-sampling');
  assert.equal(info?.simulated, true);
  assert.deepEqual(info?.keys, ['gpu']);
  assert.equal(info?.intervalMs, 0.2);
  const field = (name: string) => info?.schema.fields.find((one) => one.name === name);
  assert.equal(field('pcie_read_bytes')?.metadata.get('unit'), 'bytes');
  assert.equal(field('pcie_read_bytes')?.metadata.get('window'), 'window_ns');
  assert.equal(field('nvlink_rx_bytes')?.metadata.get('reason'), 'not_supported');
  let rows = 0;
  let last = 0n;
  let stats = 0;
  for await (const { table, batch } of sampler) {
    if (table === 'pm-sampling.stat') stats += batch.numRows;
    if (table !== 'pm-sampling') continue;
    const times = batch.getChild('time')?.data[0]?.values as BigInt64Array;
    for (let i = 0; i < batch.numRows; i++) {
      rows++;
      assert.equal(batch.getChild('gpu')?.get(i), GPU);
      assert.equal(batch.getChild('pcie_read_bytes')?.get(i), 8192n);
      assert.equal(batch.getChild('window_ns')?.get(i), 200_000n);
      assert.equal(batch.getChild('nvlink_rx_bytes')?.get(i), null);
      const time = times[i] as bigint;
      assert.ok(time > last);
      last = time;
    }
  }
  assert.ok(rows > 1000 && rows <= 2001, `${rows} rows of 2000 windows`);
  assert.ok(stats >= 1);
  const table = sampler.stats().tables.find((one) => one.table === 'pm-sampling');
  assert.equal(table?.rows, rows);
  assert.equal(table?.ticks, rows);
  assert.ok(Math.abs((table?.ticks ?? 0) + (table?.missed ?? 0) - 2000) < 30);
  assert.equal(machine.count('cuptiPmSamplingDisable'), 1);
});

test('who may not or cannot is told the way out', NEEDS_FAKE, async () => {
  const cases = [
    [
      'error.cuptiPmSamplingEnable = 35@1',
      'ERR_PERMISSION',
      /NVreg_RestrictProfilingToAdminUsers=0/,
    ],
    ['error.cuptiPmSamplingEnable = 26@1', 'ERR_BUSY', /dcgmi profile --pause/],
    ['pm_chip = GV100', 'ERR_UNAVAILABLE', /Turing/],
  ] as const;
  for (const [script, code, fix] of cases) {
    using _machine = new Machine(`${script}\n`);
    await assert.rejects(monitor.sample({ sources: [monitor.pmSampling()] }), { code, fix });
  }
  using _old = new Machine('', join(FAKES, 'cupti-12.0', 'libcupti.so'));
  await assert.rejects(monitor.sample({ sources: [monitor.pmSampling()] }), {
    code: 'ERR_LIBRARY_MISSING',
    message: /CUDA 12\.6/,
  });
});

test('where it is one of several, what is missing is a state', NEEDS_FAKE, async () => {
  using _machine = new Machine('error.cuptiPmSamplingEnable = 26@1\n');
  await using sampler = await monitor.sample({
    sources: [{ ...monitor.pmSampling(), optional: true }, monitor.vmstat({ intervalMs: 10 })],
  });
  const states = sampler.states.filter(({ source }) => source === 'pm-sampling');
  assert.deepEqual(
    states.map(({ key, state, reason, code }) => ({ key, state, reason, code })),
    [
      { key: GPU, state: 'unavailable', reason: 'busy', code: 26 },
      { key: '', state: 'unavailable', reason: 'busy', code: 26 },
    ],
  );
  assert.deepEqual(
    sampler.tables.map(({ name }) => name).filter((name) => name.startsWith('pm')),
    [],
  );
});
