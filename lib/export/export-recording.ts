import { dirname, join, resolve } from 'node:path';
import type { RecordBatch } from '../arrow.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { makeFolders, removeFolders } from '../monitor/recording/manifest.ts';
import {
  type OpenRecording,
  openRecording,
  type RecordedTable,
} from '../monitor/recording/open-recording.ts';
import { didYouMean } from '../near-match.ts';
import { OutputFile } from './output-file.ts';
import { regroup } from './regroup.ts';
import { checkNames, clearEarlier, defaultOut, fileNames, refuseExisting } from './targets.ts';
import type {
  ExportedFile,
  ExportedTable,
  ExportedTrace,
  ExportOptions,
  ExportResult,
  Format,
  TableFormat,
} from './types.ts';

/** Each format is loaded only when it is asked for. */
const FORMATS: Readonly<Record<TableFormat, () => Promise<Format>>> = {
  parquet: async () => (await import('./parquet.ts')).parquet,
  csv: async () => (await import('./csv.ts')).csv,
  arrow: async () => (await import('./arrow-file.ts')).arrowFile,
};

const MAX_ROWS_PER_FILE = 1_000_000;
/** 16 of them are a file of the largest size. */
const MAX_ROWS_PER_PIECE = 62_500;

interface Job {
  readonly recording: OpenRecording;
  readonly out: string;
  readonly signal: AbortSignal | undefined;
  /** Files that are whole: they stay, whatever happens to the next. */
  readonly files: ExportedFile[];
  progress(table: string, rows: number): void;
}

interface TableJob extends Job {
  readonly format: Format;
  readonly rowsPerFile: number;
}

