import type {
  ClockRange,
  PowerGpu,
  PowerPlan,
  PowerStatus,
  PowerStep,
  VerifiedSetting,
} from '../mitigate/index.ts';
import { painter } from './colour.ts';
import { wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const ABSENT = '-';
const unit = (value: number | null, name: string): string =>
  value === null ? ABSENT : `${Number(value.toFixed(2))} ${name}`;
const range = ({ min, max }: ClockRange): string => `${min}-${max} MHz`;
const NAMES = {
  persistence: 'persistence',
  power_limit: 'power limit',
  sm_clock: 'SM clock',
  memory_clock: 'memory clock',
} as const;

export function renderPowerStatus(status: PowerStatus, options: RenderOptions): string {
  const { gpus, changes } = status;
  return [
    ...gpus.map((gpu) => renderGpu(gpu, options)),
    ...changes.map(
      ({ state, pid, outstanding }) =>
        `${state}: pid ${pid}, ${outstanding.length} settings not put back`,
    ),
  ].join('\n\n');
}

function renderGpu(gpu: PowerGpu, options: RenderOptions): string {
  const paint = painter(options.colour);
  const { powerLimit: limit, smClock, memoryClock } = gpu;
  const asked =
    limit.requestedW === limit.currentW ? '' : `, asked for ${unit(limit.requestedW, 'W')}`;
  const on = gpu.persistence === null ? ABSENT : gpu.persistence ? 'on' : 'off';
  const sm = smClock.supportedMhz;
  const memory = memoryClock.supportedMhz;
  const rows: readonly (readonly [string, string])[] = [
    ['draws', unit(gpu.drawW, 'W')],
    [
      'power limit',
      `${unit(limit.currentW, 'W')}${asked} (${unit(limit.minW, 'W')} to ${unit(limit.maxW, 'W')}, default ${unit(limit.defaultW, 'W')})`,
    ],
    ['SM clock', `${unit(smClock.nowMhz, 'MHz')}${sm === null ? '' : ` (${range(sm)})`}`],
    [
      'memory clock',
      `${unit(memoryClock.nowMhz, 'MHz')}${memory === null ? '' : ` (${memory.join(', ')} MHz)`}`,
    ],
    ['lowered by', gpu.eventReasons === null ? ABSENT : gpu.eventReasons.join(', ') || 'nothing'],
    ['persistence', on],
  ];
  const reasons = Object.entries(gpu.reasons).map(([field, code]) => `${field} (${code})`);
  return [
    paint('bold', `${gpu.uuid} ${gpu.name} (${gpu.pciAddress}, driver ${gpu.driverVersion})`),
    ...rows.map(([name, text]) => `  ${name.padEnd(13)} ${text}`),
    ...(reasons.length === 0
      ? []
      : wrap(reasons.join(', '), options.width, '  not told (NVML codes): ', '    ')),
  ].join('\n');
}

export function describePowerStep(step: PowerStep): string {
  const name = NAMES[step.setting];
  switch (step.setting) {
    case 'persistence':
      return `${name} ${step.to ? 'on' : 'off'}`;
    case 'power_limit': {
      const { requestedW, currentW } = step.from;
      const force = requestedW === currentW ? '' : ` (${unit(currentW, 'W')} in force)`;
      return `${name} ${unit(requestedW, 'W')}${force} -> ${unit(step.to, 'W')}`;
    }
    default:
      return `${name} ${step.from === null ? 'lock unknown' : range(step.from)} -> ${range(step.to)}`;
  }
}

/** A plan, or after `apply` what it came to. */
export function renderPowerPlan(
  plan: Pick<PowerPlan, 'steps' | 'warnings'>,
  verified: readonly VerifiedSetting[],
  options: RenderOptions,
): string {
  const paint = painter(options.colour);
  const output: string[] = plan.steps.length === 0 ? ['nothing to change'] : [];
  for (const gpu of new Set(plan.steps.map((step) => step.gpu))) {
    output.push(paint('bold', gpu));
    for (const step of plan.steps.filter((one) => one.gpu === gpu)) {
      const seen = verified.find((one) => one.gpu === gpu && one.setting === step.setting);
      const word = seen === undefined ? '' : `: ${seen.state.replaceAll('_', ' ')}`;
      const why = seen?.reason ? ` (${seen.reason})` : '';
      output.push(
        ...wrap(`${describePowerStep(step)}${word}${why}`, options.width, '  ', '    '),
        ...(seen === undefined ? [`    ${step.command}`] : []),
      );
    }
  }
  for (const { gpu, message } of plan.warnings) {
    output.push(...wrap(`${gpu}: ${message}`, options.width, 'note: ', '  '));
  }
  return output.join('\n');
}
