import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinding, type NativePowerChange } from '../../addon.ts';
import { WarpgaugeError } from '../../errors.ts';
import { nvmlPath } from '../nvml-path.ts';
import type { JournalIntent, JournalValue } from '../transaction/journal.ts';
import type { ActionKind, Operation, Step, Undoing } from '../transaction/kind.ts';
import type { KindOptions } from '../transaction/kinds.ts';
import { type ClockRange, knownNumber, readPowerGpu } from './device.ts';
import { type ClockObservation, judgeClock, observeClock, type PowerVerified } from './verified.ts';

/** Operations on a GPU; the target is its UUID. Limits in mW, clocks in MHz, as NVML has them. */
export const LIMIT = 'power.limit';
export const PERSISTENCE = 'power.persistence';
export const LOCK = { sm: 'power.lock-sm', memory: 'power.lock-memory' } as const;
export const RESET = { sm: 'power.reset-sm', memory: 'power.reset-memory' } as const;

export type ClockDomain = keyof typeof LOCK;

/** What `power.limit` reads. */
export interface LimitState {
  readonly requested: number;
  readonly current: number;
}

/** What a lock asks for; `before` is the lock of ours that it replaces, null where none is known. */
export interface LockAsked extends ClockRange {
  readonly before: ClockRange | null;
}

/** What came of a lock. */
export interface LockObserved extends ClockRange, ClockObservation {
  readonly verified: PowerVerified;
}

const NVML_NOT_SUPPORTED = 3;
const NVML_NO_PERMISSION = 4;
/** Success means that a request is installed; how long one waits to see it in effect. */
const SETTLE_MS = 500;
const POLL_MS = 20;

/** How power and clocks are changed. The only place from which a driver's calls that change them are made. */
export function powerKind(options: KindOptions = {}): ActionKind {
  const readGpu = (uuid: string) => readPowerGpu(uuid, options);
  return {
    name: 'power',
    command: 'power',
    operations: {
      [LIMIT]: limitOperation(readGpu),
      [PERSISTENCE]: persistenceOperation(readGpu),
      [LOCK.sm]: lockOperation('sm', readGpu),
      [LOCK.memory]: lockOperation('memory', readGpu),
      [RESET.sm]: resetOperation('sm', readGpu),
      [RESET.memory]: resetOperation('memory', readGpu),
    },
    // All of it is the driver's, and goes with it.
  };
}

type ReadGpu = (uuid: string) => ReturnType<typeof readPowerGpu>;

async function change(
  gpu: string,
  more: Partial<NativePowerChange> & Pick<NativePowerChange, 'kind'>,
): Promise<void> {
  try {
    await loadBinding().changePower(nvmlPath(), {
      gpu,
      limitMw: 0,
      lowMhz: 0,
      highMhz: 0,
      enabled: false,
      ...more,
    });
  } catch (error) {
    throw typed(error);
  }
}

/** Reads until `settled`, or as long as a driver may take. */
async function settle<T>(read: () => Promise<T>, settled: (state: T) => boolean): Promise<T> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const state = await read();
    if (settled(state) || performance.now() >= deadline) return state;
    await sleep(POLL_MS);
  }
}

const same = (a: LimitState, b: LimitState): boolean =>
  a.requested === b.requested && a.current === b.current;
const watts = (milliwatts: number): string => `${milliwatts / 1000} W`;

