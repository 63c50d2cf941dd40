import type { Command } from 'commander';
import { mig } from '../mitigate/index.ts';
import { parseMigWant } from '../mitigate/mig/want.ts';
import { renderMigPlan, renderMigProfiles } from '../view/mig.ts';
import { documentOf } from './document.ts';
import { FAILED } from './failure.ts';
import { print, printJson, renderOptions } from './output.ts';

const SCHEMA = 'warpgauge/mig/1';

interface TargetOptions {
  readonly board?: string;
  readonly json?: true;
}

interface PlanOptions extends TargetOptions {
  readonly want?: string;
  readonly off?: true;
}

/** `warpgauge mig profiles|plan` */
export function registerMig(program: Command): void {
  const command = program.command('mig').description('MIG partitions: show, plan, apply, export');
  target(command.command('profiles'))
    .description('what a GPU can be divided into, and where')
    .action(async ({ json, ...options }: TargetOptions) => {
      const profiles = await mig.profiles(options);
      if (json) printJson(documentOf(SCHEMA, 'profiles', profiles));
      else print(renderMigProfiles(profiles, renderOptions()));
    });
  target(command.command('plan'))
    .description('the steps to a layout, and why there is none; changes nothing')
    .option('--want <list>', 'the whole layout, such as 3g.40gb=1,2g.20gb=1,1g.10gb=2, or none')
    .option('--off', 'switch MIG off')
    .action(async ({ json, want, off, ...options }: PlanOptions) => {
      const plan = await mig.plan({
        ...options,
        instances: off ? {} : parseMigWant(want ?? ''),
        enabled: off === undefined,
      });
      if (json) printJson(documentOf(SCHEMA, 'plan', plan));
      else print(renderMigPlan(plan, renderOptions()));
      if (!plan.feasible) process.exitCode = FAILED;
    });
}

function target(command: Command): Command {
  return command
    .option('--board <name>', 'plan for a board: A100-40, A100-80, H100-80, H200-141, B200-180')
    .option('--json', `print one JSON document (${SCHEMA})`);
}
