import type { Command } from 'commander';
import { doctor } from '../host/doctor.ts';
import { print, printJson, renderOptions } from './output.ts';

/** `warpgauge doctor [--json]` */
export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what this machine can and cannot measure, with the reason and the fix')
    .option('--json', 'print one JSON document (warpgauge/doctor/1)')
    .action(runDoctor);
}

export async function runDoctor(options: { readonly json?: boolean }): Promise<void> {
  const report = await doctor();
  if (options.json) return printJson(report);
  const { renderDoctor } = await import('../view/doctor.ts');
  print(renderDoctor(report, renderOptions()));
}
