import type { RecordBatch } from '../../arrow.ts';
import { BatchCells, namesOf } from '../../monitor/recording/batch-cells.ts';
import type { OpenRecording, RecordedTable } from '../../monitor/recording/open-recording.ts';
import { isoTime } from '../../monitor/recording/summary.ts';
import type { TimeWindow } from '../../monitor/recording/time-window.ts';
import { packageVersion } from '../../version.ts';
import type { OutputFile } from '../output-file.ts';
import type { TraceContext } from './context.ts';
import { writeCounters } from './counters.ts';
import { EventFile } from './event-file.ts';
import { writeEvents, writeMarks } from './moments.ts';
import { writeSpans } from './spans.ts';
import { Tracks } from './tracks.ts';

/** Tables that are read for what they say about others. */
const ASIDE = ['clock', 'mark', 'cuda.process'];

export interface ChromeTraceOptions {
  readonly recording: OpenRecording;
  readonly tables: readonly RecordedTable[];
  readonly window: TimeWindow;
  /** Every column that moves, not only those that tell most. */
  readonly all: boolean;
  readonly file: OutputFile;
  batches(table: RecordedTable): AsyncGenerator<RecordBatch, void>;
  progress(table: string, rows: number): void;
}

export interface ChromeTraceCounts {
  readonly events: number;
  /** Rows that became events, by table. */
  readonly rows: ReadonlyMap<string, number>;
}

/** Commands of traced processes, by pid. */
async function commandsOf(recording: OpenRecording): Promise<ReadonlyMap<number, string>> {
  const commands = new Map<number, string>();
  const table = recording.tables.find(({ name }) => name === 'cuda.process');
  if (table === undefined) return commands;
  const names = await namesOf(recording, table);
  for await (const batch of recording.batches(table.name)) {
    const cells = new BatchCells(batch, names);
    const [pid, command] = [cells.number('pid'), cells.name('command')];
    for (let at = 0; at < cells.rows; at++) {
      const name = command(at);
      if (name !== null) commands.set(pid(at), name);
    }
  }
  return commands;
}

/** What a reader of the file should know before the first event, as JSON members. */
function headOf({ recording, tables, window }: ChromeTraceOptions): string {
  const { manifest } = recording;
  const simulated = tables.filter((table) => table.simulated).map(({ name }) => name);
  const about = {
    tool: `warpgauge ${packageVersion()}`,
    recording: manifest.run,
    hostname: manifest.host.hostname,
    command: manifest.command,
    base: isoTime(window.start),
    base_unix_ns: String(window.start),
    from: isoTime(window.from),
    to: isoTime(window.to),
    simulated,
    note: `ts 0 is ${isoTime(window.start)}${simulated.length > 0 ? '. Simulated: no real device is behind the tables that are named here' : ''}`,
  };
  return `"displayTimeUnit":"ns","otherData":${JSON.stringify(about)}`;
}

/**
 * Writes a recording as Trace Event Format JSON, which Perfetto and chrome://tracing open: work of each GPU and stream, calls
 * and ranges of each thread, counters, page faults and marks. Memory stays flat.
 */
export async function writeChromeTrace(options: ChromeTraceOptions): Promise<ChromeTraceCounts> {
  const { recording, tables, window } = options;
  const file = new EventFile(options.file, headOf(options));
  const rows = new Map<string, number>();
  const context: TraceContext = {
    recording,
    window,
    file,
    tracks: new Tracks(file),
    commands: await commandsOf(recording),
    async *batches(table) {
      for await (const batch of options.batches(table)) {
        yield batch;
        if (file.full) await file.flush();
      }
    },
    count(table, more) {
      rows.set(table.name, (rows.get(table.name) ?? 0) + more);
      options.progress(table.name, more);
    },
  };
  const drawn = tables.filter(({ name }) => !ASIDE.includes(name) && !name.endsWith('.name'));
  await writeMarks(context);
  await writeSpans(
    context,
    drawn.filter(({ kind }) => kind === 'span'),
  );
  for (const table of drawn.filter(({ kind }) => kind === 'event'))
    await writeEvents(context, table);
  for (const table of drawn.filter(({ kind }) => kind === 'sample')) {
    await writeCounters(context, table, options.all);
  }
  await file.finish();
  return { events: file.events, rows };
}
