import type { Command } from 'commander';
import { exportStatus } from '../view/exported.ts';
import { memcpyReport } from '../view/report/memcpy-report.ts';
import { renderReport, reportNotes } from '../view/report/told.ts';
import { complain } from './failure.ts';
import { catchInterrupt } from './interrupt.ts';
import { print } from './output.ts';

interface Options {
  readonly html?: string;
  readonly from?: string;
  readonly to?: string;
  readonly force?: true;
}

/** `warpgauge report DIR|FILE [--html FILE] [--from T] [--to T] [--force]` */
export function registerReport(program: Command): void {
  program
    .command('report')
    .description('a recording, or a result of bench memcpy, as one HTML page that needs no network')
    .argument(
      '<path>',
      'folder of warpgauge record or trace; folder or result.json of bench memcpy',
    )
    .option('--html <file>', 'file to write (default: DIR-report.html, beside the folder)')
    .option(
      '--from <t>',
      'where the page begins: 1.5s from the start, an ISO 8601 time, or the name of a mark',
    )
    .option('--to <t>', 'where it ends, in the same words')
    .option('--force', 'replace the file')
    .action(async (path: string, options: Options) => {
      const { html, from, to } = options;
      const written = await memcpyReport(path, options);
      if (written !== null) {
        print(written);
        return;
      }
      const { writeReport } = await import('../view/report/write-report.ts');
      const status = exportStatus(process.stderr);
      const interrupt = catchInterrupt();
      try {
        const report = await writeReport(path, {
          force: options.force === true,
          signal: interrupt.signal,
          onProgress: (progress) => status.update(progress),
          ...(html === undefined ? {} : { html }),
          ...(from === undefined ? {} : { from }),
          ...(to === undefined ? {} : { to }),
        });
        status.close();
        for (const note of reportNotes(report)) complain(note);
        print(renderReport(report));
      } finally {
        status.close();
        interrupt.close();
      }
    });
}
