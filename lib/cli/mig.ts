import { resolve } from 'node:path';
import type { Command } from 'commander';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import {
  type ApplicableMigPlan,
  type HeldMig,
  type MigApplied,
  type MigConsent,
  type MigPlan,
  mig,
  type SettledTransaction,
} from '../mitigate/index.ts';
import { migDevices, visibleDevices } from '../mitigate/mig/apply.ts';
import { migUnit } from '../mitigate/mig/unit.ts';
import { parseMigWant } from '../mitigate/mig/want.ts';
import { parseDurationNs } from '../units.ts';
import {
  renderMigApplied,
  renderMigAssertion,
  renderMigPlan,
  renderMigProfiles,
  renderMigStatus,
} from '../view/mig.ts';
import { documentOf } from './document.ts';
import { FAILED, reportFailure } from './failure.ts';
import { type HoldFlags, holdOptions, ttlMsOf, whileHeld } from './hold.ts';
import { catchInterrupt } from './interrupt.ts';
import { explain, print, printJson, renderOptions } from './output.ts';
import { settleCommands } from './settle.ts';

const SCHEMA = 'warpgauge/mig/1';
const JSON_OPTION = ['--json', `print one JSON document (${SCHEMA})`] as const;

interface TargetOptions {
  readonly board?: string;
  readonly gpu?: string;
  readonly saved?: string;
  readonly json?: true;
}

interface LayoutOptions extends TargetOptions {
  readonly want?: string;
  readonly off?: true;
  readonly file?: string;
  readonly config?: string;
  readonly protect?: string;
}

interface ApplyOptions extends LayoutOptions, HoldFlags {
  readonly wait?: string;
  readonly yes?: true;
  readonly allowModeChange?: true;
  readonly allowReset?: true;
}

interface ExportOptions extends TargetOptions {
  readonly config: string;
  readonly unit?: true;
  readonly env?: true;
  readonly file?: string;
  readonly allowModeChange?: true;
}

/** `warpgauge mig status|profiles|plan|apply|assert|export|release|recover` */
export function registerMig(program: Command): void {
  const command = program.command('mig').description('MIG partitions: show, plan, apply, export');
  command
    .command('status')
    .description('mode, instances with their processes, and how many more of each profile fit')
    .option('--gpu <uuid>', 'this GPU only')
    .option(...JSON_OPTION)
    .action(status);
  target(command.command('profiles'))
    .description('what a GPU can be divided into, and where')
    .option('--save', 'keep what the driver says, for plans without the right to ask it')
    .action(profiles);
  layout(target(command.command('plan')))
    .description('the steps to a layout, and why there is none; changes nothing')
    .action(plan);
  const changing = layout(command.command('apply').option('--gpu <uuid>', 'this GPU'))
    .description('carry a plan out; after a failure the GPU is divided as it was found')
    .option('--yes', 'make and destroy idle instances')
    .option('--allow-mode-change', 'also switch MIG on or off')
    .option('--allow-reset', 'also reset the GPU where the mode needs it: ends all that runs on it')
    .option('--wait <time>', 'how long what is in use is tried again, such as 30s', '2s')
    .option(...JSON_OPTION);
  holdOptions(changing, 'restore the layout of before', 'mig recover').action(apply);
  layout(command.command('assert').option('--gpu <uuid>', 'this GPU'))
    .description('exit code 0 when the GPU is divided like that, else 1')
    .option('--mode-only', 'compare the mode alone')
    .option(...JSON_OPTION)
    .action(assert);
  command
    .command('export')
    .description("the layout now as nvidia-mig-parted's YAML, as a unit, or for programs")
    .option('--config <label>', 'label in the file', 'current')
    .option('--unit', 'a systemd unit that applies --file at boot; printed, not written')
    .option('--file <path>', 'file that the unit applies')
    .option('--allow-mode-change', 'let the unit switch the mode too')
    .option('--env', 'CUDA_VISIBLE_DEVICES of each GPU')
    .option('--gpu <uuid>', 'with --env: this GPU only')
    .action(exportLayout);
  settleCommands(command, {
    schema: SCHEMA,
    release: 'end what apply --ttl made, before its time',
    recover: 'undo what killed runs left',
    settle: mig,
    json: settledBody,
  });
}

