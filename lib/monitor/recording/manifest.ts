import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WarpgaugeError } from '../../errors.ts';
import { processStart } from '../../host/process.ts';
import type { TableKind } from '../types.ts';
import { outputError } from './output-error.ts';

export const MANIFEST_SCHEMA = 'warpgauge/recording/1';
export const MANIFEST_FILE = 'manifest.json';
export const ENVIRONMENT_FILE = 'environment.json';
/** Marks that other processes set; the recorder copies them into the `mark` table. */
export const MARKS_FILE = 'marks.jsonl';
/** Given up when the disk is full, so that the last manifest still finds room. */
export const RESERVE_FILE = '.reserve';

/** How a recording ended; `running` until then, and for ever when the recorder was killed. */
export type RecordingEnd =
  | 'running'
  | 'closed'
  | 'duration'
  | 'interrupted'
  | 'max-bytes'
  | 'rotated'
  | 'command'
  | 'failed'
  | 'recovered';

/** One table as the manifest describes it. */
export interface ManifestTable {
  readonly name: string;
  /** Instance of the source that wrote it. */
  readonly source: string;
  readonly file: string;
  readonly kind: TableKind;
  readonly grain: string;
  readonly keys: readonly string[];
  /** Cadence, ms; null for event and span tables. */
  readonly intervalMs: number | null;
  /** Rows in the file when the manifest was written. */
  readonly rows: number;
  readonly bytes: number;
  /** Ticks run and deadlines missed; null where the table has no ticks. */
  readonly ticks: number | null;
  readonly missed: number | null;
  /** Rows lost because they were not taken or not written in time. */
  readonly dropped: number;
  /** A driver library that calls itself "Simulated" is behind it. */
  readonly simulated: boolean;
  /** SHA-256 of the file; null until the recording is closed. */
  readonly sha256: string | null;
}

/** `manifest.json` of a recording, see schemas/recording-1.schema.json. */
export interface Manifest {
  readonly schema: typeof MANIFEST_SCHEMA;
  readonly run: string;
  readonly tool: { readonly version: string; readonly node: string };
  readonly argv: readonly string[];
  readonly command: readonly string[] | null;
  readonly host: {
    readonly hostname: string | null;
    readonly machineIdHash: string | null;
    readonly bootId: string | null;
    readonly container: string | null;
  };
  /** The process that writes, or wrote, this folder. */
  readonly recorder: {
    readonly pid: number;
    /** Start time of the process in clock ticks since boot. */
    readonly startTicks: number | null;
    readonly bootId: string | null;
  };
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly ended: string | null;
  readonly end: RecordingEnd;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Number of this part of a rotated recording, or of a flight recorder's dump; null: there is only one. */
  readonly part: number | null;
  readonly clock: {
    /** What was added to CLOCK_MONOTONIC to get every `time`, ns; text, because JSON numbers end at 2^53. */
    readonly utcOffsetNs: string;
  };
  readonly batchMs: number;
  readonly holdMs: number;
  readonly simulated: boolean;
  readonly tables: readonly ManifestTable[];
}

/** Written under its own name only when whole: a reader never sees half a manifest. */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  await writeJson(join(dir, MANIFEST_FILE), manifest);
}

export async function writeJson(path: string, document: unknown): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    await writeFile(temporary, `${JSON.stringify(document, null, 1)}\n`);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw outputError(path, cause);
  }
}

function notARecording(dir: string, why: string, cause?: unknown): WarpgaugeError {
  return new WarpgaugeError('ERR_RECORDING', `Expected a recording in ${dir}: ${why}`, {
    fix: 'name a folder that warpgauge record wrote',
    source: dir,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Folders below `dir` that are recordings themselves: the parts of a rotated one, in order. */
export async function partsOf(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => []);
  return names.filter((name) => /^\d{6}$/.test(name)).sort();
}

/** @throws WarpgaugeError `ERR_RECORDING` when there is none, or not one that this version reads. */
export async function readManifest(dir: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(join(dir, MANIFEST_FILE), 'utf8');
  } catch (cause) {
    const parts = await partsOf(dir);
    throw parts.length > 0
      ? notARecording(dir, `it holds ${parts.length} of them, such as ${join(dir, parts[0] ?? '')}`)
      : notARecording(dir, `no readable ${MANIFEST_FILE} (${(cause as Error).message})`, cause);
  }
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch (cause) {
    throw notARecording(dir, `${MANIFEST_FILE} is no JSON`, cause);
  }
  const { schema, tables } = (manifest ?? {}) as Partial<Manifest>;
  if (schema !== MANIFEST_SCHEMA || !Array.isArray(tables)) {
    throw notARecording(dir, `${MANIFEST_FILE} has the schema ${JSON.stringify(schema)}`);
  }
  return manifest as Manifest;
}

/** Names this boot of the machine that we run on, whatever root a recorded tree puts in its place. */
export function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return null;
  }
}

