/**
 * The npm package systeminformation against `monitor.sample` for the same facts at 1 Hz: CPU time of the process and of
 * the children it starts, start-up and first answer left out. All processes of a round run side by side: what is compared is CPU time, and
 * each sleeps nearly always.
 */
import { setMaxListeners } from 'node:events';
import { askProbe } from '../child.ts';
import { type Pair, pair } from '../pairs.ts';
import type { Comparison } from '../result.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 10;
const SECONDS = 10;

export const FACTS = {
  cpu: 'currentLoad()',
  memory: 'mem()',
  disk: 'disksIO()',
  network: "networkStats('*')",
  process: 'processLoad() of itself',
} as const;
const ALL = 'all';

export const systeminformationCase: BenchCase = {
  name: 'systeminformation',
  description: 'systeminformation at 1 Hz against monitor.sample, CPU time for the same facts',
  async run({ repetitions, seconds, signal }) {
    // A listener for each process that runs at the same time.
    setMaxListeners(0, signal);
    const facts = [...Object.keys(FACTS), ALL];
    const peer = new Map<string, number[]>();
    const ours = new Map<string, number[]>();
    const idle: number[] = [];
    const take = async (into: number[], who: string, fact: string): Promise<void> => {
      const { cpuNs } = await askProbe<{ cpuNs: number }>(
        'system',
        [who, fact, seconds ?? SECONDS],
        signal,
      );
      into.push(cpuNs);
    };
    const listOf = (map: Map<string, number[]>, fact: string): number[] => {
      const list = map.get(fact) ?? [];
      map.set(fact, list);
      return list;
    };
    for (let run = 0; run < (repetitions ?? REPETITIONS); run++) {
      const probes = facts.flatMap((fact) => [
        take(listOf(peer, fact), 'systeminformation', fact),
        take(listOf(ours, fact), 'warpgauge', fact),
      ]);
      await Promise.all([...probes, take(idle, 'idle', ALL)]);
    }
    const against = (fact: string): Pair[] => pair(listOf(peer, fact), listOf(ours, fact));
    const span = `in ${seconds ?? SECONDS} s at 1 Hz`;
    const comparisons: Comparison[] = facts.map((fact) => ({
      name: `systeminformation/${fact}`,
      subject: `CPU time of systeminformation, ${fact}, ${span}`,
      floor: 'CPU time of monitor.sample for the same',
      limit: null,
      pairs: against(fact),
    }));
    comparisons.push({
      name: 'systeminformation/idle',
      subject: `CPU time of monitor.sample, ${ALL}, ${span}`,
      floor: 'a node with nothing but a timer at 1 Hz',
      limit: null,
      pairs: pair(listOf(ours, ALL), idle),
    });
    return comparisons;
  },
};
