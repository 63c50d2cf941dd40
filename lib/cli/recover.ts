import type { Command } from 'commander';
import { recover } from '../monitor/recording/recover.ts';
import { renderRecovered } from '../view/recording.ts';
import { print } from './output.ts';

/** `warpgauge recover DIR` */
export function registerRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'cut what a killed recorder left half-written, so that every Arrow reader opens it',
    )
    .argument('<dir>', 'folder that warpgauge record wrote')
    .action(async (dir: string) => print(renderRecovered(await recover(dir))));
}