/** Whether the process that writes the folder is still there. False for another boot or pid namespace. */
export function isRunning(manifest: Manifest): boolean {
  const { end, recorder } = manifest;
  if (end !== 'running' || recorder.startTicks === null) return false;
  if (recorder.bootId !== bootId()) return false;
  return processStart(recorder.pid) === recorder.startTicks;
}

/** Files that a recording consists of; nothing else is ever removed from a folder. */
export function recordingFiles(manifest: Manifest): string[] {
  return [
    ...manifest.tables.map(({ file }) => file),
    MANIFEST_FILE,
    ENVIRONMENT_FILE,
    MARKS_FILE,
    RESERVE_FILE,
  ].filter((file) => !file.includes('/'));
}

/** Removes the files of a recording; anything else in its folder stays. */
async function removeFiles(dir: string): Promise<void> {
  const manifest = await readManifest(dir);
  for (const file of recordingFiles(manifest)) await rm(join(dir, file), { force: true });
}

/** Removes a recording and its folder, unless something else lies in there. */
export async function removeRecording(dir: string): Promise<void> {
  await removeFiles(dir);
  await removeFolders([dir]);
}

function outputExists(dir: string, entries: number): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_OUTPUT',
    `Expected an empty or absent folder for the recording but ${dir} holds ${entries} entries`,
    { fix: 'choose another folder, or --force to replace an earlier recording', source: dir },
  );
}

/** What earlier recordings left in `dir` is removed; anything else is a reason to refuse. */
async function removeEarlier(dir: string): Promise<void> {
  for (const folder of [...(await partsOf(dir)).map((part) => join(dir, part)), dir]) {
    const manifest = await readManifest(folder).catch(() => null);
    if (manifest === null) continue;
    if (isRunning(manifest)) {
      throw new WarpgaugeError(
        'ERR_OUTPUT',
        `${folder} is being recorded by process ${manifest.recorder.pid}`,
        { fix: `kill -INT ${manifest.recorder.pid}`, source: folder },
      );
    }
    await removeFiles(folder);
    if (folder !== dir) await removeFolders([folder]);
  }
}

/** Removes folders as long as they are empty, the innermost first. Never throws. */
export async function removeFolders(made: readonly string[]): Promise<void> {
  for (const path of made.toReversed()) await rmdir(path).catch(() => undefined);
}

/**
 * Makes a folder and those above it, where they are missing.
 *
 * @returns The folders that had to be made, the outermost first.
 * @throws WarpgaugeError `ERR_OUTPUT`
 */
export async function makeFolders(dir: string): Promise<string[]> {
  const made: string[] = [];
  try {
    // Deliberately not mkdir with `recursive`: Node 20 then loops for ever on a place like /proc.
    const missing: string[] = [];
    for (let path = dir; (await stat(path).catch(() => null)) === null; path = dirname(path)) {
      missing.unshift(path);
      if (path === dirname(path)) break;
    }
    for (const path of missing) {
      await mkdir(path);
      made.push(path);
    }
    return made;
  } catch (cause) {
    await removeFolders(made);
    throw outputError(dir, cause);
  }
}

/**
 * Makes the folder, or checks that it is empty. With `force` an earlier recording in it is removed first; files that
 * no recording wrote are never touched.
 *
 * @returns The folders that had to be made, the outermost first.
 * @throws WarpgaugeError `ERR_OUTPUT`
 */
export async function makeFolder(dir: string, force: boolean): Promise<string[]> {
  const made = await makeFolders(dir);
  try {
    if (force) await removeEarlier(dir);
    const entries = await readdir(dir);
    if (entries.length > 0) throw outputExists(dir, entries.length);
    return made;
  } catch (cause) {
    await removeFolders(made);
    throw outputError(dir, cause);
  }
}
