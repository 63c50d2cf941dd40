/**
 * `npm run test:gpu`: what only a real GPU can show.
 *
 * Fails when the benchmark does not run, or when its pinned copies are more than 3 % slower than a plain loop of
 * cuMemcpyAsync on the same device. The published predictions are reported as confirmed, refuted or undecided
 * and never fail. Without a GPU everything is skipped, with the reason.
 *
 *   --simulated   run on a simulated driver too (WARPGAUGE_CUDA): shows that the plumbing works; times mean nothing
 *   --json FILE   also write the result of the benchmark there
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WarpgaugeError } from '#lib/errors';
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { Cell, MemcpyDocument } from '#lib/measure/memcpy/types';
import { GiB, MiB } from '#lib/units';
import { judgePredictions, medianEstimate } from './predictions.ts';

const PLAIN = fileURLToPath(new URL('../../../debug/gpu/plain_copy', import.meta.url));
const MIN_RATIO = 0.97;

interface Plain {
  readonly htod_gbps: readonly number[];
  readonly dtoh_gbps: readonly number[];
}

/** The plain loop, built where it is missing. */
function plainCopy(libcuda: string, bytes: number, samples: number): Plain {
  if (!existsSync(PLAIN)) {
    for (const args of [
      ['--preset', 'debug'],
      ['--build', '--preset', 'debug', '--target', 'plain_copy'],
    ]) {
      const built = spawnSync('cmake', args, { encoding: 'utf8' });
      if (built.status !== 0)
        throw new Error(`building plain_copy: ${built.stderr ?? built.error}`);
    }
  }
  const run = spawnSync(PLAIN, [libcuda, '0', String(bytes), String(samples)], {
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(run.stderr || String(run.error ?? run.signal));
  return JSON.parse(run.stdout) as Plain;
}

const rate = (cell: Cell): number => {
  const times = cell.samples.filter((sample) => sample.valid).map((sample) => sample.t_host_ns);
  const median = medianEstimate(times);
  return median === null ? Number.NaN : cell.bytes / median.value;
};

/** Pinned copies of the benchmark against the plain loop, which runs before and after: drift shows as a gap. */
async function comparePinned(simulated: boolean): Promise<boolean> {
  const bytes = simulated ? 4 * MiB : 256 * MiB;
  const libcuda = process.env['WARPGAUGE_CUDA'] ?? 'libcuda.so.1';
  const first = plainCopy(libcuda, bytes, 9);
  const document = await runMemcpy({
    backend: 'cuda',
    sizes: [bytes],
    pages: ['4k'],
    pins: ['hostalloc'],
    states: ['warm'],
    directions: ['HtoD', 'DtoH'],
    blocks: 15,
    seed: 1,
  });
  const second = plainCopy(libcuda, bytes, 9);
  let passed = true;
  for (const [dir, key] of [
    ['HtoD', 'htod_gbps'],
    ['DtoH', 'dtoh_gbps'],
  ] as const) {
    const plain = medianEstimate([...first[key], ...second[key]])?.value ?? Number.NaN;
    const cell = document.cells.find(
      (c) => c.dir === dir && c.pin === 'hostalloc' && c.status === 'ok',
    );
    const ours = cell ? rate(cell) : Number.NaN;
    const ratio = ours / plain;
    // NaN, where something was not measured, fails too.
    const ok = ratio >= MIN_RATIO;
    passed &&= ok || simulated;
    console.log(
      `${simulated ? 'Simulated' : ok ? 'pass' : 'FAIL'}  pinned ${dir} ${bytes / MiB} MiB: ` +
        `${ours.toFixed(2)} GB/s, plain loop ${plain.toFixed(2)} GB/s, ratio ${ratio.toFixed(3)} (at least ${MIN_RATIO})`,
    );
    if (simulated && !Number.isFinite(ratio)) passed = false;
  }
  return passed;
}

/** The cells that the predictions are about. */
async function measurePredictions(simulated: boolean): Promise<MemcpyDocument> {
  return runMemcpy({
    backend: 'cuda',
    sizes: simulated ? [MiB] : [16 * MiB, 64 * MiB, GiB],
    pins: ['none', 'register', 'hostalloc'],
    directions: ['HtoD', 'DtoH'],
    reserve: !simulated && process.getuid?.() === 0,
    blocks: simulated ? 1 : 12,
    seed: 1,
  });
}

/** Why there is nothing to test on, or whether the device is simulated. */
async function findDevice(
  allowSimulated: boolean,
): Promise<{ skip: string } | { simulated: boolean }> {
  try {
    const probe = await runMemcpy({
      backend: 'cuda',
      sizes: [MiB],
      pages: ['4k'],
      pins: ['none'],
      directions: ['DtoH'],
      blocks: 1,
      seed: 1,
    });
    const simulated = probe.device?.simulated === true;
    if (simulated && !allowSimulated) return { skip: 'WARPGAUGE_CUDA names a simulated driver' };
    console.log(`device: ${probe.device?.name}, driver ${probe.device?.driver}`);
    return { simulated };
  } catch (error) {
    const absent = ['ERR_NO_DRIVER', 'ERR_NO_DEVICE', 'ERR_LIBRARY_MISSING'];
    if (error instanceof WarpgaugeError && absent.includes(error.code)) {
      return { skip: `${error.message} (${error.code})` };
    }
    throw error;
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { simulated: { type: 'boolean', default: false }, json: { type: 'string' } },
  });
  const found = await findDevice(values.simulated);
  if ('skip' in found) {
    console.log(`skipped  pinned copies against a plain loop: ${found.skip}`);
    console.log(`skipped  published predictions: ${found.skip}`);
    console.log('gpu tests: 0 run, 2 skipped');
    return 0;
  }
  const passed = await comparePinned(found.simulated);
  const document = await measurePredictions(found.simulated);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify(document, null, 1)}\n`);
  for (const prediction of judgePredictions(document)) {
    console.log(`${found.simulated ? 'Simulated  ' : ''}${prediction.outcome}  ${prediction.text}`);
    console.log(`    ${prediction.why}`);
    if (prediction.outcome === 'refuted') console.log(`    this would mean: ${prediction.ifFalse}`);
  }
  console.log('gpu tests: 2 run, 0 skipped');
  return passed ? 0 : 1;
}

process.exitCode = await main();
