import { appendFile, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinding } from '../../addon.ts';
import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { isRunning, MARKS_FILE, type Manifest, partsOf, readManifest } from './manifest.ts';
import { outputError } from './output-error.ts';
import type { Mark } from './own-tables.ts';

type Attributes = NonNullable<Mark['attributes']>;

/** A mark as another process writes it: CLOCK_MONOTONIC, which all processes of a boot share. */
interface InboxLine {
  readonly monotonicNs: string;
  readonly name: string;
  readonly attributes: Attributes | null;
}

export function checkMarkName(name: unknown): string {
  if (typeof name !== 'string' || name === '') throw invalidArgument('name', 'a name', name);
  return name;
}

/** Longest time that a rotated recording is between two parts, ms, and how often to look. */
const BETWEEN_PARTS_MS = 2000;
const LOOK_MS = 20;

/**
 * The folder that is being written: of a rotated recording the newest part, once it is there. A part that ends just
 * after this look still keeps the mark: readers take lines that the recorder did not come to copy.
 */
async function liveFolder(dir: string): Promise<{ folder: string; manifest: Manifest }> {
  const until = performance.now() + BETWEEN_PARTS_MS;
  for (;;) {
    const newest = (await partsOf(dir)).at(-1);
    const folder = newest === undefined ? dir : join(dir, newest);
    const isLast = newest === undefined || performance.now() > until;
    const manifest = await readManifest(folder).catch((error: unknown) => {
      if (isLast) throw error;
      return null;
    });
    if (manifest !== null && (isLast || manifest.end !== 'rotated')) return { folder, manifest };
    await sleep(LOOK_MS);
  }
}

/** The public function of the same name: see lib/monitor/recording/index.ts. */
export async function mark(
  dir: string,
  name: string,
  attributes: Attributes | null = null,
): Promise<void> {
  const monotonicNs = String(loadBinding().monotonicNs());
  checkMarkName(name);
  const { folder, manifest } = await liveFolder(dir);
  if (!isRunning(manifest)) {
    throw new WarpgaugeError('ERR_RECORDING', `Nobody is recording into ${dir} (${manifest.end})`, {
      fix: 'warpgauge record --out DIR',
      source: dir,
    });
  }
  const line: InboxLine = { monotonicNs, name, attributes };
  const path = join(folder, MARKS_FILE);
  try {
    // One write with O_APPEND: lines of several processes do not mix.
    await appendFile(path, `${JSON.stringify(line)}\n`);
  } catch (cause) {
    throw outputError(path, cause);
  }
}

function parseLine(text: string, utcOffsetNs: bigint): Mark | null {
  try {
    const { monotonicNs, name, attributes } = JSON.parse(text) as InboxLine;
    return { time: BigInt(monotonicNs) + utcOffsetNs, name: checkMarkName(name), attributes };
  } catch {
    return null; // not ours: a line somebody wrote by hand
  }
}

/** Whole lines of the inbox, from `offset`. */
export function parseInbox(bytes: Buffer, utcOffsetNs: bigint): { marks: Mark[]; read: number } {
  const read = bytes.lastIndexOf(0x0a) + 1;
  const marks = bytes
    .toString('utf8', 0, read)
    .split('\n')
    .slice(0, -1)
    .map((line) => parseLine(line, utcOffsetNs))
    .filter((each) => each !== null);
  return { marks, read };
}

/** The recorder's end: the marks that came since the last look. */
export class MarkInbox {
  readonly #file: FileHandle;
  #offset = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(dir: string): Promise<MarkInbox> {
    const path = join(dir, MARKS_FILE);
    try {
      return new MarkInbox(await open(path, 'ax+'));
    } catch (cause) {
      throw outputError(path, cause);
    }
  }

  async take(utcOffsetNs: bigint): Promise<Mark[]> {
    const { size } = await this.#file.stat();
    if (size <= this.#offset) return [];
    const bytes = Buffer.alloc(size - this.#offset);
    const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, this.#offset);
    const { marks, read } = parseInbox(bytes.subarray(0, bytesRead), utcOffsetNs);
    this.#offset += read;
    return marks;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
