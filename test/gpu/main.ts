/**
 * `npm run test:gpu`: what only a real GPU can show.
 *
 * Fails when the benchmark does not run, when its pinned copies are more than 3 % slower than a plain loop of
 * cuMemcpyAsync on the same device, or when the counters of Monitor disagree with known traffic or with nvidia-smi. The
 * published predictions are reported as confirmed, refuted or undecided and never fail. Without a GPU everything is
 * skipped, with the reason.
 *
 *   --simulated      run on a simulated driver too (WARPGAUGE_CUDA): shows that the plumbing works; times mean nothing
 *   --only PART      memcpy, monitor, trace or limits
 *   --blocks N       blocks of the predictions, default 6 (each needs five valid samples); a block takes up to a minute
 *   --json FILE      also write the result of the benchmark there
 *   --trace FILE     also write what tracing measured there
 *   --limits FILE    write what may be set there (ranges, clocks, MIG profiles, affinity: only read), instead of to
 *                    docs/results/DATE-GPU-limits.json
 *   --monitor FILE   also write what Monitor measured there: bytes per payload byte, costs of the NVML calls
 *
 * Ctrl-C ends the predictions early; they are then judged on what was measured.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { WarpgaugeError } from '#lib/errors';
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import { MiB } from '#lib/units';
import { checkLimits, limitsFile, writeLimits } from './limits.ts';
import { comparePinned, measurePredictions } from './memcpy.ts';
import { checkMonitor } from './monitor.ts';
import { judgePredictions } from './predictions.ts';
import { checkTrace } from './trace.ts';

/** Why there is nothing to test on, or whether the device is simulated. */
async function findDevice(
  allowSimulated: boolean,
): Promise<{ skip: string } | { simulated: boolean; name: string }> {
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
    return { simulated, name: probe.device?.name ?? 'gpu' };
  } catch (error) {
    const absent = ['ERR_NO_DRIVER', 'ERR_NO_DEVICE', 'ERR_LIBRARY_MISSING'];
    if (error instanceof WarpgaugeError && absent.includes(error.code)) {
      return { skip: `${error.message} (${error.code})` };
    }
    throw error;
  }
}

const PARTS = [
  'pinned copies against a plain loop',
  'published predictions',
  'Monitor against known traffic and nvidia-smi',
  'traced copies against known ones',
  'limits, clocks, MIG profiles and affinity, only read',
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      simulated: { type: 'boolean', default: false },
      only: { type: 'string' },
      blocks: { type: 'string', default: '6' },
      json: { type: 'string' },
      monitor: { type: 'string' },
      trace: { type: 'string' },
      limits: { type: 'string' },
    },
  });
  const found = await findDevice(values.simulated);
  if ('skip' in found) {
    for (const part of PARTS) console.log(`skipped  ${part}: ${found.skip}`);
    console.log(`gpu tests: 0 run, ${PARTS.length} skipped`);
    return 0;
  }
  const { simulated } = found;
  let passed = true;
  let run = 0;
  const wants = (part: string): boolean => values.only === undefined || values.only === part;
  if (wants('limits')) {
    const limits = await checkLimits(simulated);
    passed &&= limits.passed;
    run++;
    const file = values.limits ?? (simulated ? null : limitsFile(found.name));
    if (file !== null) writeLimits(file, limits);
  }
  if (wants('trace')) {
    const trace = await checkTrace(simulated);
    passed &&= trace.passed;
    run++;
    if (values.trace !== undefined) {
      writeFileSync(values.trace, `${JSON.stringify(trace.measured, null, 1)}\n`);
    }
  }
  if (wants('monitor') && !simulated) {
    const monitor = await checkMonitor();
    passed &&= monitor.passed;
    run++;
    if (values.monitor !== undefined) {
      writeFileSync(values.monitor, `${JSON.stringify(monitor.measured, null, 1)}\n`);
    }
  }
  if (wants('memcpy')) {
    passed = (await comparePinned(simulated)) && passed;
    const interrupt = new AbortController();
    process.once('SIGINT', () => interrupt.abort());
    const document = await measurePredictions(simulated, Number(values.blocks), interrupt.signal);
    run += 2;
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify(document, null, 1)}\n`);
    for (const prediction of judgePredictions(document)) {
      console.log(`${simulated ? 'Simulated  ' : ''}${prediction.outcome}  ${prediction.text}`);
      console.log(`    ${prediction.why}`);
      if (prediction.outcome === 'refuted')
        console.log(`    this would mean: ${prediction.ifFalse}`);
    }
  }
  console.log(`gpu tests: ${run} run, ${PARTS.length - run} skipped`);
  return passed ? 0 : 1;
}

process.exitCode = await main();
