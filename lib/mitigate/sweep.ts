import type { SweepOptions, SweepResult } from './sweep/types.ts';

/**
 * Tries settings of the machine on a workload: applies each, measures throughput and the energy of the GPUs, puts back what
 * was there, and reports which settings no other beats. In each repetition the order turns round. Whatever happens (the
 * workload throws, the signal aborts, the process is killed while a guardian watches) the machine ends as it was found.
 *
 * A setting that this machine cannot have is `unavailable` with its error. Errors: `ERR_INVALID_ARGUMENT`,
 * `ERR_INTERRUPTED`, `ERR_LOCKED`, `ERR_JOURNAL`, `ERR_IN_USE` (the workload keeps pages of a setting), and what the
 * workload throws.
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * const { settings, front } = await mitigate.sweep({
 *   settings: [{ name: 'as it is' }, ...[1200, 1500].map((mhz) => ({
 *     name: `${mhz} MHz`,
 *     power: { smClockMhz: { min: 345, max: mhz } },
 *   }))],
 *   unit: 'tokens',
 *   workload: async () => await generate(1000),
 * });
 * ```
 */
export async function sweep(options: SweepOptions): Promise<SweepResult> {
  // Loaded when it is called: `import 'warpgauge'` does not pay for it.
  return await (await import('./sweep/run.ts')).runSweep(options);
}