function choose(recording: OpenRecording, names: readonly string[] | undefined): RecordedTable[] {
  if (names === undefined) return [...recording.tables];
  const known = recording.tables.map(({ name }) => name);
  return [...new Set(names)].map((name) => {
    const table = recording.tables.find((one) => one.name === name);
    if (table !== undefined) return table;
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Expected a table of ${recording.dir} (${known.join(', ')}) but received ${JSON.stringify(name)}${didYouMean(name, known)}`,
    );
  });
}

function checkTypes(tables: readonly RecordedTable[], format: Format): void {
  for (const { name, schema } of tables) {
    const wrong = schema.fields.find((field) => !format.takes(field));
    if (wrong === undefined) continue;
    throw new WarpgaugeError(
      'ERR_RECORDING',
      `Cannot export the column ${wrong.name} of ${name}: its type ${wrong.type} has no place in ${format.extension} files`,
      { fix: 'leave the table out: name the others with --table', source: name },
    );
  }
}

function interrupted(job: Job): WarpgaugeError {
  const { length } = job.files;
  const kept =
    length === 0
      ? ''
      : `; ${length} complete ${length === 1 ? 'file is' : 'files are'} in ${job.out}`;
  return new WarpgaugeError('ERR_INTERRUPTED', `The export was interrupted${kept}`);
}

/** The batches of a table; ends with an error where the signal says so or the file cannot be read. */
async function* batchesOf(job: Job, table: RecordedTable): AsyncGenerator<RecordBatch, void> {
  const batches = job.recording.batches(table.name);
  try {
    for (;;) {
      if (job.signal?.aborted) throw interrupted(job);
      let next: IteratorResult<RecordBatch, void>;
      try {
        next = await batches.next();
      } catch (cause) {
        if (cause instanceof WarpgaugeError) throw cause;
        throw new WarpgaugeError(
          'ERR_RECORDING',
          `Cannot read ${table.file} of ${job.recording.dir}: ${(cause as Error).message}`,
          { source: join(job.recording.dir, table.file), cause },
        );
      }
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await batches.return();
  }
}

/** How a table is cut: rows of a piece in memory, and of a file; all files but the last have as many whole pieces. */
function cut(table: RecordedTable, job: TableJob): { piece: number; file: number } {
  const cells = Math.floor(job.format.cells / Math.max(table.schema.fields.length, 1));
  const piece = Math.max(1, Math.min(MAX_ROWS_PER_PIECE, cells, job.rowsPerFile));
  if (!job.format.parts) return { piece, file: Number.POSITIVE_INFINITY };
  return { piece, file: Math.floor(job.rowsPerFile / piece) * piece };
}

async function exportTable(job: TableJob, table: RecordedTable): Promise<ExportedTable> {
  const { format, out } = job;
  const rows = cut(table, job);
  const paths = fileNames(table.name, format.extension, Math.ceil(table.rows / rows.file)).map(
    (name) => join(out, name),
  );
  const batches = () => batchesOf(job, table);
  const open = await format.prepare(job.recording, table, batches);
  const pieces = regroup(table.schema, batches(), rows.piece);
  const files: ExportedFile[] = [];
  try {
    for (const path of paths) {
      const file = await OutputFile.create(path);
      try {
        const writer = await open(file);
        let written = 0;
        while (written < rows.file) {
          const { done, value: piece } = await pieces.next();
          if (done) break;
          await writer.write(piece);
          written += piece.numRows;
          job.progress(table.name, piece.numRows);
        }
        if (job.signal?.aborted) throw interrupted(job);
        await writer.finish();
        await file.finish();
        files.push({ path, rows: written, bytes: file.bytes });
        job.files.push({ path, rows: written, bytes: file.bytes });
      } finally {
        await file.abandon();
      }
    }
  } finally {
    await pieces.return();
  }
  const { name, torn, simulated } = table;
  return { name, rows: files.reduce((sum, file) => sum + file.rows, 0), torn, simulated, files };
}

function rowsPerFileOf(value: unknown): number {
  if (value === undefined) return MAX_ROWS_PER_FILE;
  if (
    Number.isSafeInteger(value) &&
    (value as number) > 0 &&
    (value as number) <= MAX_ROWS_PER_FILE
  )
    return value as number;
  throw invalidArgument('rowsPerFile', `a whole number from 1 to ${MAX_ROWS_PER_FILE}`, value);
}

/** Says how much of the export is safe. */
function withKept(error: unknown, job: Job): unknown {
  if (!(error instanceof WarpgaugeError) || error.code === 'ERR_INTERRUPTED') return error;
  const { length } = job.files;
  if (length === 0) return error;
  const { code, message, fix, source, status } = error;
  return new WarpgaugeError(
    code,
    `${message} (${length} complete ${length === 1 ? 'file stays' : 'files stay'} in ${job.out})`,
    {
      cause: error,
      ...(fix === undefined ? {} : { fix }),
      ...(source === undefined ? {} : { source }),
      ...(status === undefined ? {} : { status }),
    },
  );
}

/** All tables, each into its own files. */
async function exportTables(
  job: TableJob,
  tables: readonly RecordedTable[],
  force: boolean,
): Promise<ExportedTable[]> {
  await clearEarlier(job.out, tables, job.format.extension, force);
  const exported: ExportedTable[] = [];
  for (const table of tables) exported.push(await exportTable(job, table));
  return exported;
}

/** All tables as one trace. */
async function exportTrace(
  job: Job,
  tables: readonly RecordedTable[],
  { from, to, all, force }: ExportOptions,
): Promise<{ tables: ExportedTable[]; trace: ExportedTrace }> {
  const { recording, out } = job;
  const { timeWindow } = await import('../monitor/recording/time-window.ts');
  const { isoTime } = await import('../monitor/recording/summary.ts');
  const { writeChromeTrace } = await import('./chrome-trace/index.ts');
  const window = await timeWindow(recording, { from, to });
  await refuseExisting(out, force === true);
  const file = await OutputFile.create(out);
  try {
    const { events, rows } = await writeChromeTrace({
      recording,
      tables,
      window,
      all: all === true,
      file,
      batches: (table) => batchesOf(job, table),
      progress: (table, more) => job.progress(table, more),
    });
    if (job.signal?.aborted) throw interrupted(job);
    if (events === 0) {
      throw new WarpgaugeError('ERR_RECORDING', `Nothing of ${recording.dir} can be drawn`, {
        fix: all === true ? 'choose a longer piece' : '--all draws every column that moves',
        source: recording.dir,
      });
    }
    await file.finish();
    const { start } = window;
    return {
      tables: tables.map(({ name, torn, simulated }) => ({
        name,
        rows: rows.get(name) ?? 0,
        torn,
        simulated,
        files: [],
      })),
      trace: {
        path: out,
        bytes: file.bytes,
        events,
        base: isoTime(start),
        from: isoTime(window.from),
        to: isoTime(window.to),
      },
    };
  } finally {
    await file.abandon();
  }
}

function checkOptions({ format, out, from, to, all }: ExportOptions): void {
  const formats = [...Object.keys(FORMATS), 'chrome-trace'];
  if (!formats.includes(format)) {
    throw invalidArgument('format', `one of ${formats.join(', ')}`, format);
  }
  if (out === '') {
    throw invalidArgument('out', format === 'chrome-trace' ? 'a file' : 'a folder', out);
  }
  if (format === 'chrome-trace') return;
  for (const [name, value] of Object.entries({ from, to, all })) {
    if (value === undefined) continue;
    throw invalidArgument(name, 'the format chrome-trace', format);
  }
}

/**
 * Writes a recording in another format, table by table, with flat memory for a recording of any size. Of a recording that
 * was cut all whole batches are exported and the table says `torn`. A file has its name only when it is whole.
 *
 * - `parquet`: `time` without a zone (UTC ns), which DuckDB reads as TIMESTAMP_NS; names as text; units and sources of
 *   the columns in the metadata of the file; at most `rowsPerFile` rows per file, then `table-00001.parquet` and so on.
 * - `csv`: RFC 4180; times ISO 8601 in UTC with nine digits; all digits of 64-bit integers; nothing where there is no value.
 * - `arrow`: Arrow IPC file format, uncompressed, each dictionary unified over the whole table.
 * - `chrome-trace`: one JSON file of all tables (Trace Event Format), which Perfetto opens: docs/export.md says what is where.
 *
 * @throws WarpgaugeError `ERR_RECORDING` when `dir` holds no recording, or nothing that a trace can show; `ERR_INVALID_ARGUMENT`
 * for an unknown table or format; `ERR_OUTPUT` when files of these tables exist or the disk does not take them;
 * `ERR_INTERRUPTED`. Complete files stay.
 *
 * @example
 * ```ts
 * import { exportRecording } from 'warpgauge/export';
 * const { tables } = await exportRecording('run', { format: 'parquet', out: 'run-parquet' });
 * for (const { name, rows, files } of tables) console.log(name, rows, files.length);
 * ```
 */
export async function exportRecording(dir: string, options: ExportOptions): Promise<ExportResult> {
  checkOptions(options);
  const { format } = options;
  const rowsPerFile = rowsPerFileOf(options.rowsPerFile);
  const recording = await openRecording(dir);
  const tables = choose(recording, options.tables);
  const out = options.out ?? defaultOut(dir, format);
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  let rowsDone = 0;
  const job: Job = {
    recording,
    out,
    signal: options.signal,
    files: [],
    progress(table, more) {
      rowsDone += more;
      options.onProgress?.({ table, rowsDone, rows });
    },
  };
  const readable = new Set(recording.tables.map(({ name }) => name));
  const about = {
    schema: 'warpgauge/export/1',
    recording: dir,
    format,
    out,
    running: recording.running,
    unreadable: recording.manifest.tables
      .map(({ name }) => name)
      .filter((name) => !readable.has(name)),
  } as const;
  if (format === 'chrome-trace') {
    const made = await makeFolders(dirname(resolve(out)));
    try {
      return { ...about, ...(await exportTrace(job, tables, options)) };
    } catch (error) {
      await removeFolders(made);
      throw error;
    }
  }
  const writer = await FORMATS[format]();
  checkNames(dir, tables);
  checkTypes(tables, writer);
  const made = await makeFolders(out);
  try {
    const tableJob = { ...job, format: writer, rowsPerFile };
    const exported = await exportTables(tableJob, tables, options.force === true);
    return { ...about, tables: exported, trace: null };
  } catch (error) {
    await removeFolders(made);
    throw withKept(error, job);
  }
}
