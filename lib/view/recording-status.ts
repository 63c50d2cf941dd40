import type { RecordingStats } from '../monitor/recording/recorder.ts';
import { formatBytes, formatDuration } from '../units.ts';
import type { ProgressStream } from './progress.ts';
import { printable } from './table.ts';

const CLEAR = '\r\u001b[2K';

/** One line that tells how a recording goes; only on a terminal. */
export function recordingStatus(
  stream: ProgressStream,
  out: string,
): { update(stats: RecordingStats): void; close(): void } {
  const terminal = stream.isTTY === true && process.env['TERM'] !== 'dumb';
  let drawn = false;
  return {
    update({ sampler, rows, bytes, keptBytes }) {
      if (!terminal) return;
      const missed = sampler.tables.reduce((sum, table) => sum + table.missed, 0);
      const dropped = sampler.tables.reduce((sum, table) => sum + table.droppedRows, 0);
      const parts = [
        `recording ${printable(out)}`,
        formatDuration(sampler.elapsedNs),
        keptBytes > 0 ? `${formatBytes(keptBytes)} kept` : `${rows} rows, ${formatBytes(bytes)}`,
        ...(missed > 0 ? [`${missed} missed`] : []),
        ...(dropped > 0 ? [`${dropped} dropped`] : []),
        'Ctrl-C ends it',
      ];
      // One column less than the terminal has: a full line would wrap.
      stream.write(CLEAR + parts.join('  ').slice(0, (stream.columns ?? 80) - 1));
      drawn = true;
    },
    close() {
      if (drawn) stream.write(CLEAR);
      drawn = false;
    },
  };
}
