import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import type { StateOptions } from '../../host/state-folder.ts';
import { refuseLeased } from '../refuse-leased.ts';
import { begin } from '../transaction/begin.ts';
import type { GuardianReport, Lease } from '../transaction/guardian.ts';
import type { StepHook } from '../transaction/journal.ts';
import type { PlannedStep } from '../transaction/kind.ts';
import type { Transaction } from '../transaction/transaction.ts';
import { type MigGpu, observationOf, readMigGpu } from './device.ts';
import {
  CREATE_COMPUTE,
  CREATE_INSTANCE,
  computeTarget,
  DESTROY_COMPUTE,
  DESTROY_INSTANCE,
  instanceTarget,
  MODE,
  migKind,
  RESET,
} from './operations.ts';
import { missingRight } from './permission.ts';
import type {
  MigConsent,
  MigObservation,
  MigPlan,
  MigStep,
  ObservedInstance,
} from './plan-types.ts';
import { computeKey } from './want.ts';

/** {@link Lease}: with `ttlMs` the layout ends at that time, also beyond this process. */
export interface MigApplyOptions extends StateOptions, Lease {
  /** What may be done besides making and destroying idle instances of this GPU. */
  readonly allow?: readonly MigConsent[];
  /**
   * How long instances and GPUs that the driver calls in use are tried again, each, before `ERR_IN_USE`. Default 2000; 0: one
   * try. Processes that NVML lists before the first change are an error at once.
   */
  readonly waitMs?: number;
  /** Stops between two steps; what was done is undone and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal;
}

/** Seams for tests. */
export interface MigApplyInternals {
  readonly onStep?: StepHook;
  readonly announceMs?: number;
  readonly reset?: (gpu: string) => Promise<void>;
}

/** What a GPU is after `apply`. */
export interface MigApplied {
  readonly gpu: string;
  /** Name of the journal; null: nothing had to be changed. */
  readonly transaction: string | null;
  readonly changed: boolean;
  /** By start of the GPU instance, then of the compute instance. */
  readonly devices: readonly MigDevice[];
  /** For programs: the UUIDs, separated by commas. */
  readonly cudaVisibleDevices: string;
  readonly freeSlots: Readonly<Record<string, number>> | null;
  /** What else happened that a person wants to know, one sentence each. */
  readonly notes: readonly string[];
  /** Who restores the layout of before when this process dies or the time is over; null: the layout is meant to stay. */
  readonly guardian: GuardianReport | null;
  /** When the layout of before is restored whatever happens, or null. ISO 8601. */
  readonly expires: string | null;
}

/** A layout that ends with {@link release}, the end of the block, its time, or this process. */
export interface HeldMig extends MigApplied, AsyncDisposable {
  /**
   * Restores the layout of before. Throws what is in the way (`ERR_IN_USE`), with everything else restored; a later call
   * tries again. Idempotent.
   */
  release(): Promise<void>;
}

/** A MIG device as programs see it. */
export interface MigDevice {
  readonly uuid: string | null;
  readonly profile: string;
  readonly gpuInstance: number;
  readonly computeInstance: number;
  readonly start: number;
  readonly inUse: boolean;
}

/** Other processes of warpgauge let go of their MIG handles within this time after they could read the intent. */
const ANNOUNCE_MS = 1000;

/**
 * Carries out a plan: the difference only, in one pass, at the places the plan names. After any failure the GPU is
 * divided as it was found (ids and UUIDs are the driver's, and new).
 *
 * Errors: `ERR_REFUSED` (not feasible, a consent is missing, a layout with a time is there, the driver says yes and does
 * nothing), `ERR_STALE_PLAN`, `ERR_IN_USE` with `holders`, `ERR_PERMISSION` with `capability`, `ERR_LOCKED`, `ERR_NVML`,
 * `ERR_JOURNAL`.
 */
export async function applyMig(
  plan: MigPlan,
  options: MigApplyOptions & MigApplyInternals = {},
): Promise<MigApplied> {
  const [applied] = await applyMigs([plan], options);
  return applied as MigApplied;
}

/**
 * {@link applyMig} of several GPUs, on all or on none: none is for good before all are divided, and after a failure each is
 * as it was found, or the error says what could not be put back.
 */
export async function applyMigs(
  plans: readonly MigPlan[],
  options: MigApplyOptions & MigApplyInternals = {},
): Promise<readonly MigApplied[]> {
  const { ttlMs, guardian } = options;
  const lease = ttlMs === undefined ? undefined : { ttlMs, guardian };
  const made: Made[] = [];
  try {
    for (const plan of plans) made.push(await make(plan, options, lease));
  } catch (error) {
    await undoAll(made, error);
    throw error;
  }
  for (const [index, { transaction }] of made.entries()) {
    try {
      await (lease === undefined ? transaction?.keep() : transaction?.commit());
    } catch (error) {
      // That one is undone already.
      await undoAll(made.slice(index + 1), error);
      const kept = made.slice(0, index).filter((one) => one.transaction !== null);
      if (kept.length > 0 && error instanceof Error) {
        error.message += `; divided as planned: ${kept.map(({ gpu }) => gpu.uuid).join(', ')}`;
      }
      throw error;
    }
  }
  return made.map(({ gpu, transaction }) =>
    result(gpu, transaction, lease === undefined ? null : (transaction?.guardian ?? null)),
  );
}

/** The newest first; what stays is added to the error. */
async function undoAll(made: readonly Made[], error: unknown): Promise<void> {
  for (const { transaction } of made.toReversed()) await transaction?.undoAfter(error);
}

/** {@link applyMig}, for as long as this process lives and wants it. */
export async function holdMig(
  plan: MigPlan,
  options: MigApplyOptions & MigApplyInternals = {},
): Promise<HeldMig> {
  const { ttlMs, guardian } = options;
  const { transaction, gpu } = await make(plan, options, { ttlMs, guardian });
  // What is held can be used: monitors may open it again.
  transaction?.rest();
  const nobody = { pid: null, reason: 'nothing was changed' };
  const release = async (): Promise<void> => {
    const [first] = (await transaction?.undo())?.blocked ?? [];
    if (first !== undefined) throw first.error;
  };
  const methods = { release: { value: release }, [Symbol.asyncDispose]: { value: release } };
  const applied = result(gpu, transaction, transaction?.guardian ?? nobody);
  return Object.defineProperties({ ...applied }, methods) as HeldMig;
}

interface Made {
  readonly gpu: MigGpu;
  /** null: nothing had to be changed. */
  readonly transaction: Transaction | null;
}

/** Makes the layout and verifies it; the caller says what becomes of the transaction. */
async function make(
  plan: MigPlan,
  options: MigApplyOptions & MigApplyInternals,
  lease: Lease | undefined,
): Promise<Made> {
  const { allow = [], waitMs } = options;
  if (waitMs !== undefined && !(Number.isFinite(waitMs) && waitMs >= 0)) {
    throw invalidArgument('waitMs', 'a number of milliseconds from 0 on', waitMs);
  }
  const gpu = check(plan, allow);
  if (plan.steps.length === 0) {
    const now = await readMigGpu(gpu, options);
    if (!isLayout(plan, observationOf(now))) throw stale(gpu);
    return { gpu: now, transaction: null };
  }
  const right = missingRight(plan.consents.includes('mode'), options.root);
  if (right !== null) throw right;
  let applying = true;
  const transaction = await begin({
    ...options,
    lease,
    kind: migKind({
      root: options.root,
      patienceMs: waitMs,
      interrupted: () => applying && options.signal?.aborted === true,
      ...(options.reset === undefined ? {} : { reset: options.reset }),
    }),
    locks: [`gpu-${gpu}`],
    intent: `mig: ${intentOf(plan)}`,
    announceMs: options.announceMs ?? ANNOUNCE_MS,
    prepare: async () => {
      // A layout with a time is to end as a whole: what comes on top of it would be undone in part.
      refuseLeased({ action: 'mig', device: `gpu-${gpu}`, what: `${gpu} is divided` }, options);
      return prepare(plan, await readMigGpu(gpu, options), allow);
    },
  });
  applying = false;
  try {
    const now = await readMigGpu(gpu, options);
    if (!isLayout(plan, observationOf(now))) {
      throw new WarpgaugeError(
        'ERR_REFUSED',
        `Every step was done, and ${gpu} is not divided as planned: something else changes it`,
        { source: gpu, fix: 'warpgauge mig status' },
      );
    }
    return { gpu: now, transaction };
  } catch (error) {
    await transaction.undoAfter(error);
    throw error;
  }
}

/** What speaks against the plan before anything is looked at; gives the GPU. */
function check(plan: MigPlan, allow: readonly MigConsent[]): string {
  if (plan.gpu === null) {
    throw new WarpgaugeError('ERR_INVALID_ARGUMENT', 'This plan is for a board, not for a GPU', {
      fix: 'Plan for a GPU: --gpu GPU-... (nvidia-smi -L lists them)',
    });
  }
  if (!plan.feasible) {
    throw new WarpgaugeError('ERR_REFUSED', 'This plan is not feasible', {
      fix: 'warpgauge mig plan tells what is in the way',
    });
  }
  // A reset is asked for only where it is known to be needed; where it is not known, the mode alone may do.
  const needed = plan.consents.filter(
    (consent) => consent !== 'reset' || plan.observed?.modeNeedsReset === true,
  );
  const missing = needed.find((consent) => !allow.includes(consent));
  if (missing !== undefined) {
    const what = { mode: 'switches the MIG mode', reset: 'resets the GPU' }[missing];
    const flag = { mode: '--allow-mode-change', reset: '--allow-reset' }[missing];
    throw new WarpgaugeError('ERR_REFUSED', `This plan ${what}, which was not allowed`, {
      fix: `Allow it: ${flag}`,
    });
  }
  return plan.gpu;
}

function intentOf({ steps, destroys, creates }: MigPlan): string {
  const mode = steps.find((step) => step.action === 'set_mode');
  return [
    ...(mode === undefined ? [] : [`switch ${mode.enabled ? 'on' : 'off'}`]),
    `destroy ${destroys}, create ${creates} instances`,
  ].join(', ');
}

/** Under the lock: is the GPU what the plan was made for, and does its driver see the same places? */
function prepare(plan: MigPlan, gpu: MigGpu, allow: readonly MigConsent[]): PlannedStep[] {
  const now = observationOf(gpu);
  if (isLayout(plan, now)) return []; // the same plan a second time
  if (JSON.stringify(now) !== JSON.stringify(plan.observed)) throw stale(gpu.uuid);
  const steps = plannedSteps(plan, gpu.uuid, allow);
  for (const step of plan.steps) {
    if (step.action === 'create_instance') checkPlace(gpu, step);
  }
  return steps;
}

function checkPlace(
  gpu: MigGpu,
  {
    profile: name,
    profileId,
    start,
    size,
  }: { profile: string; profileId: number; start: number; size: number },
): void {
  if (gpu.placementsCode !== 0) {
    // Older drivers tell placements only in MIG mode: then each is compared before its instance is made.
    if (gpu.mode?.enabled === false) return;
    throw new WarpgaugeError(
      'ERR_PERMISSION',
      `The driver's placements cannot be compared with the plan: ${gpu.reason}`,
      {
        status: gpu.placementsCode,
        fix: 'Run it as root',
      },
    );
  }
  const own = gpu.profiles?.profiles.find(({ id }) => id === profileId);
  if (own?.memorySlices === size && own.starts.includes(start)) return;
  throw new WarpgaugeError(
    'ERR_STALE_PLAN',
    own === undefined
      ? `The driver knows no profile ${profileId} (${name}), which the plan has from ${gpu.profiles?.board ?? 'a table'}`
      : `The driver puts ${own.name} of ${own.memorySlices} slices at ${own.starts.join(', ')}; the plan wants ${size} at ${start}`,
    { source: gpu.uuid, fix: 'Make a new plan from the driver' },
  );
}

function plannedSteps(plan: MigPlan, gpu: string, allow: readonly MigConsent[]): PlannedStep[] {
  const instances = plan.observed?.instances ?? [];
  const targetOf = ({ profileId, start }: { profileId: number; start: number }) =>
    instanceTarget(gpu, profileId, start);
  const found = (id: number): ObservedInstance =>
    instances.find((one) => one.id === id) as ObservedInstance;
  const reset = allow.includes('reset');
  const planned = (step: MigStep): PlannedStep[] => {
    switch (step.action) {
      case 'set_mode':
        return [
          { op: MODE, target: gpu, asked: { enabled: step.enabled, reset } },
          // Does nothing where the mode took effect at once.
          ...(reset ? [{ op: RESET, target: gpu, asked: true }] : []),
        ];
      case 'destroy_compute': {
        const instance = found(step.instance);
        const start = instance.compute.find(({ id }) => id === step.compute)?.start ?? 0;
        return [
          {
            op: DESTROY_COMPUTE,
            target: computeTarget(targetOf(instance), step.slices, start),
            asked: null,
          },
        ];
      }
      case 'destroy_instance':
        return [
          {
            op: DESTROY_INSTANCE,
            target: targetOf(found(step.instance)),
            asked: { size: step.size },
          },
        ];
      case 'create_instance':
        return [{ op: CREATE_INSTANCE, target: targetOf(step), asked: { size: step.size } }];
      case 'create_compute': {
        const target = instanceTarget(gpu, step.profileId, step.at);
        return [
          {
            op: CREATE_COMPUTE,
            target: computeTarget(target, step.slices, step.start),
            asked: null,
          },
        ];
      }
    }
  };
  return plan.steps.flatMap(planned);
}

/** Whether a GPU is divided as the plan says, whatever ids and UUIDs it has. */
export function isLayout(plan: MigPlan, now: MigObservation): boolean {
  if (now.modeEnabled !== plan.modeEnabled || now.modePending !== plan.modeEnabled) return false;
  const key = (
    profileId: number,
    start: number,
    compute: readonly { readonly slices: number }[],
  ): string => `${profileId}@${start}:${computeKey(compute)}`;
  const there = now.instances.map((one) => key(one.profileId, one.start, one.compute)).sort();
  const planned = plan.layout.map((one) => key(one.profileId, one.start, one.compute)).sort();
  return there.join(' ') === planned.join(' ');
}

function stale(gpu: string): WarpgaugeError {
  return new WarpgaugeError('ERR_STALE_PLAN', `${gpu} is not what it was when the plan was made`, {
    source: gpu,
    fix: 'Make a new plan',
  });
}

function result(
  gpu: MigGpu,
  transaction: Transaction | null,
  guardian: GuardianReport | null,
): MigApplied {
  const devices = migDevices(gpu);
  return {
    gpu: gpu.uuid,
    transaction: transaction?.id ?? null,
    changed: (transaction?.id ?? null) !== null,
    devices,
    cudaVisibleDevices: visibleDevices(devices),
    freeSlots: gpu.freeSlots,
    notes: transaction?.notes ?? [],
    guardian,
    expires: transaction?.expires ?? null,
  };
}

export function migDevices(gpu: MigGpu): MigDevice[] {
  return gpu.instances.flatMap((instance) => {
    const profile = gpu.profiles?.profiles.find(({ id }) => id === instance.profileId);
    return instance.compute.map(({ id, slices, uuid }) => ({
      uuid,
      profile:
        profile === undefined || slices === profile.slices
          ? instance.profile
          : `${slices}c.${instance.profile}`,
      gpuInstance: instance.id,
      computeInstance: id,
      start: instance.start,
      inUse: instance.inUse,
    }));
  });
}

export function visibleDevices(devices: readonly MigDevice[]): string {
  return devices.flatMap(({ uuid }) => uuid ?? []).join(',');
}
