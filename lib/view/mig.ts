import type {
  MigApplied,
  MigAssertion,
  MigBlocker,
  MigGpu,
  MigPlan,
  MigProfileSet,
  MigStep,
  MigWant,
} from '../mitigate/index.ts';
import { formatBytes, MiB } from '../units.ts';
import { painter } from './colour.ts';
import { formatTable, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const ABSENT = '-';
const count = (value: number | null): string => (value === null ? ABSENT : String(value));
const right = (title: string) => ({ title, align: 'right' as const });

/** Where profiles come from, in one line. */
export function describeSource(source: MigProfileSet['source']): string {
  switch (source.kind) {
    case 'offline':
      return `offline table (${source.note})`;
    case 'saved':
      return `reading of driver ${source.driverVersion} saved ${source.readAt} in ${source.file}`;
    case 'driver':
      return `driver ${source.driverVersion}`; // a simulated one says so in its version
  }
}

export function renderMigStatus(gpus: readonly MigGpu[], options: RenderOptions): string {
  return gpus.map((gpu) => renderGpu(gpu, options)).join('\n\n');
}

function renderGpu(gpu: MigGpu, options: RenderOptions): string {
  const paint = painter(options.colour);
  const output = [
    paint('bold', `${gpu.uuid} ${gpu.name} (${gpu.pciAddress}, driver ${gpu.driverVersion})`),
  ];
  if (gpu.reason !== null) output.push(...wrap(gpu.reason, options.width, '  ', '  '));
  if (gpu.mode === null) return output.join('\n');
  const { enabled, pending } = gpu.mode;
  const word = (on: boolean): string => (on ? 'on' : 'off');
  output.push(
    `  MIG ${word(enabled)}${enabled === pending ? '' : `, ${word(pending)} after a reset of the GPU`}`,
  );
  output.push(
    ...formatTable(
      [
        right('start'),
        right('size'),
        { title: 'profile' },
        right('GI'),
        { title: 'compute instances' },
        { title: 'processes' },
      ],
      gpu.instances.map((one) => ({
        cells: [
          String(one.start),
          String(one.size),
          one.profile,
          String(one.id),
          one.compute.length === 0
            ? 'none'
            : one.compute.map(({ slices, uuid }) => `${slices}c ${uuid ?? ABSENT}`).join(', '),
          one.processes.map(({ pid, command }) => `${pid} ${command ?? ''}`.trim()).join(', '),
        ],
      })),
      { paint, width: options.width },
    ),
  );
  if (gpu.freeSlots !== null) {
    const free = Object.entries(gpu.freeSlots).map(([name, n]) => `${name}=${n}`);
    output.push(...wrap(free.join(', '), options.width, '  free slots: ', '    '));
  }
  return output.join('\n');
}

export function renderMigApplied(applied: MigApplied, options: RenderOptions): string {
  const paint = painter(options.colour);
  return [
    paint('bold', `${applied.gpu}: ${applied.changed ? 'changed' : 'nothing to change'}`),
    ...formatTable(
      [right('start'), { title: 'device' }, { title: 'UUID' }],
      applied.devices.map((one) => ({
        cells: [String(one.start), one.profile, one.uuid ?? ABSENT],
      })),
      { paint, width: options.width },
    ),
    `CUDA_VISIBLE_DEVICES=${applied.cudaVisibleDevices}`,
  ].join('\n');
}

export function renderMigAssertion(one: MigAssertion): string {
  const list = (want: MigWant): string =>
    Object.entries(want)
      .map(([name, n]) => `${n} x ${name}`)
      .join(', ') || 'no instances';
  const mode = (on: boolean | null): string => (on === null ? 'no MIG' : on ? 'MIG on' : 'MIG off');
  return one.matches
    ? `${one.gpu}: as wanted`
    : `${one.gpu}: wanted ${mode(one.modeWanted)}, ${list(one.wanted)}; found ${mode(one.mode)}, ${list(one.found)}`;
}

export function renderMigProfiles(set: MigProfileSet, options: RenderOptions): string {
  const paint = painter(options.colour);
  return [
    paint('bold', `MIG profiles of ${set.board}`),
    ...wrap(describeSource(set.source), options.width, '  ', '  '),
    ...formatTable(
      [
        { title: 'profile' },
        ...['id', 'compute', 'slices', 'most', 'memory', 'SMs', 'copy', 'dec', 'jpeg'].map(right),
        { title: 'starts' },
      ],
      set.profiles.map((profile) => ({
        cells: [
          profile.name,
          String(profile.id),
          String(profile.slices),
          String(profile.memorySlices),
          String(profile.maxInstances),
          profile.memoryMib === null ? ABSENT : formatBytes(profile.memoryMib * MiB),
          count(profile.multiprocessors),
          count(profile.copyEngines),
          count(profile.decoders),
          count(profile.jpegs),
          profile.starts.join(' '),
        ],
      })),
      { paint, width: options.width },
    ),
  ].join('\n');
}

export function renderMigPlan(plan: MigPlan, options: RenderOptions): string {
  const paint = painter(options.colour);
  const wanted = Object.entries(plan.want).map(([name, n]) => `${n} x ${name}`);
  const what = plan.modeEnabled
    ? wanted.length === 0
      ? 'no instances'
      : wanted.join(', ')
    : 'MIG off';
  const output = [
    paint('bold', `${plan.gpu ?? plan.board}: ${what}`),
    ...wrap(describeSource(plan.source), options.width, '  profiles: ', '  '),
  ];
  if (!plan.feasible) {
    output.push('', paint('red', 'not feasible'));
    for (const blocker of plan.blockedBy) {
      for (const line of describeBlocker(blocker)) {
        output.push(...wrap(line, options.width, '  ', '    '));
      }
    }
    return output.join('\n');
  }
  output.push(
    ...formatTable(
      [right('start'), right('size'), { title: 'profile' }, { title: 'devices' }, { title: '' }],
      plan.layout.map((one) => ({
        cells: [
          String(one.start),
          String(one.size),
          one.profile,
          one.devices.join(', '),
          one.existing === null
            ? 'new'
            : `kept, GPU instance ${one.existing}${one.extra ? ` (not asked for: ${one.keptBecause?.replace('_', ' ')})` : ''}`,
        ],
      })),
      { paint, width: options.width },
    ),
    '',
  );
  if (plan.steps.length === 0) output.push('nothing to change');
  plan.steps.forEach((step, i) => {
    output.push(`${String(i + 1).padStart(3)}  ${describeStep(step)}`);
  });
  const free = Object.entries(plan.freeSlots).map(([name, n]) => `${name}=${n}`);
  output.push('', ...wrap(free.join(', '), options.width, 'free slots afterwards: ', '  '));
  if (plan.consents.length > 0) {
    const options = { mode: '--allow-mode-change', reset: '--allow-reset' };
    output.push(`apply needs ${plan.consents.map((one) => options[one]).join(' and ')}`);
  }
  return output.join('\n');
}

export function describeStep(step: MigStep): string {
  switch (step.action) {
    case 'set_mode':
      return `switch MIG ${step.enabled ? 'on' : 'off'}${step.mayReset === false ? '' : ' (may need a reset of the GPU)'}`;
    case 'destroy_compute':
      return `destroy compute instance ${step.compute} of GPU instance ${step.instance}`;
    case 'destroy_instance':
      return `destroy GPU instance ${step.instance} (${step.profile} at ${step.start})`;
    case 'create_instance':
      return `create ${step.profile} at ${step.start}`;
    case 'create_compute':
      return `create a compute instance of ${step.slices} in the ${step.profile} at ${step.at}`;
  }
}

/** One line for what is in the way, and one for each start that was tried. */
export function describeBlocker(blocker: MigBlocker): string[] {
  const because = { wanted: 'also asked for', in_use: 'in use', protected: 'protected' };
  const name = (by: { profile: string; start: number; because: keyof typeof because }) =>
    `${by.profile} at ${by.start} (${because[by.because]})`;
  switch (blocker.kind) {
    case 'instance_count':
      return [
        `${blocker.profile}: ${blocker.wanted} asked for, the GPU can hold ${blocker.most}, whatever else is there`,
      ];
    case 'instances_stay':
      return [
        `MIG cannot be switched off while there is ${blocker.instances.map(name).join(', ')}`,
      ];
    case 'placement':
      return [
        `no room for ${blocker.profile}:`,
        ...blocker.starts.map(
          ({ start, size, by }) =>
            `${size === 1 ? `slice ${start}` : `slices ${start} to ${start + size - 1}`}: taken by ${by.map(name).join(', ')}`,
        ),
      ];
  }
}
