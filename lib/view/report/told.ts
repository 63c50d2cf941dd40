import { formatBytes, formatDuration } from '../../units.ts';
import { numberOf } from '../numbers.ts';
import { printable } from '../table.ts';
import type { WrittenReport } from './write-report.ts';

/** What `warpgauge report` says of the page that it wrote. */
export function renderReport({ path, bytes, collected, simulated }: WrittenReport): string {
  const { meta, series } = collected;
  const slices = [meta.copies, meta.kernels].flatMap((one) =>
    one === null ? [] : [`${one.total.toLocaleString('en-US')} ${one.title.toLowerCase()}`],
  );
  const holds = [
    formatDuration(meta.length),
    ...slices,
    ...(series.length > 0 ? [numberOf(series.length, 'line')] : []),
    ...(meta.marks.length > 0 ? [numberOf(meta.marks.length, 'mark')] : []),
  ];
  return `${printable(path)} (${formatBytes(bytes)}): ${holds.join(', ')}${simulated ? '; Simulated' : ''}`;
}

/** What somebody who trusts the page should know; one sentence each. */
export function reportNotes({ collected, running, path }: WrittenReport): string[] {
  const cut = [collected.meta.copies, collected.meta.kernels].filter((one) => one?.until != null);
  return [
    ...(running ? ['it is being recorded: shown is what was there at the start'] : []),
    ...cut.map(
      (one) =>
        `${printable(path)} holds the first ${one?.start.length.toLocaleString('en-US')} of ${one?.total.toLocaleString('en-US')} ${one?.title.toLowerCase()} one by one, all others as sums: --from and --to choose a piece`,
    ),
  ];
}
