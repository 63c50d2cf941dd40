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
  readonly chromeTrace?: true | string;
  readonly from?: string;
  readonly to?: string;
  readonly all?: true;
  readonly out?: string;
  readonly table?: readonly string[];
  readonly force?: true;
  readonly json?: true;
}

const FORMATS: Readonly<Record<ExportFormat, (options: Options) => boolean>> = {
  parquet: ({ parquet }) => parquet === true,
  csv: ({ csv }) => csv === true,
  arrow: ({ arrow }) => arrow === true,
  'chrome-trace': ({ chromeTrace }) => chromeTrace !== undefined,
};

function formatOf(options: Options): ExportFormat {
  const formats = Object.keys(FORMATS) as ExportFormat[];
  const asked = formats.filter((format) => FORMATS[format](options));
  const [format] = asked;
  const list = (names: readonly string[], between: string): string =>
    names.map((name) => `--${name}`).join(between);
  if (format === undefined || asked.length > 1) {
    const given = asked.length === 0 ? 'none' : list(asked, ' ');
    throw invalidArgument('the format', `one of ${list(formats, ', ')}`, given);
  }
  const { from, to, all } = options;
  const only = Object.entries({ from, to, all }).find(([, value]) => value !== undefined);
  if (only !== undefined && format !== 'chrome-trace') {
    throw invalidArgument(`--${only[0]}`, '--chrome-trace beside it', `--${format}`);
  }
  return format;
}

/** The file behind --chrome-trace, or --out. */
function outOf({ chromeTrace, out }: Options): { readonly out?: string } {
  if (typeof chromeTrace !== 'string') return out === undefined ? {} : { out };
  if (out === undefined) return { out: chromeTrace };
  throw invalidArgument('the file', 'one of --chrome-trace FILE and --out FILE', 'both');
}

/**
 * `warpgauge export DIR --parquet|--csv|--arrow [--out DIR] [--table NAME]... [--force] [--json]`,
 * `warpgauge export DIR --chrome-trace [FILE] [--from T] [--to T] [--all] ...`
 */
export function registerExport(program: Command): void {
  program
    .command('export')
    .description('write a recording as Parquet, CSV or Arrow files, or as a trace for Perfetto')
    .argument('<dir>', 'folder that warpgauge record wrote')
    .option(
      '--parquet',
      'Parquet: DuckDB, pandas, Polars; nanoseconds kept, at most 1,000,000 rows per file',
    )
    .option('--csv', 'CSV (RFC 4180): spreadsheets and scripts')
    .option('--arrow', 'Arrow IPC file format: Polars, pyarrow')
    .option(
      '--chrome-trace [file]',
      'one JSON file for Perfetto and chrome://tracing (default: DIR-chrome-trace.json)',
    )
    .option(
      '--from <t>',
      'where a trace begins: 1.5s from the start, an ISO 8601 time, or the name of a mark',
    )
    .option('--to <t>', 'where it ends, in the same words')
    .option('--all', 'every column that moves as a counter; default: those that tell most')
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
          ...outOf(options),
          ...(options.from === undefined ? {} : { from: options.from }),
          ...(options.to === undefined ? {} : { to: options.to }),
          ...(options.all === undefined ? {} : { all: true }),
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