function target(command: Command): Command {
  return command
    .option('--gpu <uuid>', 'this GPU (default: the only one that has MIG)')
    .option('--board <name>', 'without a GPU: A100-40, A100-80, H100-80, H200-141 or B200-180')
    .option('--saved <file>', 'without a GPU: what profiles --save kept')
    .option(...JSON_OPTION);
}

function layout(command: Command): Command {
  return command
    .option('--want <list>', 'the whole layout, such as 3g.40gb=1,2g.20gb=1,1g.10gb=2, or none')
    .option('--off', 'MIG off')
    .option('--file <path>', "or: layouts in nvidia-mig-parted's YAML")
    .option('--config <label>', 'and which of them')
    .option('--protect <uuids>', 'MIG devices that stay, besides those in use');
}

async function status({ json, ...options }: TargetOptions): Promise<void> {
  const gpus = await mig.status(options);
  if (!json) return print(renderMigStatus(gpus, renderOptions()));
  const shown = gpus.map(({ profiles, placementsCode: _, ...gpu }) => ({
    ...gpu,
    profilesSource: profiles?.source ?? null,
  }));
  printJson(documentOf(SCHEMA, 'status', { gpus: shown }));
}

async function profiles({
  json,
  save,
  ...options
}: TargetOptions & { save?: true }): Promise<void> {
  const found = await mig.profiles(options);
  if (json) printJson(documentOf(SCHEMA, 'profiles', found));
  else print(renderMigProfiles(found, renderOptions()));
  if (save) explain(`saved in ${await mig.saveProfiles(options)}`);
}

/** One plan of --want or --off, or those of a file. */
async function plansOf(options: LayoutOptions): Promise<readonly ApplicableMigPlan[]> {
  const { want, off, file, config, board, saved } = options;
  const protect = options.protect?.split(',') ?? [];
  const gpu = options.gpu === undefined ? {} : { gpu: options.gpu };
  if (file !== undefined && want === undefined && off === undefined) {
    if (config === undefined) throw invalidArgument('--config', 'a label of the file', config);
    return await mig.planFile({ file, config, protect, ...gpu });
  }
  if ((want === undefined) === (off === undefined) || file !== undefined) {
    throw invalidArgument('the layout', 'one of --want, --off and --file', 'none or several');
  }
  const plan = await mig.plan({
    ...gpu,
    ...(board === undefined ? {} : { board }),
    ...(saved === undefined ? {} : { saved }),
    instances: off ? {} : parseMigWant(want ?? ''),
    enabled: off === undefined,
    protect,
  });
  return [plan];
}

function planBody(options: LayoutOptions, plans: readonly MigPlan[]): object {
  const [plan] = plans;
  return options.file === undefined && plan !== undefined
    ? plan
    : { feasible: plans.every(({ feasible }) => feasible), plans };
}

async function plan(options: LayoutOptions): Promise<void> {
  const plans = await plansOf(options);
  if (options.json) printJson(documentOf(SCHEMA, 'plan', planBody(options, plans)));
  else print(plans.map((one) => renderMigPlan(one, renderOptions())).join('\n\n'));
  if (plans.length === 0) explain('no GPU is meant: the rules name none that is here');
  if (plans.some(({ feasible }) => !feasible)) process.exitCode = FAILED;
}

