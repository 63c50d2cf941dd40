import { basename, dirname, join, resolve } from 'node:path';
import { WarpgaugeError } from '../../errors.ts';
import { OutputFile } from '../../export/output-file.ts';
import { refuseExisting } from '../../export/targets.ts';
import { makeFolders, removeFolders } from '../../monitor/recording/manifest.ts';
import { type OpenRecording, openRecording } from '../../monitor/recording/open-recording.ts';
import { timeWindow } from '../../monitor/recording/time-window.ts';
import { summarizeTrace } from '../../monitor/trace/index.ts';
import { renderTrace } from '../trace.ts';
import { type Collected, collect } from './collect.ts';
import { viewerScript } from './inline.ts';
import { Packer } from './pack.ts';
import { embeddedJson, pageHead } from './page.ts';

const MOST_STATES = 200;

export interface ReportOptions {
  /** The file. Default: the recording's name with `-report.html`, beside the recording. */
  readonly html?: string;
  /** Where the piece begins and ends: an offset from the start, an ISO 8601 time or the name of a mark. */
  readonly from?: string;
  readonly to?: string;
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly table: string;
    readonly rowsDone: number;
    readonly rows: number;
  }) => void;
}

export interface WrittenReport {
  readonly path: string;
  readonly bytes: number;
  readonly collected: Collected;
  readonly simulated: boolean;
  readonly running: boolean;
}

/** Why something could not be had, each reason once. */
async function statesOf(recording: OpenRecording): Promise<string[]> {
  if (!recording.tables.some(({ name }) => name === 'state')) return [];
  const lines = new Map<string, number>();
  const state = await recording.table('state');
  const text = (row: number, name: string): string => String(state.getChild(name)?.get(row) ?? '');
  for (let row = 0; row < state.numRows; row++) {
    if (text(row, 'state') === 'ok') continue;
    const where = [text(row, 'table') || text(row, 'source'), text(row, 'key'), text(row, 'field')];
    const line = `${where.filter((part) => part !== '').join(' ')}: ${text(row, 'state')}, ${text(row, 'reason')}`;
    lines.set(line, (lines.get(line) ?? 0) + 1);
  }
  const all = [...lines].map(([line, times]) => (times === 1 ? line : `${line} (${times} times)`));
  const more = all.length - MOST_STATES;
  return more > 0 ? [...all.slice(0, MOST_STATES), `and ${more} more`] : all;
}

/** What the trace says of copies and kernels, over the whole recording; empty where none was traced. */
async function summaryOf(recording: OpenRecording): Promise<string> {
  const summary = await summarizeTrace(recording);
  return summary === null ? '' : renderTrace(summary, { colour: false, width: 140 });
}

/** The default file: beside the recording, because what is in it is lost when it is replaced. */
export function defaultReport(dir: string): string {
  const recording = resolve(dir);
  return join(dirname(recording), `${basename(recording) || 'recording'}-report.html`);
}

/**
 * Writes a recording as one HTML page that needs no network: plots on one time axis, each copy and kernel, tables of totals and
 * losses. Memory is bounded, whatever the recording's size.
 *
 * @throws WarpgaugeError `ERR_RECORDING` where there is no recording or nothing to draw, `ERR_OUTPUT`, `ERR_INTERRUPTED`,
 * `ERR_INVALID_ARGUMENT` for what is no moment.
 */
export async function writeReport(
  dir: string,
  options: ReportOptions = {},
): Promise<WrittenReport> {
  const recording = await openRecording(dir);
  const { from, to, signal } = options;
  const window = await timeWindow(recording, { from, to });
  const path = options.html ?? defaultReport(dir);
  const made = await makeFolders(dirname(resolve(path)));
  try {
    await refuseExisting(path, options.force === true);
    const packer = new Packer();
    const rows = recording.tables.reduce((sum, table) => sum + table.rows, 0);
    let rowsDone = 0;
    const collected = await collect({
      recording,
      window,
      packer,
      async *batches(table) {
        for await (const batch of recording.batches(table.name)) {
          if (signal?.aborted) {
            throw new WarpgaugeError('ERR_INTERRUPTED', 'The report was interrupted');
          }
          yield batch;
          rowsDone += batch.numRows;
          options.onProgress?.({ table: table.name, rowsDone, rows });
        }
      },
    });
    const { code, hash } = await viewerScript();
    const facts = {
      dir: basename(resolve(dir)),
      manifest: recording.manifest,
      tables: recording.tables,
      window,
      collected,
      states: await statesOf(recording),
      summary: await summaryOf(recording),
    };
    const file = await OutputFile.create(path);
    try {
      await file.write(Buffer.from(pageHead(facts, hash)));
      await file.write(
        Buffer.from(
          `<script type="application/json" id="meta">${embeddedJson(collected.meta)}</script>\n`,
        ),
      );
      for (const piece of packer.elements()) await file.write(Buffer.from(piece));
      await file.write(Buffer.from(`<script>${code}</script>\n</body>\n</html>\n`));
      await file.finish();
    } finally {
      await file.abandon();
    }
    return {
      path,
      bytes: file.bytes,
      collected,
      simulated: recording.manifest.simulated,
      running: recording.running,
    };
  } catch (error) {
    await removeFolders(made);
    throw error;
  }
}
