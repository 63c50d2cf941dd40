import type { Command } from 'commander';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import {
  type ApplicablePowerPlan,
  type ClockRange,
  type PowerChange,
  type PowerTarget,
  power,
} from '../mitigate/index.ts';
import { renderPowerPlan, renderPowerStatus } from '../view/power.ts';
import { documentOf } from './document.ts';
import { explainGuardian, type HoldFlags, holdOptions, leaseOf, whileHeld } from './hold.ts';
import { catchInterrupt } from './interrupt.ts';
import { explain, print, printJson, renderOptions } from './output.ts';
import { settleCommands } from './settle.ts';

const SCHEMA = 'warpgauge/power/1';
const JSON_OPTION = ['--json', `print one JSON document (${SCHEMA})`] as const;

interface TargetFlags {
  readonly gpu?: string;
  readonly limit?: string;
  readonly smClock?: string;
  readonly memoryClock?: string;
  readonly persistence?: string;
  readonly json?: true;
}

interface ApplyFlags extends TargetFlags, HoldFlags {
  readonly yes?: true;
}

/** `warpgauge power status|plan|apply|release|recover` */
export function registerPower(program: Command): void {
  const command = program
    .command('power')
    .description('power limit, clock locks and persistence of GPUs: show, plan, set, put back');
  command
    .command('status')
    .description('draw, limits, clocks and what may be asked for; what warpgauge has changed')
    .option('--gpu <uuid>', 'this GPU only')
    .option(...JSON_OPTION)
    .action(status);
  settings(command.command('plan'))
    .description('what it takes to get to the settings; changes nothing, needs no privilege')
    .action(plan);
  const changing = settings(command.command('apply'))
    .description('set them; put back what was there with --hold, --ttl or: power release')
    .option('--yes', 'change the GPU');
  holdOptions(changing, 'put back what was there', 'power recover').action(apply);
  settleCommands(command, {
    schema: SCHEMA,
    release: 'put back what apply replaced',
    recover: 'put back what killed runs replaced',
    settle: power,
  });
}

function settings(command: Command): Command {
  return command
    .option('--gpu <uuids>', 'these GPUs, separated by commas, or all (default: the only one)')
    .option('--limit <watts>', 'power limit')
    .option('--sm-clock <mhz>', 'lock the SM clock: 1200, or a range such as 345,1200')
    .option('--memory-clock <mhz>', 'lock the memory clock: one that is supported, or a range')
    .option('--persistence <word>', 'on or off')
    .option(...JSON_OPTION);
}

async function status({ json, ...options }: { gpu?: string; json?: true }): Promise<void> {
  const found = await power.status(options);
  if (json) printJson(documentOf(SCHEMA, 'status', found));
  else print(renderPowerStatus(found, renderOptions()));
}

async function planOf(flags: TargetFlags): Promise<ApplicablePowerPlan> {
  const { gpu, limit, smClock, memoryClock, persistence } = flags;
  if (persistence !== undefined && persistence !== 'on' && persistence !== 'off') {
    throw invalidArgument('--persistence', 'on or off', persistence);
  }
  const wanted: PowerTarget = {
    ...(limit === undefined ? {} : { powerLimitW: number('--limit', limit) }),
    ...(smClock === undefined ? {} : { smClockMhz: clocks('--sm-clock', smClock) }),
    ...(memoryClock === undefined ? {} : { memoryClockMhz: clocks('--memory-clock', memoryClock) }),
    ...(persistence === undefined ? {} : { persistence: persistence === 'on' }),
  };
  if (gpu === undefined) return await power.plan(wanted);
  const uuids =
    gpu === 'all' ? (await power.status()).gpus.map(({ uuid }) => uuid) : gpu.split(',');
  return await power.plan(uuids.map((uuid) => ({ ...wanted, gpu: uuid })));
}

async function plan(flags: TargetFlags): Promise<void> {
  const found = await planOf(flags);
  if (flags.json) return printJson(documentOf(SCHEMA, 'plan', found));
  print(renderPowerPlan(found, [], renderOptions()));
  const { refusal } = found;
  if (refusal !== null) explain(`apply would be refused: ${refusal.message}. ${refusal.fix ?? ''}`);
}

async function apply(flags: ApplyFlags): Promise<void> {
  const wanted = await planOf(flags);
  if (wanted.steps.length > 0 && !flags.yes) {
    explain(renderPowerPlan(wanted, [], renderOptions(process.stderr)));
    throw new WarpgaugeError('ERR_REFUSED', 'Nothing was changed: this needs your consent', {
      fix: 'Add --yes',
    });
  }
  const interrupt = catchInterrupt();
  try {
    const { signal } = interrupt;
    const hold = flags.hold ?? false;
    const lease = leaseOf(flags);
    const change = await wanted.apply({ signal, ...lease });
    if (!hold) await change.commit();
    tell(change, hold, flags);
    if (!hold) return;
    // Settings that others take away meanwhile are told, not fought for.
    change.onDrift(({ gpu, setting, expected, found, reason }) => {
      const now = found === null ? 'cannot be read' : `is ${found}`;
      explain(
        `drift: ${gpu}: ${setting.replaceAll('_', ' ')} ${now}, was set to ${expected}: ${reason}`,
      );
    });
    await whileHeld(signal, { ttlMs: lease.ttlMs, expires: change.expires });
    await change.undo();
    explain('put back what was there');
  } finally {
    interrupt.close();
  }
}

function tell(change: PowerChange, hold: boolean, { json }: ApplyFlags): void {
  const { id, changed, verified, warnings, notes, guardian, expires } = change;
  for (const note of notes) explain(note);
  if (json) {
    printJson(
      documentOf(SCHEMA, 'apply', {
        id,
        held: hold,
        changed,
        verified,
        warnings,
        guardian,
        expires,
      }),
    );
  } else print(renderPowerPlan({ steps: changed, warnings }, verified, renderOptions()));
  if (id === null) return;
  if (hold || expires !== null) explainGuardian(guardian);
  else explain('put back what was there with: warpgauge power release');
}

function number(name: string, text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw invalidArgument(name, 'a number', text);
  return Number(text);
}

function clocks(name: string, text: string): ClockRange {
  const match = /^(\d+)(?:,(\d+))?$/.exec(text);
  if (match === null) throw invalidArgument(name, 'MHz such as 1200 or 345,1200', text);
  const min = Number(match[1]);
  return { min, max: match[2] === undefined ? min : Number(match[2]) };
}
