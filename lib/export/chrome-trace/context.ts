import type { OpenRecording, RecordedTable } from '../../monitor/recording/open-recording.ts';
import type { TimeWindow } from '../../monitor/recording/time-window.ts';
import type { EventFile } from './event-file.ts';
import type { Tracks } from './tracks.ts';

/** What every part of a chrome trace works with. */
export interface TraceContext {
  readonly recording: OpenRecording;
  readonly window: TimeWindow;
  readonly file: EventFile;
  readonly tracks: Tracks;
  /** Batches of a table; ends where the caller interrupts. Whatever waits is written between two of them. */
  batches(table: RecordedTable): AsyncGenerator<import('../../arrow.ts').RecordBatch, void>;
  /** Names of traced processes, as far as they are known. */
  readonly commands: ReadonlyMap<number, string>;
  /** Counts the rows of a table that became events. */
  count(table: RecordedTable, rows: number): void;
}

/** `Simulated` before the name of whatever a simulated library is behind. */
export function labelled(name: string, table: RecordedTable): string {
  return table.simulated ? `Simulated: ${name}` : name;
}

/** Order of the processes, from the top. */
export const ORDER = { marks: 0, spans: 1, gpu: 10, process: 100, counters: 200 } as const;

export function gpuProcess(
  context: TraceContext,
  table: RecordedTable,
  gpu: string | null,
  device: number,
): number {
  const ordinal = Number.isNaN(device) ? '' : ` ${device}`;
  const key = `gpu ${gpu ?? `without a name${ordinal}`}`;
  const name = gpu === null ? `GPU${ordinal}` : `GPU${ordinal} ${gpu}`;
  const order = ORDER.gpu + (Number.isNaN(device) ? 50 : Math.min(device, 49));
  return context.tracks.process(key, labelled(name, table), order);
}

export function hostProcess(context: TraceContext, table: RecordedTable, pid: number): number {
  const command = context.commands.get(pid);
  const name = command === undefined ? `process ${pid}` : `${command} (${pid})`;
  return context.tracks.process(`pid ${pid}`, labelled(name, table), ORDER.process, pid);
}

/** Ns since the start of the recording, where its times begin in the file. */
export function edges({ window }: TraceContext): { readonly from: number; readonly to: number } {
  const { start, from, to } = window;
  return { from: Number(from - start), to: Number(to - start) };
}