function limitOperation(readGpu: ReadGpu): Operation {
  const read = async (target: string): Promise<LimitState> => {
    const gpu = await readGpu(target);
    return {
      requested: knownNumber(gpu, 'The power limit', gpu.limitRequestedMw),
      current: knownNumber(gpu, 'The enforced power limit', gpu.limitEnforcedMw),
    };
  };
  const differs = (prior: JournalValue, now: JournalValue): JournalValue =>
    same(prior as unknown as LimitState, now as unknown as LimitState) ? null : now;
  return {
    describe: (step) => `limit ${step.target} to ${watts(step.asked as number)}`,
    read: async (target) => ({ ...(await read(target)) }),
    async set(step) {
      const limitMw = step.asked as number;
      await change(step.target, { kind: 'power-limit', limitMw });
      const { requested } = await settle(
        () => read(step.target),
        (state) => state.requested === limitMw && state.current <= limitMw,
      );
      if (requested === limitMw) return;
      const { persistence } = await readGpu(step.target);
      throw refused(
        step.target,
        `The driver said yes to ${watts(limitMw)}, and ${watts(requested)} is what it has`,
        persistence.value === 0
          ? 'Without persistence a GPU that nobody uses forgets its settings: ask for persistence too'
          : undefined,
      );
    },
    effect: (_step, prior, now) => differs(prior, now),
    // After a crash another value than ours is that of others.
    doubtful: (step, prior, now, threw) =>
      threw || (now as unknown as LimitState).requested === step.asked ? differs(prior, now) : null,
    verify(step, prior, effect) {
      const asked = step.asked as number;
      const { requested, current } = (effect ?? prior) as unknown as LimitState;
      if (requested === asked && current <= asked) return null;
      return refused(
        step.target,
        requested === asked
          ? `${watts(asked)} is installed, and ${watts(current)} is what the driver enforces`
          : `The driver said yes to ${watts(asked)}, and ${watts(requested)} is what it has`,
      );
    },
    async undo(record, undone) {
      const prior = record.prior as unknown as LimitState;
      const observed = record.observed as unknown as LimitState;
      return undoLimit(
        record.target,
        { prior, observed, now: await read(record.target) },
        undone.length > 0,
      );
    },
  };
}

/**
 * Back to what was asked for and to what was in force. Where an out-of-band limit had been in force that our request
 * replaced, no in-band call can bring both back: the lower one is put in force, because more power than was found could
 * trip a breaker, and the difference is told.
 */
function undoLimit(
  target: string,
  states: { readonly prior: LimitState; readonly observed: LimitState; readonly now: LimitState },
  begun: boolean,
): Undoing {
  const { prior, observed, now } = states;
  if (same(now, prior)) return null;
  if (!begun && now.requested !== observed.requested) return null; // others have changed it since
  if (!begun && now.requested !== prior.requested) {
    return { op: LIMIT, target, asked: prior.requested };
  }
  if (now.requested === prior.requested) {
    return prior.current < prior.requested && now.current !== prior.current
      ? { op: LIMIT, target, asked: prior.current }
      : null;
  }
  if (now.requested !== prior.current) return null;
  return {
    blocked: new WarpgaugeError(
      'ERR_REFUSED',
      `${target} is limited to ${watts(prior.current)} as it was found, but in-band: the request of ` +
        `${watts(prior.requested)} beside an out-of-band limit of ${watts(prior.current)} is not for this driver to put back`,
      {
        source: target,
        fix: `sudo nvidia-smi -i ${target} -pl ${prior.requested / 1000}, then set ${watts(prior.current)} at the BMC, then warpgauge power recover`,
      },
    ),
  };
}

function persistenceOperation(readGpu: ReadGpu): Operation {
  const read = async (target: string): Promise<boolean> => {
    const gpu = await readGpu(target);
    return knownNumber(gpu, 'Persistence', gpu.persistence) === 1;
  };
  return {
    describe: (step) => `switch persistence of ${step.target} ${step.asked ? 'on' : 'off'}`,
    read,
    set: (step) => change(step.target, { kind: 'persistence', enabled: step.asked === true }),
    effect: (_step, prior, now) => (now === prior ? null : now),
    verify: (step, prior, effect) =>
      (effect ?? prior) === step.asked
        ? null
        : refused(
            step.target,
            `The driver said yes, and persistence is still ${step.asked ? 'off' : 'on'}`,
          ),
    async undo(record) {
      if ((await read(record.target)) !== record.observed) return null;
      return { op: PERSISTENCE, target: record.target, asked: record.prior };
    },
  };
}

const NAMES: Readonly<Record<ClockDomain, string>> = { sm: 'SM', memory: 'memory' };

