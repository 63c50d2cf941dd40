import { formatDuration } from '../units.ts';
import { painter, type TerminalEnvironment, wantsColour } from './colour.ts';
import { printable } from './table.ts';

/** Where the work stands. */
export interface ProgressState {
  /** Blocks finished, of `blocks` (the least number, or the estimate under a budget). */
  readonly block: number;
  readonly blocks: number;
  /** Share of all work done, 0-1; `block / blocks` where it is not given. */
  readonly done?: number;
  /** Id of the cell in work. */
  readonly cell: string;
  /** Time left, ns; null while nothing is known. */
  readonly remainingNs: number | null;
}

/** The part of a standard stream that progress needs. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface ProgressOptions {
  readonly stream: ProgressStream;
  /** No output at all. */
  readonly quiet?: boolean;
  /** Clock in ms; for tests. */
  readonly now?: () => number;
  readonly environment?: TerminalEnvironment;
}

export interface Progress {
  update(state: ProgressState): void;
  /** Writes a line of its own above the bar. */
  log(line: string): void;
  /** Removes the bar. Idempotent. */
  close(): void;
}

const REDRAW_MS = 100;
const LINE_MS = 10_000;
const BAR_COLUMNS = 24;
const CLEAR = '\r\u001b[2K';

/**
 * Progress on standard error: a bar on a terminal (redrawn at most ten times a second), a plain line every
 * ten seconds elsewhere. It holds no timer, so it can neither keep the process alive nor draw after `close`.
 * Own code because the widespread library (cli-progress) draws by timers and hides the cursor, which stays hidden
 * after a kill.
 */
export function createProgress(options: ProgressOptions): Progress {
  const {
    stream,
    quiet = false,
    now = () => performance.now(),
    environment = process.env,
  } = options;
  const terminal = stream.isTTY === true && environment.TERM !== 'dumb';
  const paint = painter(wantsColour(stream, environment));
  const started = now();
  let drawnAt = Number.NEGATIVE_INFINITY;
  let lineAt = started;
  let drawn = false;
  let closed = false;

  const clear = (): void => {
    if (drawn) stream.write(CLEAR);
    drawn = false;
  };

  return {
    update(state) {
      if (quiet || closed) return;
      const at = now();
      if (at - (terminal ? drawnAt : lineAt) < (terminal ? REDRAW_MS : LINE_MS)) return;
      const share = Math.min(Math.max(state.done ?? state.block / Math.max(state.blocks, 1), 0), 1);
      const left = state.remainingNs === null ? '' : `, ${formatDuration(state.remainingNs)} left`;
      const text = `block ${state.block}/${state.blocks}, ${formatDuration((at - started) * 1e6)}${left}, ${printable(state.cell)}`;
      if (!terminal) {
        lineAt = at;
        stream.write(`${Math.round(share * 100)} %, ${text}\n`);
        return;
      }
      drawnAt = at;
      const full = Math.round(share * BAR_COLUMNS);
      const bar = `[${'#'.repeat(full)}${'.'.repeat(BAR_COLUMNS - full)}] `;
      // One column less than the terminal has: a full line would wrap and leave its remains behind.
      const room = Math.max((stream.columns ?? 80) - 1 - bar.length, 0);
      stream.write(`${CLEAR}${paint('green', bar)}${text.slice(0, room)}`);
      drawn = true;
    },
    log(line) {
      if (quiet || closed) return;
      clear();
      stream.write(`${printable(line)}\n`);
      drawnAt = Number.NEGATIVE_INFINITY;
    },
    close() {
      clear();
      closed = true;
    },
  };
}
