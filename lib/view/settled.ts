import type { SettledTransaction } from '../mitigate/index.ts';

/** What `release` or `recover` did about each journal, and what is left to do. */
export function renderSettledTransactions(
  settled: readonly SettledTransaction[],
  mode: 'release' | 'recover',
): string {
  if (settled.length === 0) return `nothing to ${mode}`;
  return settled
    .flatMap(({ id, state, pid, outcome, undone, blocked, error }) => [
      `${id ?? 'a journal without a first line'} (${state}, pid ${pid ?? 'unknown'}): ${outcome}, ${undone.length} steps taken back`,
      ...undone.flatMap(({ target, observed }) =>
        typeof observed === 'string' ? [`  ${target} is ${observed} again`] : [],
      ),
      ...blocked.map(
        ({ record, error: why }) =>
          `  left: ${record.op} ${record.target}: ${why.message}${why.fix === undefined ? '' : `; ${why.fix}`}`,
      ),
      ...(error === null
        ? []
        : [`  ${error.message} (${error.code})${error.fix === undefined ? '' : `; ${error.fix}`}`]),
    ])
    .join('\n');
}
