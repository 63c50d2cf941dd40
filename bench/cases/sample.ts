/**
 * `Source::Sample` in a closed loop against the bare calls in C that get the same text or counts out of the kernel: what
 * parsing, columns and bookkeeping add.
 */
import { join } from 'node:path';
import { buildNative, parseLines, runChild } from '../child.ts';
import { type Comparison, Skip, type SkippedComparison } from '../result.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 10;
/** Loops of 10 to 100 ms: long beside a time slice of the scheduler. */
const SOURCES = [
  { name: 'perf', calls: 50_000, limit: 1.25, floor: 'read of a group of 6 software counters' },
  { name: 'vmstat', calls: 2000, limit: 1.3, floor: 'preads of /proc/vmstat to its end' },
  { name: 'meminfo', calls: 4000, limit: 1.3, floor: 'pread of /proc/meminfo' },
  { name: 'cpu', calls: 4000, limit: 1.3, floor: 'pread of /proc/stat' },
  { name: 'disk', calls: 4000, limit: 1.3, floor: 'preads of /proc/diskstats to its end' },
  { name: 'net', calls: 4000, limit: 1.3, floor: 'preads of /proc/net/dev to its end' },
  { name: 'pressure', calls: 4000, limit: 1.3, floor: 'preads of /proc/pressure/*' },
  { name: 'hugepages', calls: 2000, limit: 1.3, floor: 'preads of the hugepages files in sysfs' },
  {
    name: 'process',
    calls: 4000,
    limit: 1.3,
    floor: 'preads of /proc/PID/status, io and stat, read of 2 fault counters',
  },
] as const;

interface SampleLine {
  readonly subject_ns: number;
  readonly floor_ns: number;
  readonly again_ns: number;
}

export const sampleCase: BenchCase = {
  name: 'sample',
  description: 'Sample() of each source in a closed loop against the bare calls in C',
  async run({ repetitions, signal }) {
    const program = join(await buildNative(signal), 'sample_bench');
    const rounds = `${repetitions ?? REPETITIONS}`;
    const comparisons: (Comparison | SkippedComparison)[] = [];
    for (const { name, calls, limit, floor } of SOURCES) {
      const args = ['--source', name, '--rounds', rounds, '--calls', `${calls}`];
      let lines: SampleLine[];
      try {
        lines = parseLines<SampleLine>((await runChild(program, args, signal)).stdout);
      } catch (error) {
        if (!(error instanceof Skip)) throw error;
        comparisons.push({ name: `sample/${name}`, skipped: error.message });
        continue;
      }
      comparisons.push({
        name: `sample/${name}`,
        subject: `Sample() of ${name}, per call`,
        floor,
        limit: { at_most: limit },
        pairs: lines.map((line) => [line.subject_ns, line.floor_ns] as const),
        band: lines.map((line) => [line.again_ns, line.floor_ns] as const),
      });
    }
    return comparisons;
  },
};
