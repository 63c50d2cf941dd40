import type { Command } from 'commander';
import { numa } from '../mitigate/index.ts';
import { renderNumaStatus } from '../view/placement.ts';
import { documentOf } from './document.ts';
import { print, printJson, renderOptions } from './output.ts';

const SCHEMA = 'warpgauge/numa/1';

/** `warpgauge numa status` */
export function registerNuma(program: Command): void {
  program
    .command('numa')
    .description('NUMA nodes and the GPUs on them')
    .command('status')
    .description('nodes with CPUs and memory, the node of each GPU and how that is known')
    .option('--json', `print one JSON document (${SCHEMA})`)
    .action(async ({ json }: { json?: true }) => {
      const status = await numa.status();
      if (json) printJson(documentOf(SCHEMA, 'status', status));
      else print(renderNumaStatus(status, renderOptions()));
    });
}
