/**
 * The whole engine at 10 kHz (lane, keeper, slabs, a perf group of 6 software counters) against a bare ticker in C that
 * does the same sleeps, clock reads and counter reads, each in a process of its own.
 */
import { join } from 'node:path';
import { buildNative, parseLines, runChild } from '../child.ts';
import { alternate, type Pair, pair } from '../pairs.ts';
import type { Comparison } from '../result.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 10;
const SECONDS = 5;
const INTERVAL_NS = 100_000;
/** What the engine may miss beyond the ticker, percentage points. */
const MISSED_POINTS = 0.5;

/** What out/bench/bench/lane_bench prints. */
export interface LaneLine {
  readonly cpu_ns: number;
  readonly p99_late_ns: number;
  readonly ticks: number;
  readonly missed: number;
}

const missedPercent = ({ ticks, missed }: LaneLine): number => (100 * missed) / (ticks + missed);

export const laneCase: BenchCase = {
  name: 'lane',
  description: 'the engine at 10 kHz against a bare ticker in C: CPU, lateness, missed deadlines',
  async run({ repetitions, seconds, signal }) {
    const program = join(await buildNative(signal), 'lane_bench');
    const durationNs = Math.round((seconds ?? SECONDS) * 1e9);
    const times = ['--interval-ns', `${INTERVAL_NS}`, '--duration-ns', `${durationNs}`];
    const keys = ['floor', 'lane', 'again'] as const;
    const runs = await alternate(keys, repetitions ?? REPETITIONS, async (key) => {
      const side = key === 'lane' ? 'lane' : 'ticker';
      const { stdout } = await runChild(program, ['--side', side, ...times], signal);
      const [line] = parseLines<LaneLine>(stdout);
      if (line === undefined) throw new Error(`${program} printed nothing`);
      return line;
    });
    const compare = (
      name: string,
      of: (line: LaneLine) => number,
      limit: number,
      floorOf: (line: LaneLine) => number = of,
    ): Pick<Comparison, 'name' | 'limit' | 'pairs' | 'band'> => {
      const against = (subject: readonly LaneLine[]): Pair[] =>
        pair(subject.map(of), runs.floor.map(floorOf));
      const limits = { at_most: limit };
      return { name, limit: limits, pairs: against(runs.lane), band: against(runs.again) };
    };
    return [
      {
        ...compare('lane/cpu', (line) => line.cpu_ns, 1.25),
        subject: 'CPU time of the process that runs the engine',
        floor: 'that of the ticker in C',
      },
      {
        ...compare('lane/p99-late', (line) => line.p99_late_ns, 1.2),
        subject: '99th percentile of the lateness of ticks',
        floor: 'that of the ticker in C',
      },
      {
        ...compare('lane/missed', missedPercent, 1, (line) => missedPercent(line) + MISSED_POINTS),
        unit: 'percent',
        subject: 'missed deadlines',
        floor: `those of the ticker in C + ${MISSED_POINTS} percentage points`,
      },
    ];
  },
};
