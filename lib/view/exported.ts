import type { ExportedTrace, ExportProgress, ExportResult } from '../export/index.ts';
import { formatBytes } from '../units.ts';
import { painter } from './colour.ts';
import type { ProgressStream } from './progress.ts';
import { formatTable, printable } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const CLEAR = '\r\u001b[2K';
const REDRAW_MS = 100;

/** What an export wrote. */
export function renderExport(result: ExportResult, { colour, width }: RenderOptions): string {
  const { tables, out, format, trace } = result;
  const right = { align: 'right' } as const;
  const lines = formatTable(
    [
      { title: 'table' },
      { title: 'rows', ...right },
      { title: 'files', ...right },
      { title: 'size', ...right },
      { title: '' },
    ],
    // A trace shows rows of some tables only: the others have nothing to draw.
    tables
      .filter(({ rows }) => trace === null || rows > 0)
      .map(({ name, rows, files, torn, simulated }) => ({
        cells: [
          printable(name),
          rows.toLocaleString('en-US'),
          trace === null ? String(files.length) : '',
          trace !== null ? '' : formatBytes(files.reduce((sum, { bytes }) => sum + bytes, 0)),
          [...(torn ? ['torn'] : []), ...(simulated ? ['Simulated'] : [])].join(', '),
        ],
      })),
    { paint: painter(colour), width },
  );
  if (trace !== null) return [...traceLines(result, trace), ...lines].join('\n');
  return [`${printable(result.recording)} as ${format} in ${printable(out)}`, ...lines].join('\n');
}

function traceLines({ recording }: ExportResult, trace: ExportedTrace): string[] {
  const { path, bytes, events, from, to } = trace;
  return [
    `${printable(recording)} as a chrome trace in ${printable(path)}: ${events.toLocaleString('en-US')} events, ${formatBytes(bytes)}`,
    `from ${from} to ${to}; open it in https://ui.perfetto.dev or chrome://tracing`,
  ];
}

/** What somebody who trusts the files should know; one sentence each. */
export function exportNotes({ tables, running, unreadable, recording }: ExportResult): string[] {
  const torn = tables.filter((table) => table.torn).map(({ name }) => name);
  const names = (list: readonly string[]): string => list.map(printable).join(', ');
  return [
    ...(running
      ? [`${printable(recording)} is being recorded: exported is what was there at the start`]
      : []),
    ...(torn.length > 0 && !running
      ? [
          `${names(torn)}: the recorder was cut off; exported are all whole batches (warpgauge recover mends the recording)`,
        ]
      : []),
    ...(unreadable.length > 0 ? [`${names(unreadable)}: nothing whole to export`] : []),
  ];
}

/** One line that tells how an export goes; only on a terminal, at most ten times a second. */
export function exportStatus(
  stream: ProgressStream,
  now: () => number = () => performance.now(),
): { update(progress: ExportProgress): void; close(): void } {
  const terminal = stream.isTTY === true && process.env['TERM'] !== 'dumb';
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  return {
    update({ table, rowsDone, rows }) {
      if (!terminal || now() - drawnAt < REDRAW_MS) return;
      drawnAt = now();
      const share = Math.floor((100 * rowsDone) / Math.max(rows, 1));
      const text = `${share} %  ${rowsDone.toLocaleString('en-US')} of ${rows.toLocaleString('en-US')} rows  ${printable(table)}`;
      // One column less than the terminal has: a full line would wrap.
      stream.write(CLEAR + text.slice(0, (stream.columns ?? 80) - 1));
      drawn = true;
    },
    close() {
      if (drawn) stream.write(CLEAR);
      drawn = false;
    },
  };
}
