import type { Command } from 'commander';
import { listSources } from '../monitor/sources-list.ts';
import { renderSources } from '../view/sources.ts';
import { print, printJson, renderOptions } from './output.ts';

/** `warpgauge sources [--json]` */
export function registerSources(program: Command): void {
  program
    .command('sources')
    .description('every source, table and field, what it needs, its cost and highest rate here')
    .option('--json', 'print one JSON document (warpgauge/sources/1)')
    .action(async ({ json }: { json?: true }) => {
      const list = await listSources();
      if (json) printJson(list);
      else print(renderSources(list, renderOptions()));
    });
}
