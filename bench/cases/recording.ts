/** `monitor.record` for a minute at 10 kHz: that memory stays where it was, and what lands on the disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askProbe } from '../child.ts';
import type { RecordingLine } from '../probes/recording.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 1;
const SECONDS = 60;
const GROWTH_BYTES = 64 * 1024 ** 2;

export const recordingCase: BenchCase = {
  name: 'recording',
  description: 'monitor.record, 60 s at 10 kHz beside 1 Hz tables: memory and bytes on disk',
  async run({ repetitions, seconds, signal }) {
    const lines: RecordingLine[] = [];
    for (let run = 0; run < (repetitions ?? REPETITIONS); run++) {
      const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
      try {
        const args = [join(folder, 'run'), seconds ?? SECONDS];
        lines.push(await askProbe<RecordingLine>('recording', args, signal));
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    const span = `${seconds ?? SECONDS} s`;
    const unit = 'bytes' as const;
    return [
      {
        name: 'recording/memory',
        subject: `largest resident set in ${span} above that before the start`,
        floor: '64 MiB',
        limit: { at_most: 1 },
        unit,
        pairs: lines.map((line) => [line.mostBytes - line.baseBytes, GROWTH_BYTES] as const),
      },
      {
        name: 'recording/disk-10kHz',
        subject: `file of the perf table after ${span} at 10 kHz`,
        floor: 'rows x widths of its columns',
        limit: { at_most: 1.15 },
        unit,
        pairs: lines.map(({ fast }) => [fast.fileBytes, fast.rawBytes] as const),
      },
      {
        name: 'recording/disk-1Hz',
        subject: `files of vmstat, meminfo, cpu, disk and net after ${span} at 1 Hz`,
        floor: 'rows x widths of their columns',
        limit: { at_most: 2 },
        unit,
        pairs: lines.map(({ slow }) => [slow.fileBytes, slow.rawBytes] as const),
      },
    ];
  },
};
