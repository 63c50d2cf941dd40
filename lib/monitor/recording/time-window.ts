import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { didYouMean } from '../../near-match.ts';
import { parseDurationNs } from '../../units.ts';
import type { OpenRecording } from './open-recording.ts';
import type { Mark } from './own-tables.ts';
import { isoTime } from './summary.ts';

/** Tables whose times say nothing about when something was measured. */
const ASIDE = ['clock', 'state', 'mark'];

/** A piece of a recording, and where the whole of it lies. All UTC, ns. */
export interface TimeWindow {
  /** First and last moment that any table measured. */
  readonly start: bigint;
  readonly end: bigint;
  /** What was asked for; the whole where nothing was. */
  readonly from: bigint;
  readonly to: bigint;
}

/** Where a piece begins and ends: an offset from the start (`2s`), an ISO 8601 time, or the name of a mark. */
export interface WindowOptions {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

const ISO = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
const OFFSET = /^\d+(\.\d+)?\s*(ns|us|ms|s|m|min|h)$/;

/** Nanoseconds of an ISO 8601 time; all nine digits count. */
function isoMoment(name: string, text: string): bigint | null {
  const match = ISO.exec(text);
  if (match === null) return null;
  const [, seconds = '', fraction = '', zone = ''] = match;
  const ms = Date.parse(seconds + zone);
  if (Number.isNaN(ms)) throw invalidArgument(name, 'a time that exists', text);
  return BigInt(ms) * 1_000_000n + BigInt(fraction.slice(1).padEnd(9, '0'));
}

function momentOf(name: string, text: string, start: bigint, marks: readonly Mark[]): bigint {
  const mark = marks.find((one) => one.name === text);
  if (mark !== undefined) return mark.time;
  if (OFFSET.test(text.trim())) return start + BigInt(parseDurationNs(name, text));
  const time = isoMoment(name, text.trim());
  if (time !== null) return time;
  const names = marks.map((one) => one.name);
  const known = names.length === 0 ? 'the recording has no marks' : `such as ${names[0]}`;
  throw new WarpgaugeError(
    'ERR_INVALID_ARGUMENT',
    `Expected an offset from the start such as 1.5s, an ISO 8601 time or the name of a mark (${known}) for ${name} but received ${JSON.stringify(text)}${didYouMean(text, names)}`,
  );
}

/**
 * The piece of a recording that `from` and `to` mean.
 *
 * @throws WarpgaugeError `ERR_RECORDING` where nothing was recorded or the piece is empty; `ERR_INVALID_ARGUMENT` for what is
 * no moment.
 */
export async function timeWindow(
  recording: OpenRecording,
  options: WindowOptions = {},
): Promise<TimeWindow> {
  let start: bigint | null = null;
  let end: bigint | null = null;
  for (const { name, rows } of recording.tables) {
    if (rows === 0 || ASIDE.includes(name) || name.endsWith('.name')) continue;
    const range = await recording.timeRange(name);
    if (range === null) continue;
    if (start === null || range.first < start) start = range.first;
    if (end === null || range.last > end) end = range.last;
  }
  if (start === null || end === null) {
    throw new WarpgaugeError('ERR_RECORDING', `Nothing was recorded in ${recording.dir}`, {
      fix: `warpgauge show ${recording.dir} says why`,
      source: recording.dir,
    });
  }
  const marks = options.from || options.to ? await recording.marks() : [];
  const from = options.from === undefined ? start : momentOf('--from', options.from, start, marks);
  const to = options.to === undefined ? end : momentOf('--to', options.to, start, marks);
  if (from > to || from > end || to < start) {
    throw new WarpgaugeError(
      'ERR_RECORDING',
      `Nothing lies between ${isoTime(from)} and ${isoTime(to)}: ${recording.dir} has ${isoTime(start)} to ${isoTime(end)}`,
      { fix: 'choose --from and --to within it', source: recording.dir },
    );
  }
  return { start, end, from, to };
}
