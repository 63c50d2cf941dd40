/** A command that makes two million CUDA records a second for a minute, traced and written to disk. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askProbe } from '../child.ts';
import type { TraceLine } from '../probes/trace.ts';
import { Skip } from '../result.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 1;
const SECONDS = 60;
const RATE = 2_000_000;
/** What a record may cost in the program that is traced, ns of CPU time. */
const RECORD_NS = 150;
/** Memory is flat when the last quarter needs hardly more than the second one. */
const FLAT = 1.15;
const PROGRAM = 'out/debug/programs/cuda_copies';

export const traceCase: BenchCase = {
  name: 'trace',
  description: `traceCommand and disk at ${RATE / 1e6} M records/s of the simulated CUPTI for 60 s`,
  async run({ repetitions, seconds, signal }) {
    if (!existsSync(PROGRAM)) throw new Skip('node scripts/setup.mjs --tests builds the program');
    const lines: TraceLine[] = [];
    for (let run = 0; run < (repetitions ?? REPETITIONS); run++) {
      const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
      try {
        const args = [join(folder, 'run'), seconds ?? SECONDS, RATE, PROGRAM];
        lines.push(await askProbe<TraceLine>('trace', args, signal));
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    const span = `${seconds ?? SECONDS} s`;
    return [
      {
        name: 'trace/rows',
        subject: `rows on disk after ${span}, JavaScript blocked for 1 s in the middle`,
        floor: 'records that were made',
        limit: { at_least: 1 },
        unit: 'count',
        pairs: lines.map(({ rows, made }) => [rows, made] as const),
      },
      {
        name: 'trace/seconds',
        subject: 'time in which they were made',
        floor: span,
        limit: { at_most: 1.1 },
        unit: 'ns',
        pairs: lines.map(({ madeNs }) => [madeNs, (seconds ?? SECONDS) * 1e9] as const),
      },
      {
        name: 'trace/child',
        subject: 'CPU time of our thread in the program, per record',
        floor: `${RECORD_NS} ns`,
        limit: { at_most: 1 },
        unit: 'ns',
        pairs: lines.map(({ childNs, made }) => [childNs / made, RECORD_NS] as const),
      },
      {
        name: 'trace/reader',
        subject: 'CPU time of our reader per record',
        floor: `${RECORD_NS} ns`,
        limit: null,
        unit: 'ns',
        pairs: lines.map(({ readerNs, made }) => [readerNs / made, RECORD_NS] as const),
      },
      {
        name: 'trace/memory',
        subject: 'largest resident set of the recorder in the last quarter',
        floor: 'that in the second quarter',
        limit: { at_most: FLAT },
        unit: 'bytes',
        pairs: lines.map(({ lateBytes, earlyBytes }) => [lateBytes, earlyBytes] as const),
      },
      {
        name: 'trace/child-memory',
        subject: 'largest resident set of the program in the last quarter',
        floor: 'that in the second quarter',
        limit: { at_most: FLAT },
        unit: 'bytes',
        pairs: lines.map((line) => [line.childLateBytes, line.childEarlyBytes] as const),
      },
    ];
  },
};
