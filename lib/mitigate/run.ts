import type { RunOptions, RunResult } from './run-placed.ts';

/**
 * Runs a command with its threads, its memory and its pages in place from its first instruction on, and tells what its
 * smaps showed when it had most memory. Standard streams are inherited. From the main thread only.
 *
 * Errors: those of `mitigate.numa.bind`, `ERR_INVALID_ARGUMENT`; `ERR_SYSCALL` from `spawn` with its errno.
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * const { code, memory } = await mitigate.run({ command: ['./infer'], nearGpu: 0, pages: 'thp' });
 * console.log(code, memory?.thp_bytes);
 * ```
 */
export async function run(options: RunOptions): Promise<RunResult> {
  // Loaded when it is called: `import 'warpgauge'` does not pay for it.
  return await (await import('./run-placed.ts')).runPlaced(options);
}
