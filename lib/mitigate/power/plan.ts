import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import type { PlannedStep } from '../transaction/kind.ts';
import type { TransactionReport } from '../transaction/settle.ts';
import type { ClockRange, PowerGpu } from './device.ts';
import { type ClockDomain, LIMIT, LOCK, PERSISTENCE, RESET } from './operations.ts';
import { judgeClock, plannedClock } from './verified.ts';

/** What is wanted of one GPU; what is not named stays as it is. */
export interface PowerTarget {
  /** UUID. Default: the only GPU of this machine. */
  readonly gpu?: string;
  /** W, within the limits that the driver names. */
  readonly powerLimitW?: number;
  /** MHz. */
  readonly smClockMhz?: ClockRange;
  /** MHz; both ends are among the supported memory clocks. */
  readonly memoryClockMhz?: ClockRange;
  readonly persistence?: boolean;
}

export type PowerSetting = 'persistence' | 'power_limit' | 'sm_clock' | 'memory_clock';

/** One change; limits in W, clocks in MHz. */
export type PowerStep = {
  readonly gpu: string;
  /** The same by hand. */
  readonly command: string;
} & (
  | { readonly setting: 'persistence'; readonly from: boolean; readonly to: boolean }
  | {
      readonly setting: 'power_limit';
      readonly from: { readonly requestedW: number; readonly currentW: number };
      readonly to: number;
    }
  | {
      readonly setting: 'sm_clock' | 'memory_clock';
      /** null: no driver tells a lock, and warpgauge has set none that still stands. */
      readonly from: ClockRange | null;
      readonly to: ClockRange;
    }
);

export interface PowerWarning {
  readonly code: /** The GPU draws less than the cap: as long as it does, the cap changes nothing. */
    | 'cap_above_draw'
    /** An out-of-band limit is in force that an in-band request may replace for good. */
    | 'out_of_band_limit'
    /** A lock that somebody else had set cannot be read: undoing unlocks the clock. */
    | 'prior_lock_unknown'
    /** Without persistence the driver forgets all settings with its last client. */
    | 'persistence_off';
  readonly gpu: string;
  readonly message: string;
}

/** What a plan starts from: compared again under the lock, and anything else is a stale plan. */
export interface PowerObservation {
  readonly gpu: string;
  readonly persistence: boolean | null;
  readonly requestedW: number | null;
  readonly currentW: number | null;
  readonly smLock: ClockRange | null;
  readonly memoryLock: ClockRange | null;
}

/** What it takes to get to the settings; plain data. */
export interface PowerPlan {
  readonly targets: readonly (PowerTarget & { readonly gpu: string })[];
  readonly steps: readonly PowerStep[];
  readonly warnings: readonly PowerWarning[];
  readonly observed: readonly PowerObservation[];
}

/** Locks that warpgauge has set and that still stand, by GPU. */
export type KnownLocks = (gpu: string, domain: ClockDomain) => ClockRange | null;

/** Reads them from the journals of changes that are not undone, which is all that is known of locks. */
export function knownLocks(reports: readonly TransactionReport[]): KnownLocks {
  const locks = new Map<string, ClockRange | null>();
  for (const { state, records } of reports) {
    if (state !== 'committed' && state !== 'held' && state !== 'expired') continue;
    for (const { op, target, observed } of records) {
      for (const domain of ['sm', 'memory'] as const) {
        if (observed === null) continue;
        if (op === LOCK[domain]) {
          const { min, max } = observed as unknown as ClockRange;
          locks.set(`${target}/${domain}`, { min, max });
        } else if (op === RESET[domain]) locks.set(`${target}/${domain}`, null);
      }
    }
  }
  return (gpu, domain) => locks.get(`${gpu}/${domain}`) ?? null;
}

/** Pure: what the targets need on GPUs that are as `gpus` says. */
export function planPower(
  targets: readonly PowerTarget[],
  gpus: readonly PowerGpu[],
  locks: KnownLocks,
): PowerPlan {
  if (targets.length === 0) throw invalidArgument('targets', 'at least one target', 'none');
  const named = targets.map((target) => ({ ...target, gpu: gpuOf(target, gpus).uuid }));
  const uuids = named.map(({ gpu }) => gpu);
  const twice = uuids.find((uuid, index) => uuids.indexOf(uuid) !== index);
  if (twice !== undefined) throw invalidArgument('targets', 'one target for each GPU', twice);
  const parts = named.map((target) => planGpu(target, gpuOf(target, gpus), locks));
  return {
    targets: named,
    steps: parts.flatMap(({ steps }) => steps),
    warnings: parts.flatMap(({ warnings }) => warnings),
    observed: parts.map(({ observed }) => observed),
  };
}

