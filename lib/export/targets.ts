import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { WarpgaugeError } from '../errors.ts';
import type { RecordedTable } from '../monitor/recording/open-recording.ts';
import { outputError } from '../monitor/recording/output-error.ts';
import { PART_SUFFIX } from './output-file.ts';
import type { ExportFormat } from './types.ts';

/** Beside the recording: a folder inside it would be lost when the recording is replaced. */
export function defaultOut(dir: string, format: ExportFormat): string {
  const recording = resolve(dir);
  const name = `${basename(recording) || 'recording'}-${format}`;
  return join(dirname(recording), format === 'chrome-trace' ? `${name}.json` : name);
}

/** Names of the files of a table: `vmstat.parquet`, or `vmstat-00001.parquet` and so on where it takes several. */
export function fileNames(table: string, extension: string, parts: number): string[] {
  if (parts <= 1) return [`${table}.${extension}`];
  return Array.from(
    { length: parts },
    (_, part) => `${table}-${String(part + 1).padStart(5, '0')}.${extension}`,
  );
}

/** Whether a file in the folder is one that an export of the table could have made. */
function isOf(table: string, extension: string, file: string): boolean {
  const whole = file.endsWith(PART_SUFFIX) ? file.slice(0, -PART_SUFFIX.length) : file;
  if (!whole.startsWith(table) || !whole.endsWith(`.${extension}`)) return false;
  const between = whole.slice(table.length, -(extension.length + 1));
  return between === '' || /^-\d{5}$/.test(between);
}

/** @throws WarpgaugeError `ERR_RECORDING` for a name that would lead out of the folder. */
export function checkNames(dir: string, tables: readonly RecordedTable[]): void {
  const wrong = tables.find(({ name }) => /[/\0]/.test(name) || name === '');
  if (wrong === undefined) return;
  throw new WarpgaugeError(
    'ERR_RECORDING',
    `Expected names of tables that can be names of files but ${dir} has ${JSON.stringify(wrong.name)}`,
    { source: dir },
  );
}

/**
 * Files of earlier exports of these tables: with `force` they are removed, because old parts among new ones would pass for
 * one table; without it they are a reason to refuse.
 *
 * @throws WarpgaugeError `ERR_OUTPUT`
 */
export async function clearEarlier(
  out: string,
  tables: readonly RecordedTable[],
  extension: string,
  force: boolean,
): Promise<void> {
  try {
    const earlier = (await readdir(out)).filter((file) =>
      tables.some(({ name }) => isOf(name, extension, file)),
    );
    const whole = earlier.filter((file) => !file.endsWith(PART_SUFFIX));
    if (whole.length > 0 && !force) {
      const more = whole.length === 1 ? '' : ` and ${whole.length - 1} more`;
      throw new WarpgaugeError(
        'ERR_OUTPUT',
        `Expected no files of these tables but ${join(out, whole.sort()[0] ?? '')} exists${more}`,
        { fix: 'choose another folder with --out, or --force to replace them', source: out },
      );
    }
    for (const file of earlier) await rm(join(out, file));
  } catch (cause) {
    throw outputError(out, cause);
  }
}

/**
 * A file that is there already is a reason to refuse, unless `force` says to replace it; a folder always is.
 *
 * @throws WarpgaugeError `ERR_OUTPUT`
 */
export async function refuseExisting(path: string, force: boolean): Promise<void> {
  const there = await stat(path).catch(() => null);
  if (there === null || (force && !there.isDirectory())) return;
  throw new WarpgaugeError(
    'ERR_OUTPUT',
    there.isDirectory() ? `Expected a file but ${path} is a folder` : `${path} exists already`,
    {
      fix: there.isDirectory() ? 'name a file' : 'name another file, or --force to replace it',
      source: path,
    },
  );
}
