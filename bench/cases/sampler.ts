/** What an application pays and gets: `monitor.sample` at 10 kHz perf + 100 Hz vmstat in a process that takes the batches. */
import { askProbe } from '../child.ts';
import type { SamplerLine } from '../probes/sampler.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 10;
const SECONDS = 10;
const EVENT_LOOP_PERCENT = 1;

export const samplerCase: BenchCase = {
  name: 'sampler',
  description: 'monitor.sample, 10 kHz perf + 100 Hz vmstat: nothing lost, event loop idle',
  async run({ repetitions, seconds, signal }) {
    const lines: SamplerLine[] = [];
    for (let run = 0; run < (repetitions ?? REPETITIONS); run++) {
      lines.push(await askProbe<SamplerLine>('sampler', [seconds ?? SECONDS], signal));
    }
    const what = `${seconds ?? SECONDS} s of 10 kHz perf + 100 Hz vmstat`;
    return [
      ...(['perf', 'vmstat'] as const).map((table) => ({
        name: `sampler/${table}`,
        subject: `rows delivered + deadlines missed in ${what}`,
        floor: 'deadlines',
        // Neither lost nor made up; more than all of them is impossible, and an error of the probe.
        limit: { at_least: 1 },
        unit: 'count' as const,
        pairs: lines.map(({ [table]: { delivered, missed, deadlines } }) => {
          if (delivered + missed > deadlines) throw new Error(`${delivered} + ${missed} rows`);
          return [delivered + missed, deadlines] as const;
        }),
      })),
      {
        name: 'sampler/dropped',
        subject: 'batches dropped',
        floor: 'one batch',
        limit: { at_most: 0 },
        unit: 'count' as const,
        pairs: lines.map(({ dropped }) => [dropped, 1] as const),
      },
      {
        name: 'sampler/missed',
        subject: 'missed deadlines of perf',
        floor: 'deadlines',
        limit: null,
        unit: 'count' as const,
        pairs: lines.map(({ perf }) => [perf.missed, perf.deadlines] as const),
      },
      {
        name: 'sampler/event-loop',
        subject: `utilization of the event loop, ${what}`,
        floor: `${EVENT_LOOP_PERCENT} %`,
        limit: { at_most: 1 },
        unit: 'percent' as const,
        pairs: lines.map((line) => [100 * line.utilization, EVENT_LOOP_PERCENT] as const),
      },
    ];
  },
};
