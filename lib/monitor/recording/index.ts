import type { OpenRecording } from './open-recording.ts';
import type { Mark } from './own-tables.ts';
import type { RecordOptions } from './record.ts';
import type { Recording } from './recorder.ts';
import type { RecoverResult } from './recover.ts';
import type { RecordingSummary } from './summary.ts';

export type { Manifest, ManifestTable, RecordingEnd } from './manifest.ts';
export type { OpenRecording, RecordedTable } from './open-recording.ts';
export type { Mark } from './own-tables.ts';
export type { RecordOptions } from './record.ts';
export type { Recording, RecordingResult, RecordingStats } from './recorder.ts';
export type { RecoveredTable, RecoverResult } from './recover.ts';
export type { ColumnSummary, RecordingSummary, SectionSummary, TableSummary } from './summary.ts';

// Each is loaded when it is called: all but `mark` bring Arrow, which costs about 0.1 s.

/**
 * Records into a folder until the duration is over, the signal aborts or `close` is called; the process stays alive
 * until then. `docs/recordings.md` describes the folder. The disk holds the sampler back, not the other way round: what
 * it does not take in time is dropped by whole batches and counted.
 *
 * @throws WarpgaugeError `ERR_OUTPUT` when the folder holds something or cannot be written, and all errors of
 * `monitor.sample`. Later failures of the disk reject `done`.
 *
 * @example
 * ```ts
 * import { monitor } from 'warpgauge';
 * await using recording = await monitor.record({
 *   out: 'run',
 *   sources: [monitor.vmstat({ intervalMs: 10 })],
 * });
 * recording.mark('load');
 * ```
 */
export async function record(options: RecordOptions): Promise<Recording> {
  const room = await import('./record.ts');
  return room.record(options);
}

/**
 * Opens a recording. Of a file that was cut (a killed recorder, a full disk) all whole batches are read;
 * nothing is changed: `recover` makes it whole for other readers.
 *
 * @throws WarpgaugeError `ERR_RECORDING` when the folder holds no recording.
 *
 * @example
 * ```ts
 * import { monitor } from 'warpgauge';
 * const recording = await monitor.openRecording('run');
 * for (const { name, rows, missed } of recording.tables) console.log(name, rows, missed);
 * const vmstat = await recording.table('vmstat');
 * ```
 */
export async function openRecording(dir: string): Promise<OpenRecording> {
  const room = await import('./open-recording.ts');
  return room.openRecording(dir);
}

/**
 * Makes a recording whole whose recorder was killed: cuts the half-written batch at the end of each table, ends each
 * stream and brings the manifest up to date, so that every Arrow reader opens the files. What is whole stays as
 * it is; a second call changes nothing.
 *
 * @throws WarpgaugeError `ERR_RECORDING` when there is none or it is still being written, `ERR_OUTPUT`.
 */
export async function recover(dir: string): Promise<RecoverResult> {
  const room = await import('./recover.ts');
  return room.recover(dir);
}

/**
 * Rows, losses and what moved in each table of a recording, and the same between one mark and the next.
 *
 * @throws WarpgaugeError `ERR_RECORDING` when the folder holds no recording.
 */
export async function summarize(dir: string): Promise<RecordingSummary> {
  const room = await import('./summary.ts');
  return room.summarize(await openRecording(dir));
}

/**
 * Sets a mark in a recording that another process is writing (of a rotated one in its newest part). The time is that of this call; it is in the file within
 * about a second.
 *
 * @throws WarpgaugeError `ERR_RECORDING` when nobody records there (any more), `ERR_OUTPUT` when it cannot be written.
 *
 * @example
 * ```ts
 * import { monitor } from 'warpgauge';
 * await monitor.mark('run', 'warm-up over', { batch: 32 });
 * ```
 */
export async function mark(
  dir: string,
  name: string,
  attributes?: Mark['attributes'],
): Promise<void> {
  const room = await import('./mark-inbox.ts');
  return room.mark(dir, name, attributes ?? null);
}
