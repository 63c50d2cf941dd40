import type { Command } from 'commander';
import { WarpgaugeError } from '../errors.ts';
import { openRecording } from '../monitor/recording/open-recording.ts';
import { summarize } from '../monitor/recording/summary.ts';
import { summarizeTrace } from '../monitor/trace/summary.ts';
import { renderRecording } from '../view/recording.ts';
import { renderTrace } from '../view/trace.ts';
import { print, printJson, renderOptions } from './output.ts';

interface ShowFlags {
  readonly all?: true;
  readonly trace?: true;
  readonly json?: true;
}

/** `warpgauge show DIR [--all] [--trace] [--json]` */
export function registerShow(program: Command): void {
  program
    .command('show')
    .description('what a recording holds: rows, losses, what moved, per mark')
    .argument('<dir>', 'folder that warpgauge record wrote')
    .option('--all', 'every column that moved; default: of each table those that tell most')
    .option('--trace', 'only what warpgauge trace prints at its end')
    .option(
      '--json',
      'print one JSON document (warpgauge/recording-summary/1; with --trace: warpgauge/trace-summary/1)',
    )
    .action(async (dir: string, { all, trace, json }: ShowFlags) => {
      const recording = await openRecording(dir);
      const cuda = trace || !json ? await summarizeTrace(recording) : null;
      if (trace && cuda === null) {
        throw new WarpgaugeError('ERR_RECORDING', `${dir} has no tables of CUDA`, {
          fix: 'warpgauge trace --out DIR -- COMMAND',
        });
      }
      if (json) return printJson(trace ? cuda : await summarize(recording));
      if (!trace) {
        const summary = await summarize(recording);
        print(renderRecording(summary, { ...renderOptions(), all: all === true }));
      }
      if (cuda !== null) print(`${trace ? '' : '\n'}${renderTrace(cuda, renderOptions())}`);
    });
}
