import { resolve } from 'node:path';
import { invalidArgument } from '../../errors.ts';
import { sample } from '../sampler.ts';
import type { SampleOptions, Sampler } from '../types.ts';
import { makeFolder, removeFolders } from './manifest.ts';
import { Recorder, type Recording } from './recorder.ts';

/** Options of `monitor.record`. Those of `monitor.sample` hold as well. */
export interface RecordOptions extends Omit<SampleOptions, 'keepAlive'> {
  /** Folder to write; made if it is missing, and must be empty. */
  readonly out: string;
  /** Replace an earlier recording in `out`. Files that no recording wrote are never removed. Default false. */
  readonly force?: boolean;
  /**
   * Longest time that a row waits before it is on its way to the disk, ms: what `kill -9` loses. Default 1,000;
   * of a flight recorder 100.
   */
  readonly batchMs?: number;
  /**
   * Fewer than ten rows of a table wait for more for this time on top of it, ms: larger batches take half the disk.
   * Default 10,000.
   */
  readonly holdMs?: number;
  /** End when so many bytes are written; with `rotateMs`, remove the oldest parts; with `lastMs`, keep less. */
  readonly maxBytes?: number;
  /** Begin a new folder below `out` after this time, ms. */
  readonly rotateMs?: number;
  /** Number of those folders to keep. Default: all. */
  readonly keep?: number;
  /** Flight recorder: keep the last so many ms in memory (at most `maxBytes`, default 256 MiB), write on `dump` and at the end. */
  readonly lastMs?: number;
  /** What started this, for the manifest. Default: that of the process. */
  readonly argv?: readonly string[];
  /** The command that is watched, for the manifest. */
  readonly command?: readonly string[];
}

/** Long batches for the disk, short ones where they only wait in memory: a dump is to hold what just happened. */
const BATCH_MS = 1000;
const FLIGHT_BATCH_MS = 100;

export type OpenSampler = (options: SampleOptions) => Promise<Sampler>;

function positive(name: string, value: unknown, whole: boolean): number | null {
  if (value === undefined) return null;
  const right = typeof value === 'number' && Number.isFinite(value) && value > 0;
  if (!right || (whole && !Number.isSafeInteger(value))) {
    throw invalidArgument(name, whole ? 'a whole number above 0' : 'a number above 0', value);
  }
  return value as number;
}

/** What `monitor.record` does, with another sampler in its place. `onMark` is told of marks that other processes set. */
export async function recordWith(
  open: OpenSampler,
  options: RecordOptions,
  onMark?: (name: string) => void,
): Promise<Recording> {
  const { out, force, holdMs, maxBytes, rotateMs, keep, lastMs, argv, command, ...rest } = options;
  if (typeof out !== 'string' || out === '') throw invalidArgument('out', 'a folder', out);
  const batchMs =
    positive('batchMs', rest.batchMs, false) ?? (lastMs === undefined ? BATCH_MS : FLIGHT_BATCH_MS);
  const checked = {
    batchMs,
    holdMs: positive('holdMs', holdMs, false) ?? Math.max(10_000, batchMs),
    maxBytes: positive('maxBytes', maxBytes, true),
    rotateMs: positive('rotateMs', rotateMs, false),
    keep: positive('keep', keep, true),
    lastMs: positive('lastMs', lastMs, false),
  };
  if (checked.keep !== null && checked.rotateMs === null) {
    throw invalidArgument('keep', 'rotateMs beside it', keep);
  }
  if (checked.lastMs !== null && checked.rotateMs !== null) {
    throw invalidArgument('lastMs', 'no rotateMs beside it', lastMs);
  }
  // Before anything is sampled: a folder that cannot be written is the commonest mistake.
  const folder = resolve(out);
  const made = await makeFolder(folder, force ?? false);
  try {
    const sampler = await open({ ...rest, batchMs, keepAlive: true });
    return await Recorder.start(sampler, {
      ...checked,
      out: folder,
      limited: rest.durationMs !== undefined,
      argv: argv ?? process.argv,
      command: command ?? null,
      signal: rest.signal ?? null,
      onMark,
    });
  } catch (error) {
    await removeFolders(made);
    throw error;
  }
}

/** The public function of the same name: see lib/monitor/recording/index.ts. */
export function record(options: RecordOptions): Promise<Recording> {
  return recordWith(sample, options);
}