function gpuOf({ gpu: uuid }: PowerTarget, gpus: readonly PowerGpu[]): PowerGpu {
  const [first, second] = gpus;
  if (first === undefined) {
    throw new WarpgaugeError('ERR_NO_DEVICE', 'The driver names no GPU', { fix: 'nvidia-smi -L' });
  }
  if (uuid === undefined) {
    if (second === undefined) return first;
    throw invalidArgument('gpu', `one of ${gpus.map((one) => one.uuid).join(', ')}`, undefined);
  }
  const found = gpus.find((one) => one.uuid === uuid);
  if (found !== undefined) return found;
  throw new WarpgaugeError('ERR_NO_DEVICE', `There is no GPU ${uuid}`, { fix: 'nvidia-smi -L' });
}

function planGpu(
  target: PowerTarget,
  gpu: PowerGpu,
  locks: KnownLocks,
): Pick<PowerPlan, 'steps' | 'warnings'> & { readonly observed: PowerObservation } {
  const observed: PowerObservation = {
    gpu: gpu.uuid,
    persistence: gpu.persistence,
    requestedW: gpu.powerLimit.requestedW,
    currentW: gpu.powerLimit.currentW,
    smLock: locks(gpu.uuid, 'sm'),
    memoryLock: locks(gpu.uuid, 'memory'),
  };
  const found = [
    // On before what it keeps, off after it.
    ...(target.persistence === true ? persistence(gpu, true) : []),
    ...(target.powerLimitW === undefined ? [] : powerLimit(gpu, target.powerLimitW)),
    ...(target.smClockMhz === undefined ? [] : smLock(gpu, target.smClockMhz, observed.smLock)),
    ...(target.memoryClockMhz === undefined
      ? []
      : memoryLock(gpu, target.memoryClockMhz, observed.memoryLock)),
    ...(target.persistence === false ? persistence(gpu, false) : []),
  ];
  const steps = found.filter((one): one is PowerStep => 'setting' in one);
  const warnings = found.filter((one): one is PowerWarning => 'code' in one);
  const persists = target.persistence ?? gpu.persistence;
  if (persists === false && steps.some(({ setting }) => setting !== 'persistence')) {
    warnings.push({
      code: 'persistence_off',
      gpu: gpu.uuid,
      message:
        'without persistence the driver forgets these settings when the last program closes the GPU',
    });
  }
  const names = ['powerLimitW', 'smClockMhz', 'memoryClockMhz', 'persistence'] as const;
  if (names.every((name) => target[name] === undefined)) {
    throw invalidArgument('target', `one of ${names.join(', ')}`, 'none of them');
  }
  return { steps, warnings, observed };
}

type Found = readonly (PowerStep | PowerWarning)[];

function persistence(gpu: PowerGpu, to: boolean): Found {
  const from = gpu.persistence;
  if (from === null) throw unavailable(gpu, 'persistence', 'persistence');
  const command = `sudo nvidia-smi -i ${gpu.uuid} -pm ${to ? 1 : 0}`;
  return from === to ? [] : [{ gpu: gpu.uuid, setting: 'persistence', from, to, command }];
}

function powerLimit(gpu: PowerGpu, to: number): Found {
  const { requestedW, currentW, minW, maxW } = gpu.powerLimit;
  if (requestedW === null) throw unavailable(gpu, 'the power limit', 'powerLimit.requestedW');
  if (currentW === null) throw unavailable(gpu, 'the power limit in force', 'powerLimit.currentW');
  const least = minW ?? 1;
  const most = maxW ?? Number.POSITIVE_INFINITY;
  if (!(Number.isFinite(to) && to >= least && to <= most)) {
    throw invalidArgument('powerLimitW', `${least} to ${most} W of ${gpu.uuid}`, to);
  }
  if (requestedW === to && currentW <= to) return [];
  const command = `sudo nvidia-smi -i ${gpu.uuid} -pl ${to}`;
  const found: (PowerStep | PowerWarning)[] = [
    { gpu: gpu.uuid, setting: 'power_limit', from: { requestedW, currentW }, to, command },
  ];
  if (gpu.drawW !== null && gpu.drawW < to) {
    found.push({
      code: 'cap_above_draw',
      gpu: gpu.uuid,
      message: `it draws ${gpu.drawW} W now, less than ${to} W: as long as it does the limit changes nothing, and a lock of the SM clock would`,
    });
  }
  if (currentW < requestedW) {
    found.push({
      code: 'out_of_band_limit',
      gpu: gpu.uuid,
      message: `${currentW} W is in force although ${requestedW} W is asked for: an out-of-band limit, which this driver may not be able to put back`,
    });
  }
  return found;
}

