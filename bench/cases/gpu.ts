/**
 * The gpu source on Simulated GPUs whose calls cost what they cost on an H200: time inside the driver, steadiness of the
 * fast table, and PCIe bytes through counters that wrap every 86 ms.
 */
import { join } from 'node:path';
import { askProbe, buildNative, parseLines, runChild } from '../child.ts';
import type { GpuLine } from '../probes/gpu.ts';
import type { Comparison } from '../result.ts';
import type { BenchCase, CaseContext } from './case.ts';
import type { LaneLine } from './lane.ts';

/** Each run warms up by itself, so that none is thrown away: all of them together take less than a minute. */
const ROUNDS = 1;
/** Long enough for several windows of 10 s. */
const SECONDS = 13;
const EXACT_SECONDS = 4;
const TICKER_SECONDS = 2;
const INTERVAL_NS = 10e6;
/** The default of `driverShare`. */
const SHARE_PERCENT = 0.5;
const JITTER_NS = 1e6;
const HALF_WRAP_BYTES = 2 ** 31;

async function measure(
  program: string,
  gpus: number,
  { repetitions, seconds, signal }: CaseContext,
): Promise<Comparison[]> {
  const durationNs = Math.round((seconds ?? TICKER_SECONDS) * 1e9);
  const ticker = ['--side', 'ticker', '--reads', '0', '--interval-ns', `${INTERVAL_NS}`];
  const late: number[] = [];
  const keys = ['auto', 'exact'] as const;
  const runs: Record<(typeof keys)[number], GpuLine[]> = { auto: [], exact: [] };
  for (let round = 0; round < (repetitions ?? ROUNDS); round++) {
    const args = [...ticker, '--duration-ns', `${durationNs}`];
    const [line] = parseLines<LaneLine>((await runChild(program, args, signal)).stdout);
    if (line === undefined) throw new Error(`${program} printed nothing`);
    late.push(line.p99_late_ns);
    for (const [key, span] of [
      ['auto', SECONDS],
      ['exact', EXACT_SECONDS],
    ] as const) {
      runs[key].push(await askProbe<GpuLine>('gpu', [gpus, key, seconds ?? span], signal));
    }
  }
  const who = `${gpus} Simulated H200`;
  const compare = (
    name: string,
    subject: string,
    floor: string,
    unit: NonNullable<Comparison['unit']>,
    limit: Comparison['limit'],
    pairs: Comparison['pairs'],
  ): Comparison => ({
    name: `gpu/Simulated-${gpus}/${name}`,
    subject: `${who}: ${subject}`,
    floor,
    unit,
    limit,
    pairs,
  });
  const budget = `${SHARE_PERCENT} % (driverShare)`;
  const comparisons = [
    compare(
      'share',
      'time inside the driver per GPU, in the dearest 10 s',
      budget,
      'percent',
      { at_most: 1 },
      runs.auto.map((line) => [line.sharePercent, SHARE_PERCENT] as const),
    ),
    compare(
      'share-exact',
      'time inside the driver per GPU with pcie=exact, which is outside the budget',
      budget,
      'percent',
      null,
      runs.exact.map((line) => [line.sharePercent, SHARE_PERCENT] as const),
    ),
    compare(
      'p99-late',
      '99th percentile of the lateness of the fast table, every 10 ms',
      '1 ms',
      'ns',
      { at_most: 1 },
      runs.auto.map((line) => [line.p99LateNs, JITTER_NS] as const),
    ),
    compare(
      'p99-late-of-C',
      'for comparison, that of a bare ticker in C',
      '1 ms',
      'ns',
      null,
      late.map((ns) => [ns, JITTER_NS] as const),
    ),
    compare(
      'missed',
      'missed deadlines of the fast table',
      '1 %',
      'percent',
      null,
      runs.auto.map((line) => [line.missedPercent, 1] as const),
    ),
    compare(
      'pcie-exact',
      'PCIe bytes with pcie=exact, error from first to last row',
      'half a wrap of 32 bits: no wrap was lost or invented',
      'bytes',
      { at_most: 1 },
      runs.exact.map((line) => [line.errorBytes, HALF_WRAP_BYTES] as const),
    ),
  ];
  for (const key of keys) {
    comparisons.push(
      compare(
        `pcie-wrong-${key}`,
        `rows with wrong PCIe bytes and no mark, pcie=${key}`,
        'one row',
        'count',
        { at_most: 0 },
        runs[key].map((line) => [line.wrong, 1] as const),
      ),
      compare(
        `pcie-ambiguous-${key}`,
        `rows marked ambiguous, pcie=${key}`,
        'all rows',
        'count',
        null,
        runs[key].map((line) => [line.ambiguous, line.intervals] as const),
      ),
    );
  }
  return comparisons;
}

export const gpuCase: BenchCase = {
  name: 'gpu',
  description: 'the gpu source on 1 and 8 Simulated H200: driver share, lateness, PCIe bytes',
  async run(context) {
    const program = join(await buildNative(context.signal), 'lane_bench');
    return [...(await measure(program, 1, context)), ...(await measure(program, 8, context))];
  },
};
