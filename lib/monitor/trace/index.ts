import type { OpenRecording } from '../recording/index.ts';
import type { TraceSummary } from './summary.ts';
import type { TraceCommandOptions } from './trace-options.ts';
import type { TracedCommand } from './traced-command.ts';

export type { CommandEnd } from '../recording/held-command.ts';
export type { CudaApi, CudaKind } from './kinds.ts';
export type { TraceSummary } from './summary.ts';
export type { TraceCommandOptions } from './trace-options.ts';
export type { TracedCommand } from './traced-command.ts';

/**
 * Starts a command and records what it does with CUDA, in all processes that it starts: an unmodified program, by a small
 * library that CUDA itself loads (`CUDA_INJECTION64_PATH`). The tables are those of `monitor.cudaTrace`; `sources` are
 * sampled beside them on the same clock and watch the command with all that it starts. The iterator ends when the command
 * has ended and all is read. docs/cuda-trace.md says what is recorded, and what is lost when.
 *
 * A process that runs already cannot be traced: CUDA loads the library when it starts.
 *
 * @throws WarpgaugeError `ERR_NO_DRIVER`, `ERR_BUSY` (the environment injects another library), `ERR_LIBRARY_MISSING`,
 * `ERR_INVALID_ARGUMENT`, and all errors of `monitor.sample`. A command that does not exist ends with code 127.
 *
 * @example
 * ```ts
 * import { monitor } from 'warpgauge';
 * await using traced = await monitor.traceCommand({ command: ['python3', 'serve.py'] });
 * for await (const { table, batch } of traced) console.log(table, batch.numRows);
 * console.log(await traced.ended);
 * ```
 */
export async function traceCommand(options: TraceCommandOptions): Promise<TracedCommand> {
  const room = await import('./trace-command.ts');
  return room.traceCommand(options);
}

/**
 * What a recording of `warpgauge trace` says of copies and kernels: per direction bytes, time and GB/s, pageable share and
 * overlap with kernels, the kernels that took most time, copies whose call took page faults, and what was lost. Null for a
 * recording without tables of CUDA.
 */
export async function summarizeTrace(recording: OpenRecording): Promise<TraceSummary | null> {
  const room = await import('./summary.ts');
  return room.summarizeTrace(recording);
}