async function apply(options: ApplyOptions): Promise<void> {
  const plans = await plansOf(options);
  if (plans.some(({ feasible }) => !feasible)) {
    if (options.json) printJson(documentOf(SCHEMA, 'plan', planBody(options, plans)));
    else print(plans.map((one) => renderMigPlan(one, renderOptions())).join('\n\n'));
    process.exitCode = FAILED;
    return;
  }
  const changes = plans.some(({ steps }) => steps.length > 0);
  if (changes && !options.yes) {
    explain(plans.map((one) => renderMigPlan(one, renderOptions(process.stderr))).join('\n\n'));
    throw new WarpgaugeError('ERR_REFUSED', 'Nothing was changed: this needs your consent', {
      fix: 'Add --yes',
    });
  }
  const allow: MigConsent[] = [];
  if (options.allowModeChange) allow.push('mode');
  if (options.allowReset) allow.push('reset');
  const interrupt = catchInterrupt();
  try {
    const { signal } = interrupt;
    const { hold = false, guardian } = options;
    const ttlMs = ttlMsOf(options);
    const how = {
      allow,
      signal,
      guardian,
      waitMs: parseDurationNs('--wait', options.wait ?? '2s') / 1e6,
      ...(ttlMs === undefined ? {} : { ttlMs }),
    };
    const held: HeldMig[] = [];
    try {
      if (hold) for (const one of plans) held.push(await one.hold(how));
      const applied: readonly MigApplied[] = hold ? held : await mig.applyAll(plans, how);
      for (const note of applied.flatMap(({ notes }) => notes)) explain(note);
      if (options.json) printJson(documentOf(SCHEMA, 'apply', { held: hold, gpus: applied }));
      else print(applied.map((one) => renderMigApplied(one, renderOptions())).join('\n\n'));
      for (const one of applied) explainLease(one);
      if (!hold) return;
      const [first] = applied.flatMap(({ expires }) => expires ?? []);
      await whileHeld(signal, { ttlMs, expires: first ?? null });
    } finally {
      // Also those before one that failed.
      await releaseAll(held);
    }
  } finally {
    interrupt.close();
  }
}

async function releaseAll(held: readonly HeldMig[]): Promise<void> {
  for (const one of held.toReversed()) {
    try {
      await one.release();
      if (one.changed) explain(`${one.gpu}: restored the layout of before`);
    } catch (error) {
      explain(`${one.gpu}: later: sudo warpgauge mig recover`);
      process.exitCode = reportFailure(error);
    }
  }
}

/** Who ends a layout that is to end. */
function explainLease({ gpu, changed, guardian, expires }: MigApplied): void {
  if (guardian === null || !changed) return;
  const when = expires === null ? 'if this process is killed' : `at ${expires}, whatever happens`;
  explain(
    guardian.pid === null
      ? `${gpu}: no guardian (${guardian.reason}): when nobody restores the layout of before, warpgauge mig recover does`
      : `${gpu}: guardian: pid ${guardian.pid} restores the layout of before ${when}`,
  );
}

async function assert(options: LayoutOptions & { modeOnly?: true }): Promise<void> {
  const { want, off, file, config, modeOnly = false } = options;
  const gpu = options.gpu === undefined ? {} : { gpu: options.gpu };
  if (file !== undefined && config === undefined) {
    throw invalidArgument('--config', 'a label of the file', config);
  }
  const assertions =
    file !== undefined && config !== undefined
      ? await mig.assert({ ...gpu, file, config, modeOnly })
      : await mig.assert({
          ...gpu,
          instances: off || modeOnly ? {} : parseMigWant(want ?? ''),
          enabled: off === undefined,
          modeOnly,
        });
  const matches = assertions.every((one) => one.matches);
  if (options.json) printJson(documentOf(SCHEMA, 'assert', { matches, gpus: assertions }));
  else print(assertions.map(renderMigAssertion).join('\n'));
  if (!matches) process.exitCode = FAILED;
}

async function exportLayout(options: ExportOptions): Promise<void> {
  const { config, unit, env, file } = options;
  if (unit) {
    if (file === undefined) throw invalidArgument('--file', 'the file that the unit applies', file);
    const command = [process.execPath, process.argv[1] ?? 'warpgauge'];
    const allowModeChange = options.allowModeChange === true;
    return print(
      migUnit({ file: resolve(file), label: config, command, allowModeChange }).trimEnd(),
    );
  }
  if (env) {
    const gpus = await mig.status(options.gpu === undefined ? {} : { gpu: options.gpu });
    for (const one of gpus) {
      print(`# ${one.uuid} ${one.name}\nCUDA_VISIBLE_DEVICES=${visibleDevices(migDevices(one))}`);
    }
    return;
  }
  print((await mig.exportFile({ label: config })).trimEnd());
}

function settledBody(settled: readonly SettledTransaction[], complete: boolean): object {
  const transactions = settled.map(({ id, outcome, undone, blocked, error }) => ({
    id,
    outcome,
    undone: undone.map(({ op, target }) => ({ op, target })),
    blocked: blocked.map(({ record, error: why }) => ({
      op: record.op,
      target: record.target,
      error: why,
    })),
    error,
  }));
  return { complete, transactions };
}
