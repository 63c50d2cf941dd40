/**
 * `warpgauge doctor --json` as a user waits for it, against the start of `node` itself. The probes it lists
 * are taken off: they are the work, and the limit is on all the rest.
 */
import type { DoctorReport } from 'warpgauge';
import { runNode } from '../child.ts';
import { alternate, pair } from '../pairs.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 21;
/** What all probes together may take. */
const PROBES_NS = 100e6;

export const doctorCase: BenchCase = {
  name: 'doctor',
  description:
    'warpgauge doctor --json against node -e 0, and the sum of its probes against 100 ms',
  async run({ repetitions, signal }) {
    const probes: number[] = [];
    const times = await alternate(['doctor', 'node'], repetitions ?? REPETITIONS, async (key) => {
      if (key === 'node') return (await runNode(['-e', '0'], signal)).wallNs;
      const { wallNs, stdout } = await runNode(['dist/cli/main.js', 'doctor', '--json'], signal);
      const report = JSON.parse(stdout) as DoctorReport;
      const sum = report.probes.reduce((total, { duration_ns }) => total + duration_ns, 0);
      // Probes that overlap would be taken off twice.
      if (sum > report.duration_ns) {
        throw new Error(`the probes take ${sum} ns, all of doctor ${report.duration_ns} ns`);
      }
      probes.push(sum);
      return wallNs - sum;
    });
    return [
      {
        name: 'doctor',
        subject: 'doctor --json without the probe times it lists',
        floor: 'node -e 0',
        limit: { at_most: 2 },
        pairs: pair(times.doctor, times.node),
      },
      {
        name: 'doctor/probes',
        subject: 'the probe times that doctor --json lists, summed',
        floor: '100 ms',
        limit: { at_most: 1 },
        // The first was the round that `alternate` throws away.
        pairs: probes.slice(1).map((sum) => [sum, PROBES_NS] as const),
      },
    ];
  },
};
