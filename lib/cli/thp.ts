import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import { type SettledTransaction, type ThpSettings, thp } from '../mitigate/index.ts';
import { parseDurationNs } from '../units.ts';
import { renderThpPlan, renderThpStatus } from '../view/placement.ts';
import { documentOf } from './document.ts';
import { FAILED, INTERRUPTED } from './failure.ts';
import { catchInterrupt, firstOf, untilAborted } from './interrupt.ts';
import { print, printJson } from './output.ts';

const SCHEMA = 'warpgauge/thp/1';
const JSON_OPTION = ['--json', `print one JSON document (${SCHEMA})`] as const;

interface SetFlags {
  readonly enabled?: string;
  readonly defrag?: string;
  readonly shmem?: string;
  readonly dryRun?: true;
  readonly hold?: true;
  readonly ttl?: string;
  readonly guardian: boolean;
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
  command
    .command('set')
    .description('set the policy of the whole machine; put it back with: thp release')
    .option('--enabled <word>', 'which memory: always, madvise, never')
    .option(
      '--defrag <word>',
      'how hard a fault tries: always, defer, defer+madvise, madvise, never',
    )
    .option('--shmem <word>', 'shared memory: always, within_size, advise, never, deny, force')
    .option('--dry-run', 'only show what would change')
    .option('--hold', 'keep it until Ctrl-C (or --ttl), then put back what was there')
    .option('--ttl <time>', 'put back what was there after this time, such as 10m')
    .option('--no-guardian', 'after a kill of --hold, or a --ttl, leave it to: thp recover')
    .option(...JSON_OPTION)
    .action(set);
  for (const mode of ['release', 'recover'] as const) {
    command
      .command(mode)
      .description(
        mode === 'release' ? 'put back what set replaced' : 'put back what killed runs replaced',
      )
      .option(...JSON_OPTION)
      .action(async ({ json }: { json?: true }) => {
        const settled = await thp[mode]();
        if (json) printJson(documentOf(SCHEMA, mode, { transactions: settled }));
        else print(settled.map(settledLine).join('\n') || `nothing to ${mode}`);
        if (settled.some(({ outcome }) => outcome === 'failed' || outcome === 'partly-undone')) {
          process.exitCode = FAILED;
        }
      });
  }
}

async function set(flags: SetFlags): Promise<void> {
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
    const ttlMs = flags.ttl === undefined ? undefined : parseDurationNs('--ttl', flags.ttl) / 1e6;
    const change = await thp.set({
      settings,
      signal,
      guardian: flags.guardian && (hold || ttlMs !== undefined),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    });
    if (!hold) await change.commit();
    const { id, changed, notes, guardian, expires } = change;
    for (const note of notes) explain(note);
    if (flags.json) {
      printJson(documentOf(SCHEMA, 'set', { id, held: hold, changed, guardian, expires }));
    } else print(renderThpPlan({ steps: changed, refusal: null }));
    if (id !== null && (hold || expires !== null)) {
      explain(
        guardian.pid === null ? `no guardian: ${guardian.reason}` : `guardian: pid ${guardian.pid}`,
      );
    }
    if (!hold) return;
    explain(`held by pid ${process.pid} until ${expires === null ? '' : `${expires} or `}Ctrl-C`);
    await untilAborted(ttlMs === undefined ? signal : firstOf(signal, AbortSignal.timeout(ttlMs)));
    await change.undo();
    explain('put back what was there');
    if (signal.aborted) process.exitCode = INTERRUPTED;
  } finally {
    interrupt.close();
  }
}

function settledLine({ outcome, state, pid, undone, error }: SettledTransaction): string {
  const what = undone.map(({ target, observed }) => `${target} is ${observed} again`).join(', ');
  const why = error === null ? '' : `: ${error.message} (${error.code})`;
  return `${outcome}: ${state}, pid ${pid}${what === '' ? '' : `; ${what}`}${why}`;
}

function explain(text: string): void {
  process.stderr.write(`${text}\n`);
}
