import { mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import type { MemcpyDocument } from '../measure/memcpy/types.ts';
import { renderHtml } from './html.ts';
import { memcpyPlots } from './plots/memcpy.ts';

/** Samples as an Arrow IPC stream; called once the JSON is safe on disk. */
export type SamplesWriter = () => Promise<Uint8Array>;

/** System errors in words of the person who chose the folder. */
const MEANINGS: Readonly<Record<string, readonly [meaning: string, fix: string]>> = {
  EACCES: ['permission denied', 'choose a folder that you may write'],
  EPERM: ['permission denied', 'choose a folder that you may write'],
  EROFS: ['the file system is read-only', 'choose a folder on a writable file system'],
  ENOSPC: ['no space left on the device', 'free some space, or choose a folder on another device'],
  EDQUOT: ['the disk quota is used up', 'free some space, or choose a folder on another device'],
  ENOTDIR: ['it, or a part of its path, is not a folder', 'choose another path'],
  ENOENT: ['nothing can be made there', 'choose another path'],
  EEXIST: ['something else is in its place', 'choose another path'],
  ENAMETOOLONG: ['the path is too long', 'choose a shorter path'],
};

function outputError(path: string, cause: unknown, addition = ''): WarpgaugeError {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  const errno = cause instanceof Error ? (cause as NodeJS.ErrnoException).errno : undefined;
  const [meaning, fix] = MEANINGS[code ?? ''] ?? [
    cause instanceof Error ? cause.message : String(cause),
    null,
  ];
  return new WarpgaugeError('ERR_OUTPUT', `Cannot write ${path}: ${meaning}${addition}`, {
    ...(fix === null ? {} : { fix }),
    ...(errno === undefined ? {} : { status: -errno }),
    source: path,
    cause,
  });
}

/** A working folder that was removed has no name any more. */
function absolute(dir: string): string {
  try {
    return resolve(dir);
  } catch (cause) {
    throw outputError(dir, cause);
  }
}

const isMissing = (cause: unknown): boolean => (cause as NodeJS.ErrnoException).code === 'ENOENT';

/** Removes our own folders as long as they are empty: what others put there meanwhile stays. */
async function removeFolders(made: readonly string[]): Promise<void> {
  for (const path of made.toReversed()) await rmdir(path).catch(() => undefined);
}

/**
 * The folder exists and is empty afterwards. Returns the folders that had to be made, topmost first. Deliberately not
 * `mkdir` with `recursive`: Node 20 then loops for ever on a place like /proc, where mkdir says ENOENT although
 * the parent exists.
 */
async function makeEmpty(dir: string): Promise<string[]> {
  const missing: string[] = [];
  for (let path = dir; ; path = dirname(path)) {
    try {
      await stat(path);
      break;
    } catch (cause) {
      if (!isMissing(cause)) throw cause;
      missing.unshift(path);
    }
  }
  const made: string[] = [];
  try {
    for (const path of missing) {
      await mkdir(path);
      made.push(path);
    }
  } catch (cause) {
    await removeFolders(made);
    throw cause;
  }
  const entries = await readdir(dir);
  if (entries.length > 0) {
    throw new WarpgaugeError(
      'ERR_OUTPUT',
      `Expected an empty or absent folder for --out but ${dir} holds ${entries.length} entries`,
      {
        fix: 'choose another folder, or empty this one',
        source: dir,
      },
    );
  }
  return made;
}

/**
 * Whether a result can be written to `dir`, found out before the run by really writing there. Leaves nothing
 * behind: folders it made are removed again.
 *
 * @throws WarpgaugeError `ERR_OUTPUT` when the folder is not empty, not a folder or not writable.
 */
export async function checkOutDir(dir: string): Promise<void> {
  if (dir === '') throw invalidArgument('--out', 'a folder', dir);
  const folder = absolute(dir);
  const probe = join(folder, `.warpgauge-${process.pid}.probe`);
  let made: string[] = [];
  try {
    made = await makeEmpty(folder);
    const file = await open(probe, 'wx');
    await file.close();
    await rm(probe);
  } catch (cause) {
    throw cause instanceof WarpgaugeError ? cause : outputError(folder, cause);
  } finally {
    await removeFolders(made);
  }
}

/** Under its own name only when whole: a reader never sees half a file, and a crash leaves the old state. */
async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
}

/**
 * Writes `result.json`, `samples.arrows`, `plots/*.svg` and `report.html` into `dir`, which is made if it is
 * missing. The JSON comes first because all else follows from it: when a later file fails, the error says
 * that the result is safe.
 *
 * @returns The paths written, in order.
 * @throws WarpgaugeError `ERR_OUTPUT`
 */
export async function writeOutput(
  dir: string,
  document: MemcpyDocument,
  samples: SamplesWriter,
): Promise<string[]> {
  const folder = absolute(dir);
  const plots = join(folder, 'plots');
  const written: string[] = [];
  const write = async (
    path: string,
    content: () => string | Uint8Array | Promise<Uint8Array>,
  ): Promise<void> => {
    try {
      await writeWhole(path, await content());
    } catch (cause) {
      const safe = written[0];
      throw outputError(
        path,
        cause,
        safe === undefined ? '' : ` (the result itself is safe in ${safe})`,
      );
    }
    written.push(path);
  };
  try {
    await makeEmpty(folder);
  } catch (cause) {
    throw cause instanceof WarpgaugeError ? cause : outputError(folder, cause);
  }
  await write(join(folder, 'result.json'), () => `${JSON.stringify(document, null, 1)}\n`);
  await write(join(folder, 'samples.arrows'), samples);
  try {
    await mkdir(plots);
  } catch (cause) {
    throw outputError(plots, cause, ` (the result itself is safe in ${written[0]})`);
  }
  for (const plot of memcpyPlots(document)) {
    await write(
      join(plots, `${plot.name}.svg`),
      () => `<?xml version="1.0" encoding="UTF-8"?>\n${plot.svg}\n`,
    );
  }
  await write(join(folder, 'report.html'), () => renderHtml(document));
  return written;
}
