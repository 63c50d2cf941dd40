import type { Command } from 'commander';
import type { SettledTransaction } from '../mitigate/index.ts';
import { renderSettledTransactions } from '../view/settled.ts';
import { documentOf } from './document.ts';
import { FAILED } from './failure.ts';
import { print, printJson } from './output.ts';

type Settled = readonly SettledTransaction[];

/** What `release` and `recover` mean for one kind of change. */
export interface Settling {
  readonly schema: string;
  /** Help text of each. */
  readonly release: string;
  readonly recover: string;
  readonly settle: {
    release(): Promise<Settled>;
    recover(): Promise<Settled>;
  };
  /** Body of the JSON document. Default: the transactions as they are. */
  json?(settled: Settled, complete: boolean): object;
}

/** Adds the commands `release` and `recover`; exit code 1 when something could not be put back. */
export function settleCommands(command: Command, settling: Settling): void {
  for (const mode of ['release', 'recover'] as const) {
    command
      .command(mode)
      .description(settling[mode])
      .option('--json', `print one JSON document (${settling.schema})`)
      .action(async ({ json }: { json?: true }) => {
        const settled = await settling.settle[mode]();
        const complete = !settled.some(
          ({ outcome }) => outcome === 'failed' || outcome === 'partly-undone',
        );
        const body = settling.json?.(settled, complete) ?? { transactions: settled };
        if (json) printJson(documentOf(settling.schema, mode, body));
        else print(renderSettledTransactions(settled, mode));
        if (!complete) process.exitCode = FAILED;
      });
  }
}
