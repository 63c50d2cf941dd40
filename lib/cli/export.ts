import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import { type ExportFormat, exportRecording } from '../export/index.ts';
import { exportNotes, exportStatus, renderExport } from '../view/exported.ts';
import { complain } from './failure.ts';
import { catchInterrupt } from './interrupt.ts';
import { print, printJson, renderOptions } from './output.ts';

interface Options {
  readonly parquet?: true;
  readonly csv?: true;
  readonly arrow?: true;
  readonly out?: string;
  readonly table?: readonly string[];
  readonly force?: true;
  readonly json?: true;
}

const FORMATS: readonly ExportFormat[] = ['parquet', 'csv', 'arrow'];

function formatOf(options: Options): ExportFormat {
  const asked = FORMATS.filter((format) => options[format] === true);
  const [format] = asked;
  if (format !== undefined && asked.length === 1) return format;
  const given = asked.length === 0 ? 'none' : asked.map((name) => `--${name}`).join(' ');
  throw invalidArgument('the format', 'one of --parquet, --csv, --arrow', given);
}

/** `warpgauge export DIR --parquet|--csv|--arrow [--out DIR] [--table NAME]... [--force] [--json]` */
export function registerExport(program: Command): void {
  program
    .command('export')
    .description('write a recording as Parquet, CSV or Arrow files')
    .argument('<dir>', 'folder that warpgauge record wrote')
    .option(
      '--parquet',
      'Parquet: DuckDB, pandas, Polars; nanoseconds kept, at most 1,000,000 rows per file',
    )
    .option('--csv', 'CSV (RFC 4180): spreadsheets and scripts')
    .option('--arrow', 'Arrow IPC file format: Polars, pyarrow')
    .option('--out <dir>', 'folder to write (default: DIR-parquet, DIR-csv or DIR-arrow)')
    .option(
      '--table <name>',
      'a table to export; repeat it for more (default: all)',
      (name: string, before: readonly string[] = []) => [...before, name],
    )
    .option('--force', 'replace files of an earlier export of these tables')
    .option('--json', 'print one JSON document (warpgauge/export/1)')
    .action(async (dir: string, options: Options) => {
      const format = formatOf(options);
      const status = exportStatus(process.stderr);
      const interrupt = catchInterrupt();
      try {
        const result = await exportRecording(dir, {
          format,
          force: options.force === true,
          signal: interrupt.signal,
          onProgress: (progress) => status.update(progress),
          ...(options.out === undefined ? {} : { out: options.out }),
          ...(options.table === undefined ? {} : { tables: options.table }),
        });
        status.close();
        for (const note of exportNotes(result)) complain(note);
        if (options.json) printJson(result);
        else print(renderExport(result, renderOptions()));
      } finally {
        status.close();
        interrupt.close();
      }
    });
}
