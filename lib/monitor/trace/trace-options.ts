import { invalidArgument } from '../../errors.ts';
import type { SampleOptions, SourceSpec } from '../types.ts';
import type { CudaApi, CudaKind } from './kinds.ts';

/** Options of `monitor.traceCommand`. Those of `monitor.sample` hold as well, but for `durationMs`. */
export interface TraceCommandOptions extends Omit<SampleOptions, 'sources' | 'durationMs'> {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Its environment. Default: that of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Its working directory. Default: that of this process. */
  readonly cwd?: string;
  /** `stderr`: what it prints goes to our standard error. Default `inherit`. */
  readonly output?: 'inherit' | 'stderr';
  /** What to record. Default: memcpy, memset, kernel, overhead, api, synchronization. */
  readonly kinds?: readonly CudaKind[];
  /** Which API calls: those that copy (default), all, none. */
  readonly api?: CudaApi;
  /** Memory that the records of all processes wait in, in up to 64 lanes. Default 64 MiB. */
  readonly bufferBytes?: number;
  /** Time between two requests for what CUPTI has, ms: what a killed process loses. Default 20. */
  readonly flushMs?: number;
  /** Begin to trace after this time, ms. Default: at once. */
  readonly delayMs?: number;
  /** Trace for this time, ms; the command and the other sources go on. Default: to the end. */
  readonly durationMs?: number;
  /** Begin to trace at the mark of this name. */
  readonly startMark?: string;
  /** Stop tracing at the mark of this name. */
  readonly stopMark?: string;
  /** Where to make the folder for processes that cannot open our memory (another user, another pid namespace). Default: the system's folder for temporary files. */
  readonly traceDir?: string;
  /** Sources besides; those that can watch processes watch the command with all that it starts. */
  readonly sources?: readonly SourceSpec[];
}

const LONGEST_MS = 2 ** 31 - 1;

function checkTime(name: string, ms: number | undefined): void {
  if (ms === undefined || (typeof ms === 'number' && ms > 0 && ms <= LONGEST_MS)) return;
  throw invalidArgument(name, `a number above 0, up to ${LONGEST_MS} (ms)`, ms);
}

/** What does not go together. */
export function checkTraceOptions(options: TraceCommandOptions): void {
  const { command, delayMs, durationMs, startMark, stopMark } = options;
  if (!Array.isArray(command) || command.length === 0 || command[0] === '') {
    throw invalidArgument(
      'command',
      "a program and its arguments, such as ['python3', 'serve.py']",
      command,
    );
  }
  checkTime('delayMs', delayMs);
  checkTime('durationMs', durationMs);
  if (delayMs !== undefined && startMark !== undefined) {
    throw invalidArgument('startMark', 'no delay beside it', startMark);
  }
  if (startMark !== undefined && startMark === stopMark) {
    throw invalidArgument('stopMark', 'another name than that of the start', stopMark);
  }
}
