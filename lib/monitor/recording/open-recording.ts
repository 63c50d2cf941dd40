import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RecordBatch, RecordBatchReader, type Schema, Table } from '../../arrow.ts';
import { WarpgaugeError } from '../../errors.ts';
import { didYouMean } from '../../near-match.ts';
import {
  ENVIRONMENT_FILE,
  isRunning,
  MARKS_FILE,
  type Manifest,
  type ManifestTable,
  readManifest,
} from './manifest.ts';
import { parseInbox } from './mark-inbox.ts';
import type { Mark } from './own-tables.ts';
import { readMessage, type StreamScan, scanStream } from './stream-scan.ts';

/** One table of a recording on disk. */
export interface RecordedTable extends ManifestTable {
  readonly schema: Schema;
  /** True: the file ends in the middle of a batch, or has no end; its whole batches are read all the same. */
  readonly torn: boolean;
  /** Batches that are whole. */
  readonly batches: number;
}

/** A recording on disk, finished, running or torn. */
export interface OpenRecording {
  readonly dir: string;
  readonly manifest: Manifest;
  /** `environment.json`, or null where it is missing. */
  readonly environment: unknown;
  /** A process is still writing it: what is read is what was there when it was opened. */
  readonly running: boolean;
  /** `rows` are those that are in the file, whatever the manifest says. Tables without a whole schema are left out. */
  readonly tables: readonly RecordedTable[];
  /** A table in memory, with all whole batches. */
  table(name: string): Promise<Table>;
  /** The batches of a table one by one: memory stays flat for a file of any size. */
  batches(name: string): AsyncGenerator<RecordBatch, void, undefined>;
  /**
   * The first and the last moment of a table, by its first and last batch alone where its rows are in the order of time;
   * null where it has no rows.
   */
  timeRange(name: string): Promise<{ readonly first: bigint; readonly last: bigint } | null>;
  /** Everything that was named, in the order of time. */
  marks(): Promise<Mark[]>;
  /** Those of them that other processes set and that a killed recorder did not come to copy into its table. */
  uncopiedMarks(): Promise<Mark[]>;
}

interface Scanned {
  readonly path: string;
  readonly scan: StreamScan;
}

async function* wholeMessages(file: FileHandle, scan: StreamScan): AsyncGenerator<Buffer> {
  for (const message of scan.messages) yield await readMessage(file, message);
}

async function* readBatches({ path, scan }: Scanned): AsyncGenerator<RecordBatch, void, undefined> {
  const file = await open(path, 'r');
  try {
    const reader = await RecordBatchReader.from(wholeMessages(file, scan));
    for await (const batch of reader) yield batch;
  } finally {
    await file.close();
  }
}

async function scanFile(path: string): Promise<{ scan: StreamScan; schema: Schema | null } | null> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new WarpgaugeError('ERR_RECORDING', `Cannot read ${path}: ${message}`, {
      source: path,
      cause,
      ...(code === 'EACCES' ? { fix: `sudo chmod a+r ${path}` } : {}),
    });
  }
  try {
    const scan = await scanStream(file);
    const [first] = scan.messages;
    if (first === undefined) return { scan, schema: null };
    const reader = RecordBatchReader.from(await readMessage(file, first)).open();
    return { scan, schema: reader.schema };
  } finally {
    await file.close();
  }
}

/** The scan of a file with its first and last batch alone. */
function endsOf({ path, scan }: Scanned): Scanned {
  const batches = scan.messages.filter(({ kind }) => kind === 'batch');
  const ends = [batches[0], batches.at(-1)];
  const messages = scan.messages.filter((one) => one.kind !== 'batch' || ends.includes(one));
  return { path, scan: { ...scan, messages } };
}

