import { readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { refuseExisting } from '../../export/targets.ts';
import type { MemcpyDocument } from '../../measure/memcpy/types.ts';
import { outputError } from '../../monitor/recording/output-error.ts';

const RESULT = 'result.json';

interface MemcpyReportOptions {
  readonly html?: string;
  readonly from?: string;
  readonly to?: string;
  readonly force?: boolean;
}

/** The result at a path, or null where there is none: then it is to be a recording. */
async function resultAt(path: string): Promise<string | null> {
  const there = await stat(path).catch(() => null);
  if (there === null) {
    throw new WarpgaugeError('ERR_RECORDING', `${path} does not exist`, {
      fix: 'name a folder of warpgauge record or trace, or a result of bench memcpy',
      source: path,
    });
  }
  if (!there.isDirectory()) return path;
  const inside = join(path, RESULT);
  const isResult = await stat(inside).then(
    (one) => one.isFile(),
    () => false,
  );
  return isResult ? inside : null;
}

/**
 * Writes the page of a memcpy result and says where it is; null where the path is none. The page is the one that `bench
 * memcpy --out` writes.
 *
 * @throws WarpgaugeError `ERR_RECORDING` where there is nothing, or a file that is no result; `ERR_OUTPUT`.
 */
export async function memcpyReport(
  path: string,
  { html, from, to, force }: MemcpyReportOptions,
): Promise<string | null> {
  const file = await resultAt(path);
  if (file === null) return null;
  let document: MemcpyDocument | null = null;
  try {
    document = JSON.parse(await readFile(file, 'utf8')) as MemcpyDocument;
  } catch {
    // no JSON: said below
  }
  if (document?.schema !== 'warpgauge/memcpy/1') {
    throw new WarpgaugeError('ERR_RECORDING', `${file} is no result of bench memcpy`, {
      fix: `name a folder of warpgauge record or trace, or the ${RESULT} of bench memcpy --out`,
      source: file,
    });
  }
  for (const [name, value] of Object.entries({ '--from': from, '--to': to })) {
    if (value !== undefined) throw invalidArgument(name, 'a recording beside it', value);
  }
  const folder = resolve(dirname(file));
  const out = html ?? join(dirname(folder), `${basename(folder) || 'memcpy'}-report.html`);
  await refuseExisting(out, force === true);
  const { renderHtml } = await import('../html.ts');
  try {
    await writeFile(out, renderHtml(document));
  } catch (cause) {
    throw outputError(out, cause);
  }
  return `${out}: the result of bench memcpy in ${file}`;
}
