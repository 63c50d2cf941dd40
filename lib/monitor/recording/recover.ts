import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { WarpgaugeError } from '../../errors.ts';
import {
  isRunning,
  type Manifest,
  type ManifestTable,
  RESERVE_FILE,
  readManifest,
  writeManifest,
} from './manifest.ts';
import { openRecording } from './open-recording.ts';
import { outputError } from './output-error.ts';
import { markRow, markTable } from './own-tables.ts';
import { scanStream } from './stream-scan.ts';
import { StreamSerializer } from './stream-serializer.ts';

/** What `recover` did to one table. */
export interface RecoveredTable {
  readonly name: string;
  readonly file: string;
  readonly rows: number;
  /** Bytes of a half-written batch that were cut off. */
  readonly cutBytes: number;
  /** False: the file was whole before. */
  readonly changed: boolean;
  /** True: not even its schema had been written, so the file is gone. */
  readonly removed: boolean;
}

export interface RecoverResult {
  readonly dir: string;
  readonly changed: boolean;
  readonly tables: readonly RecoveredTable[];
}

const END_OF_STREAM = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

async function openFile(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r+');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw outputError(path, cause);
  }
}

async function recoverTable(dir: string, { name, file }: ManifestTable): Promise<RecoveredTable> {
  const path = join(dir, file);
  const handle = await openFile(path);
  const nothing = { name, file, rows: 0, cutBytes: 0, changed: false, removed: true };
  if (handle === null) return nothing;
  try {
    const { complete, rows, bytes, validBytes } = await scanStream(handle);
    if (complete) return { ...nothing, rows, removed: false };
    if (validBytes === 0) {
      await rm(path);
      return { ...nothing, cutBytes: bytes, changed: true };
    }
    // Write first, then cut: killed in between, the file is longer than it need be and is recovered again.
    await handle.write(END_OF_STREAM, 0, END_OF_STREAM.length, validBytes);
    await handle.truncate(validBytes + END_OF_STREAM.length);
    await handle.sync();
    return { name, file, rows, cutBytes: bytes - validBytes, changed: true, removed: false };
  } catch (cause) {
    throw outputError(path, cause);
  } finally {
    await handle.close();
  }
}

/** Appends the marks of other processes that the killed recorder did not come to copy; how many. */
async function takeMarks(dir: string, { file }: ManifestTable): Promise<number> {
  const { uncopiedMarks } = await openRecording(dir);
  const marks = await uncopiedMarks();
  if (marks.length === 0) return 0;
  const table = markTable();
  const serializer = new StreamSerializer();
  serializer.begin(table.info.schema);
  const bytes = Buffer.concat([
    ...serializer.serialize(table.batch(marks.map(markRow))),
    END_OF_STREAM,
  ]);
  const handle = await open(join(dir, file), 'r+');
  try {
    // In the place of the end of the stream. Cut off here, the file ends with its last whole batch, as before.
    const { size } = await handle.stat();
    await handle.write(bytes, 0, bytes.length, size - END_OF_STREAM.length);
    await handle.sync();
  } catch (cause) {
    throw outputError(join(dir, file), cause);
  } finally {
    await handle.close();
  }
  return marks.length;
}

async function digest(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = createReadStream(path);
  await pipeline(file, hash);
  bytes = file.bytesRead;
  return { sha256: hash.digest('hex'), bytes };
}

/** The public function of the same name: see lib/monitor/recording/index.ts. */
export async function recover(dir: string): Promise<RecoverResult> {
  const manifest = await readManifest(dir);
  if (isRunning(manifest)) {
    throw new WarpgaugeError(
      'ERR_RECORDING',
      `${dir} is still being recorded by process ${manifest.recorder.pid}`,
      { fix: `kill -INT ${manifest.recorder.pid}`, source: dir },
    );
  }
  const tables: RecoveredTable[] = [];
  const described: ManifestTable[] = [];
  for (const table of manifest.tables) {
    let recovered = await recoverTable(dir, table);
    if (table.name === 'mark' && !recovered.removed) {
      const more = await takeMarks(dir, table);
      recovered = {
        ...recovered,
        rows: recovered.rows + more,
        changed: recovered.changed || more > 0,
      };
    }
    tables.push(recovered);
    if (recovered.removed) continue;
    const whole = await digest(join(dir, table.file));
    described.push({ ...table, rows: recovered.rows, ...whole });
  }
  await rm(join(dir, RESERVE_FILE), { force: true });
  const next: Manifest = {
    ...manifest,
    ended: manifest.ended ?? new Date().toISOString(),
    end: manifest.end === 'running' ? 'recovered' : manifest.end,
    tables: described,
  };
  const changed = JSON.stringify(next) !== JSON.stringify(manifest);
  if (changed) await writeManifest(dir, next);
  return { dir, changed: changed || tables.some((table) => table.changed), tables };
}