/** Reads the clock, for want of a getter of the lock. */
function clockReader(domain: ClockDomain, readGpu: ReadGpu) {
  return async (target: string): Promise<ClockObservation> =>
    observeClock(await readGpu(target), domain);
}

function lockOperation(domain: ClockDomain, readGpu: ReadGpu): Operation {
  const read = clockReader(domain, readGpu);
  const observed = (step: Step, seen: ClockObservation): LockObserved => {
    const { min, max } = step.asked as unknown as LockAsked;
    return { min, max, ...seen, verified: judgeClock({ min, max }, seen) };
  };
  const effect = (step: Step, _prior: JournalValue, now: JournalValue): JournalValue => ({
    ...observed(step, now as unknown as ClockObservation),
  });
  return {
    describe(step) {
      const { min, max } = step.asked as unknown as LockAsked;
      return `lock the ${NAMES[domain]} clock of ${step.target} to ${min}-${max} MHz`;
    },
    read: async (target) => ({ ...(await read(target)) }),
    async set(step) {
      const { min, max } = step.asked as unknown as LockAsked;
      await change(step.target, { kind: `lock-${domain}`, lowMhz: min, highMhz: max });
      // The driver has taken it: what then cannot be read must not pass for a refusal, after which nothing is undone.
      await settle(
        () => read(step.target).catch(() => null),
        (seen) => seen !== null && judgeClock({ min, max }, seen) !== 'not_in_effect',
      );
    },
    effect,
    // A crash may have cut it before or after the driver took it, and nothing tells which. Either way a lock is undone, and
    // one that undoes another is set again: locking twice is locking.
    doubtful: (step: Step & Pick<JournalIntent, 'undoes'>, prior, now, threw) =>
      threw || step.undoes !== undefined ? null : effect(step, prior, now),
    verify(step, _prior, effect) {
      if (effect === null) {
        return refused(step.target, `Nothing tells whether the ${NAMES[domain]} clock was locked`);
      }
      const { verified, mhz, min, max } = effect as unknown as LockObserved;
      if (verified !== 'not_in_effect') return null;
      return refused(
        step.target,
        `The ${NAMES[domain]} clock was locked to ${min}-${max} MHz and is ${mhz} MHz`,
      );
    },
    undo(record, undone) {
      if (undone.length > 0) return null;
      const { before } = record.asked as unknown as LockAsked;
      return before === null
        ? { op: RESET[domain], target: record.target, asked: null }
        : { op: LOCK[domain], target: record.target, asked: { ...before, before: null } };
    },
  };
}

/** Only ever undoes a lock. */
function resetOperation(domain: ClockDomain, readGpu: ReadGpu): Operation {
  const read = clockReader(domain, readGpu);
  return {
    describe: (step) => `unlock the ${NAMES[domain]} clock of ${step.target}`,
    read: async (target) => ({ ...(await read(target)) }),
    set: (step) => change(step.target, { kind: `reset-${domain}` }),
    effect: () => true,
    // Done once more after a crash: unlocking twice is unlocking.
    doubtful: () => null,
    verify: () => null,
    undo: () => null,
  };
}

function refused(gpu: string, message: string, fix = 'warpgauge power status'): WarpgaugeError {
  return new WarpgaugeError('ERR_REFUSED', `${gpu}: ${message}`, { source: gpu, fix });
}

/** NVML's codes as the errors of this package. */
function typed(error: unknown): unknown {
  if (!(error instanceof WarpgaugeError)) return error;
  if (error.status === NVML_NO_PERMISSION) {
    return new WarpgaugeError('ERR_PERMISSION', error.message, {
      status: NVML_NO_PERMISSION,
      capability: 'CAP_SYS_ADMIN',
      fix: 'Run it as root',
      ...(error.source === undefined ? {} : { source: error.source }),
      cause: error,
    });
  }
  if (error.status === NVML_NOT_SUPPORTED) {
    return new WarpgaugeError('ERR_UNAVAILABLE', error.message, {
      status: NVML_NOT_SUPPORTED,
      ...(error.source === undefined ? {} : { source: error.source }),
      cause: error,
    });
  }
  return error;
}
