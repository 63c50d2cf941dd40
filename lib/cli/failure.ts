import { type ErrorCode, WarpgaugeError } from '../errors.ts';

/** Exit codes: 0 sound, 1 failed or refused, 2 usage, 130 interrupted. */
export const FAILED = 1;
export const USAGE = 2;
export const INTERRUPTED = 130;
/** Of a run with a COMMAND: warpgauge itself failed. All other codes belong to the command. */
export const OURS_FAILED = 125;

/** What the caller wrote is wrong: one line that says what was expected. */
const USAGE_ERRORS: readonly ErrorCode[] = [
  'ERR_INVALID_ARGUMENT',
  'ERR_UNKNOWN_SOURCE',
  'ERR_UNKNOWN_EVENT',
];

/** One line of what may be several: commander puts its suggestion on a second one. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ');
}

export function complain(text: string): void {
  process.stderr.write(`warpgauge: ${text}\n`);
}

/** Tells what went wrong and returns the exit code that says so. */
export function reportFailure(error: unknown): number {
  if (error instanceof Error && error.name === 'CommanderError') {
    // Help and version end that way too; everything else is a usage error, already told.
    return (error as Error & { exitCode?: number }).exitCode === 0 ? 0 : USAGE;
  }
  if (!(error instanceof WarpgaugeError)) {
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return FAILED;
  }
  const usage = USAGE_ERRORS.includes(error.code);
  const fix = error.fix === undefined ? '' : ` - fix: ${oneLine(error.fix)}`;
  complain(`${oneLine(error.message)}${usage ? '' : ` (${error.code})`}${fix}`);
  if (usage) return USAGE;
  return error.code === 'ERR_INTERRUPTED' ? INTERRUPTED : FAILED;
}