/** Times of the rows; of a row that lasts (`duration_ns`) also its end. */
async function timesOf(from: Scanned): Promise<{ first: bigint; last: bigint } | null> {
  let range: { first: bigint; last: bigint } | null = null;
  for await (const batch of readBatches(from)) {
    const times = batch.getChild('time')?.data[0]?.values as BigInt64Array | undefined;
    const lengths = batch.getChild('duration_ns')?.data[0]?.values as BigInt64Array | undefined;
    for (let at = 0; times !== undefined && at < batch.numRows; at++) {
      const time = times[at] as bigint;
      // The cell of a null is 0, and a duration of 0 moves nothing.
      const end = time + (lengths?.[at] ?? 0n);
      if (range === null) range = { first: time, last: end };
      if (time < range.first) range.first = time;
      if (end > range.last) range.last = end;
    }
  }
  return range;
}

const byTime = (a: Mark, b: Mark): number => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0);

function marksOf(batch: RecordBatch): Mark[] {
  const times = batch.getChild('time')?.data[0]?.values as BigInt64Array;
  const names = batch.getChild('name');
  const attributes = batch.getChild('attributes');
  return Array.from({ length: batch.numRows }, (_, at) => {
    const text = attributes?.get(at) as string | null | undefined;
    return {
      time: times[at] as bigint,
      name: String(names?.get(at)),
      attributes: text ? (JSON.parse(text) as Mark['attributes']) : null,
    };
  });
}

/** The public function of the same name: see lib/monitor/recording/index.ts. */
export async function openRecording(dir: string): Promise<OpenRecording> {
  const manifest = await readManifest(dir);
  const scanned = new Map<string, Scanned>();
  const tables: RecordedTable[] = [];
  for (const described of manifest.tables) {
    const path = join(dir, described.file);
    const found = await scanFile(path);
    if (found === null || found.schema === null) continue;
    const { scan, schema } = found;
    scanned.set(described.name, { path, scan });
    tables.push({
      ...described,
      rows: scan.rows,
      bytes: scan.validBytes,
      schema,
      torn: !scan.complete,
      batches: scan.messages.filter(({ kind }) => kind === 'batch').length,
    });
  }
  const find = (name: string): Scanned => {
    const found = scanned.get(name);
    if (found !== undefined) return found;
    const names = [...scanned.keys()];
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Expected a table of ${dir} (${names.join(', ')}) but received ${JSON.stringify(name)}${didYouMean(name, names)}`,
    );
  };
  const copied = async (): Promise<Mark[]> => {
    const marks: Mark[] = [];
    if (!scanned.has('mark')) return marks;
    for await (const batch of readBatches(find('mark'))) marks.push(...marksOf(batch));
    return marks;
  };
  const uncopied = async (): Promise<Mark[]> => {
    const inbox = await readFile(join(dir, MARKS_FILE)).catch(() => Buffer.alloc(0));
    const id = ({ time, name }: Mark): string => `${time} ${name}`;
    const known = new Set((await copied()).map(id));
    const { marks } = parseInbox(inbox, BigInt(manifest.clock.utcOffsetNs));
    return marks.filter((mark) => !known.has(id(mark)));
  };
  const environment = await readFile(join(dir, ENVIRONMENT_FILE), 'utf8').then(
    JSON.parse,
    () => null,
  );
  return {
    dir,
    manifest,
    environment,
    running: isRunning(manifest),
    tables,
    async table(name) {
      const from = find(name);
      const batches: RecordBatch[] = [];
      for await (const batch of readBatches(from)) batches.push(batch);
      const schema = tables.find((table) => table.name === name)?.schema as Schema;
      return new Table(schema, batches);
    },
    batches: (name) => readBatches(find(name)),
    timeRange(name) {
      const ordered = tables.find((table) => table.name === name)?.kind === 'sample';
      return timesOf(ordered ? endsOf(find(name)) : find(name));
    },
    async marks() {
      return [...(await copied()), ...(await uncopied())].sort(byTime);
    },
    uncopiedMarks: uncopied,
  };
}
