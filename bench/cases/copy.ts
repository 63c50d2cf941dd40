/**
 * The timed region of the memcpy benchmark's host backend against a plain loop of memcpy on the same two
 * buffers: what the benchmark adds to the thing it measures.
 */
import { join } from 'node:path';
import { formatBytes, MiB } from '#lib/units';
import { buildNative, parseLines, runChild } from '../child.ts';
import type { Comparison } from '../result.ts';
import type { BenchCase } from './case.ts';

/** Enough pairs that the interval of the median is well below the 2 % of the limit. */
const SIZES = [
  { bytes: MiB, repetitions: 2001 },
  { bytes: 16 * MiB, repetitions: 301 },
  { bytes: 64 * MiB, repetitions: 101 },
];
const LIMIT = { at_most: 1.02 };

interface CopyLine {
  readonly direction: 'HtoD' | 'DtoH';
  readonly backend_ns: number;
  readonly floor_ns: number;
}

export const copyCase: BenchCase = {
  name: 'copy',
  description: 'timed region of the host backend against a loop of memcpy in C, same buffers',
  async run({ repetitions, signal }) {
    const program = join(await buildNative(signal), 'copy_bench');
    const comparisons: Comparison[] = [];
    for (const size of SIZES) {
      const rounds = repetitions ?? size.repetitions;
      const args = ['--pages', '4k', '--bytes', `${size.bytes}`, '--rounds', `${rounds}`];
      const lines = parseLines<CopyLine>((await runChild(program, args, signal)).stdout);
      for (const direction of ['HtoD', 'DtoH'] as const) {
        comparisons.push({
          name: `copy/${direction}/${formatBytes(size.bytes).replace(' ', '')}`,
          subject: `HostBackend::Copy${direction}, warm`,
          floor: 'memcpy in chunks of 1 MiB in C',
          limit: LIMIT,
          pairs: lines
            .filter((line) => line.direction === direction)
            .map((line) => [line.backend_ns, line.floor_ns] as const),
        });
      }
    }
    return comparisons;
  },
};
