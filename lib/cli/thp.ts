import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import { type ThpSettings, thp } from '../mitigate/index.ts';
import { renderThpPlan, renderThpStatus } from '../view/placement.ts';
import { documentOf } from './document.ts';
import { FAILED } from './failure.ts';
import { explainGuardian, type HoldFlags, holdOptions, leaseOf, whileHeld } from './hold.ts';
import { catchInterrupt } from './interrupt.ts';
import { explain, print, printJson } from './output.ts';
import { settleCommands } from './settle.ts';

const SCHEMA = 'warpgauge/thp/1';
const JSON_OPTION = ['--json', `print one JSON document (${SCHEMA})`] as const;

interface SetFlags extends HoldFlags {
  readonly enabled?: string;
  readonly defrag?: string;
  readonly shmem?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** `warpgauge thp status|set|release|recover` */
export function registerThp(program: Command): void {
  const command = program
    .command('thp')
    .description('transparent huge pages: show and set the policy, put back what was there');
  command
    .command('status')
    .description('the policy, what may be chosen, what warpgauge has changed')
    .option(...JSON_OPTION)
    .action(async ({ json }: { json?: true }) => {
      const status = await thp.status();
      if (json) printJson(documentOf(SCHEMA, 'status', status));
      else print(renderThpStatus(status));
    });
  const set = command
    .command('set')
    .description('set the policy of the whole machine; put it back with: thp release')
    .option('--enabled <word>', 'which memory: always, madvise, never')
    .option(
      '--defrag <word>',
      'how hard a fault tries: always, defer, defer+madvise, madvise, never',
    )
    .option('--shmem <word>', 'shared memory: always, within_size, advise, never, deny, force')
    .option('--dry-run', 'only show what would change')
    .option(...JSON_OPTION);
  holdOptions(set, 'put back what was there', 'thp recover').action(setPolicy);
  settleCommands(command, {
    schema: SCHEMA,
    release: 'put back what set replaced',
    recover: 'put back what killed runs replaced',
    settle: thp,
  });
}

async function setPolicy(flags: SetFlags): Promise<void> {
  const settings: ThpSettings = {
    ...(flags.enabled === undefined ? {} : { enabled: flags.enabled }),
    ...(flags.defrag === undefined ? {} : { defrag: flags.defrag }),
    ...(flags.shmem === undefined ? {} : { shmem_enabled: flags.shmem }),
  };
  if (Object.keys(settings).length === 0) {
    throw invalidArgument('thp set', '--enabled, --defrag or --shmem', 'none of them');
  }
  if (flags.dryRun) {
    const plan = await thp.plan(settings);
    if (flags.json) printJson(documentOf(SCHEMA, 'plan', plan));
    else print(renderThpPlan(plan));
    if (plan.refusal !== null) process.exitCode = FAILED;
    return;
  }
  const interrupt = catchInterrupt();
  try {
    const { signal } = interrupt;
    const hold = flags.hold ?? false;
    const lease = leaseOf(flags);
    const change = await thp.set({ settings, signal, ...lease });
    if (!hold) await change.commit();
    const { id, changed, notes, guardian, expires } = change;
    for (const note of notes) explain(note);
    if (flags.json) {
      printJson(documentOf(SCHEMA, 'set', { id, held: hold, changed, guardian, expires }));
    } else print(renderThpPlan({ steps: changed, refusal: null }));
    if (id !== null && (hold || expires !== null)) explainGuardian(guardian);
    if (!hold) return;
    await whileHeld(signal, { ttlMs: lease.ttlMs, expires });
    await change.undo();
    explain('put back what was there');
  } finally {
    interrupt.close();
  }
}
