import type { Command } from 'commander';
import { mark } from '../monitor/recording/mark-inbox.ts';

/** `warpgauge mark DIR NAME` */
export function registerMark(program: Command): void {
  program
    .command('mark')
    .description('name this moment in a recording that another process is writing')
    .argument('<dir>', 'its folder')
    .argument('<name>', 'such as "warm-up over"')
    .action(async (dir: string, name: string) => mark(dir, name));
}
