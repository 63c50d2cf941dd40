import type { Field, RecordBatch, Schema } from '../arrow.ts';
import type { OpenRecording, RecordedTable } from '../monitor/recording/open-recording.ts';
import type { OutputFile } from './output-file.ts';

/** Formats that write a file per table. */
export type TableFormat = 'parquet' | 'csv' | 'arrow';

export type ExportFormat = TableFormat | 'chrome-trace';

/** Where an export stands. */
export interface ExportProgress {
  readonly table: string;
  /** Rows of all tables that were read so far, of `rows`. */
  readonly rowsDone: number;
  readonly rows: number;
}

export interface ExportOptions {
  readonly format: ExportFormat;
  /**
   * Folder to write; of a chrome trace the file. Default: the recording's name with `-parquet`, `-csv`, `-arrow` or
   * `-chrome-trace.json`, beside the recording.
   */
  readonly out?: string;
  /**
   * Where a chrome trace begins and ends: an offset from the start (`1.5s`), an ISO 8601 time or the name of a mark. Default:
   * the whole recording.
   */
  readonly from?: string;
  readonly to?: string;
  /** Every column that moves as a counter of a chrome trace. Default false: those that tell most. */
  readonly all?: boolean;
  /** Names of the tables. Default: all. */
  readonly tables?: readonly string[];
  /** Replace files of an earlier export of the same tables. Default false. */
  readonly force?: boolean;
  /** Most rows of one Parquet file, 1 to 1,000,000 (the default). */
  readonly rowsPerFile?: number;
  /** Called after each piece that was written. */
  readonly onProgress?: (progress: ExportProgress) => void;
  /** Ends the export between two pieces with `ERR_INTERRUPTED`; complete files stay. */
  readonly signal?: AbortSignal;
}

export interface ExportedFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
}

export interface ExportedTable {
  readonly name: string;
  readonly rows: number;
  /** The recording's file ends in the middle of a batch: the rows are those before it. */
  readonly torn: boolean;
  /** A driver library that calls itself "Simulated" is behind it. */
  readonly simulated: boolean;
  readonly files: readonly ExportedFile[];
}

/** What a chrome trace holds. */
export interface ExportedTrace {
  readonly path: string;
  readonly bytes: number;
  /** Slices, instants, values of counters and ends of arrows. */
  readonly events: number;
  /** ISO 8601: the moment of `ts` 0, and the piece that was exported. */
  readonly base: string;
  readonly from: string;
  readonly to: string;
}

/** What `exportRecording` did, and what `warpgauge export --json` prints; see schemas/export-1.schema.json. */
export interface ExportResult {
  readonly schema: 'warpgauge/export/1';
  /** Folder of the recording. */
  readonly recording: string;
  readonly format: ExportFormat;
  /** Folder that holds the files; of a chrome trace the file. */
  readonly out: string;
  /** A process was still writing the recording: what is exported is what was there at the start. */
  readonly running: boolean;
  readonly tables: readonly ExportedTable[];
  /** The file of a chrome trace; null for formats with files per table. */
  readonly trace: ExportedTrace | null;
  /** Tables of the recording of which not even the schema is whole: there is nothing to export. */
  readonly unreadable: readonly string[];
}

/** Turns the batches of one file into bytes. */
export interface TableWriter {
  write(batch: RecordBatch): Promise<void>;
  /** Writes what ends the file; does not close it. */
  finish(): Promise<void>;
}

/** One output format. */
export interface Format {
  readonly extension: string;
  /** Cells of a piece: what is in memory at a time follows from it. */
  readonly cells: number;
  /** Whether a table may be cut into several files. */
  readonly parts: boolean;
  /** False: the format has no place for this type. */
  takes(field: Field): boolean;
  /** Makes what all files of a table share; the writer of each file comes from it. */
  prepare(
    recording: OpenRecording,
    table: RecordedTable,
    batches: () => AsyncIterable<RecordBatch>,
  ): Promise<(file: OutputFile) => Promise<TableWriter>>;
}

export type { RecordBatch, Schema };
