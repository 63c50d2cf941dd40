/** The parts of `npm run test:gpu` about the memcpy benchmark: pinned copies against a plain loop, and the predictions. */
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { Cell, MemcpyDocument } from '#lib/measure/memcpy/types';
import { GiB, MiB } from '#lib/units';
import { medianEstimate } from './predictions.ts';
import { runProgram } from './program.ts';

const MIN_RATIO = 0.97;

interface Plain {
  readonly htod_gbps: readonly number[];
  readonly dtoh_gbps: readonly number[];
}

function plainCopy(libcuda: string, bytes: number, samples: number): Plain {
  return JSON.parse(
    runProgram('plain_copy', [libcuda, '0', String(bytes), String(samples)]),
  ) as Plain;
}

const rate = (cell: Cell): number => {
  const times = cell.samples.filter((sample) => sample.valid).map((sample) => sample.t_host_ns);
  const median = medianEstimate(times);
  return median === null ? Number.NaN : cell.bytes / median.value;
};

/** Pinned copies of the benchmark against the plain loop, which runs before and after: drift shows as a gap. */
export async function comparePinned(simulated: boolean): Promise<boolean> {
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
export async function measurePredictions(
  simulated: boolean,
  blocks: number,
  signal: AbortSignal,
): Promise<MemcpyDocument> {
  let said = 0;
  return runMemcpy({
    backend: 'cuda',
    sizes: simulated ? [MiB] : [16 * MiB, 64 * MiB, GiB],
    pins: ['none', 'register', 'hostalloc'],
    directions: ['HtoD', 'DtoH'],
    reserve: !simulated && process.getuid?.() === 0,
    blocks: simulated ? 1 : blocks,
    seed: 1,
    signal,
    onProgress: ({ block, blocks: all, elapsed_ns, cell }) => {
      if (elapsed_ns - said < 10e9) return;
      said = elapsed_ns;
      console.error(
        `predictions: block ${block}/${all}, ${Math.round(elapsed_ns / 1e9)} s, ${cell}`,
      );
    },
  });
}