function smLock(gpu: PowerGpu, range: ClockRange, before: ClockRange | null): Found {
  const to = checkRange('smClockMhz', range);
  const { supportedMhz, maxMhz } = gpu.smClock;
  const least = supportedMhz?.min ?? 1;
  const most = supportedMhz?.max ?? maxMhz ?? Number.POSITIVE_INFINITY;
  if (to.min < least || to.max > most) {
    throw invalidArgument('smClockMhz', `${least} to ${most} MHz of ${gpu.uuid}`, show(to));
  }
  return lock(gpu, 'sm_clock', to, before);
}

function memoryLock(gpu: PowerGpu, range: ClockRange, before: ClockRange | null): Found {
  const to = checkRange('memoryClockMhz', range);
  const { supportedMhz } = gpu.memoryClock;
  if (supportedMhz !== null && ![to.min, to.max].every((mhz) => supportedMhz.includes(mhz))) {
    throw invalidArgument('memoryClockMhz', `ends among ${supportedMhz.join(', ')} MHz`, show(to));
  }
  return lock(gpu, 'memory_clock', to, before);
}

function lock(
  gpu: PowerGpu,
  setting: 'sm_clock' | 'memory_clock',
  to: ClockRange,
  before: ClockRange | null,
): Found {
  const domain = setting === 'sm_clock' ? 'sm' : 'memory';
  // A journal tells of our lock, not whether the driver still has it (it may have been loaded again): only a clock does.
  const holds = judgeClock(to, plannedClock(gpu, domain)) === 'in_effect';
  if (before !== null && sameRange(before, to) && holds) return [];
  const flag = setting === 'sm_clock' ? '-lgc' : '-lmc';
  const command = `sudo nvidia-smi -i ${gpu.uuid} ${flag} ${to.min},${to.max}`;
  const step: PowerStep = { gpu: gpu.uuid, setting, from: before, to, command };
  if (before !== null) return [step];
  const name = setting === 'sm_clock' ? 'SM' : 'memory';
  return [
    step,
    {
      code: 'prior_lock_unknown',
      gpu: gpu.uuid,
      message: `no driver tells whether the ${name} clock is locked already: undoing unlocks it, also from a lock that others had set`,
    },
  ];
}

const sameRange = (a: ClockRange, b: ClockRange): boolean => a.min === b.min && a.max === b.max;

/** Whether a step sets a lock of ours once more, which changes nothing where the driver still has it. */
export function locksAgain(step: PowerStep): boolean {
  const isLock = step.setting === 'sm_clock' || step.setting === 'memory_clock';
  return isLock && step.from !== null && sameRange(step.from, step.to);
}

function checkRange(name: string, range: ClockRange): ClockRange {
  const { min, max } = range;
  if (Number.isInteger(min) && Number.isInteger(max) && min > 0 && min <= max) return { min, max };
  throw invalidArgument(name, 'whole MHz, the least first', show(range));
}

const show = ({ min, max }: ClockRange): string => `${min},${max}`;

function unavailable(gpu: PowerGpu, what: string, field: string): WarpgaugeError {
  const status = gpu.reasons[field];
  return new WarpgaugeError(
    'ERR_UNAVAILABLE',
    `${gpu.uuid} does not tell ${what} (NVML code ${status})`,
    { source: gpu.uuid, ...(status === undefined ? {} : { status }) },
  );
}

/** The steps as the transaction takes them: in mW and MHz, as the driver has them. */
export function plannedSteps(steps: readonly PowerStep[]): PlannedStep[] {
  return steps.map((step) => {
    switch (step.setting) {
      case 'persistence':
        return { op: PERSISTENCE, target: step.gpu, asked: step.to, from: step.from };
      case 'power_limit': {
        const { requestedW, currentW } = step.from;
        const from = { requested: toMw(requestedW), current: toMw(currentW) };
        return { op: LIMIT, target: step.gpu, asked: toMw(step.to), from };
      }
      default: {
        const domain = step.setting === 'sm_clock' ? 'sm' : 'memory';
        const before = step.from === null ? null : { ...step.from };
        return { op: LOCK[domain], target: step.gpu, asked: { ...step.to, before } };
      }
    }
  });
}

export const toMw = (watts: number): number => Math.round(watts * 1000);
