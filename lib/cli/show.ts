import type { Command } from 'commander';
import { openRecording } from '../monitor/recording/open-recording.ts';
import { summarize } from '../monitor/recording/summary.ts';
import { renderRecording } from '../view/recording.ts';
import { print, printJson, renderOptions } from './output.ts';

/** `warpgauge show DIR [--all] [--json]` */
export function registerShow(program: Command): void {
  program
    .command('show')
    .description('what a recording holds: rows, losses, what moved, per mark')
    .argument('<dir>', 'folder that warpgauge record wrote')
    .option('--all', 'every column that moved; default: of each table those that tell most')
    .option('--json', 'print one JSON document (warpgauge/recording-summary/1)')
    .action(async (dir: string, { all, json }: { all?: true; json?: true }) => {
      const summary = await summarize(await openRecording(dir));
      if (json) printJson(summary);
      else print(renderRecording(summary, { ...renderOptions(), all: all === true }));
    });
}
