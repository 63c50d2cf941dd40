import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  loadBinding,
  type NativeMigChange,
  type NativeMigChangeResult,
  type NativeMigGpu,
  type NativeMigGpuInstance,
} from '../../addon.ts';
import { type Holder, WarpgaugeError } from '../../errors.ts';
import { nvmlPath } from '../nvml-path.ts';
import type { JournalValue } from '../transaction/journal.ts';
import type { ActionKind, Operation, Step } from '../transaction/kind.ts';
import type { KindOptions } from '../transaction/kinds.ts';
import { readMigSystem } from './device.ts';
import { listHolders, listSuspects } from './holders.ts';

/** Operations on a GPU; targets are placements, because ids are the driver's and end with their instance. */
export const MODE = 'mig.mode';
export const RESET = 'mig.reset';
export const CREATE_INSTANCE = 'mig.create-instance';
export const DESTROY_INSTANCE = 'mig.destroy-instance';
export const CREATE_COMPUTE = 'mig.create-compute';
export const DESTROY_COMPUTE = 'mig.destroy-compute';

const NVML_NO_PERMISSION = 4;
const NVML_RESET_REQUIRED = 16;
const NVML_IN_USE = 19;
const NVML_INSUFFICIENT_RESOURCES = 23;
const POLL_MS = 50;
/** Between two tries of what was in use: from the first to the second number, twice as long each time. */
const RETRY_MS = [20, 320] as const;
/** Clients go: programs that end, samplers of ours that read the announced intent (within a second). */
const IN_USE_MS = 2000;

/** `GPU-…/9@4`: profile id and first memory slice. */
export function instanceTarget(gpu: string, profile: number, start: number): string {
  return `${gpu}/${profile}@${start}`;
}

/** `GPU-…/9@4/1@2`: and in it compute slices and the first of them. */
export function computeTarget(instance: string, slices: number, start: number): string {
  return `${instance}/${slices}@${start}`;
}

interface Target {
  readonly gpu: string;
  readonly profile: number;
  readonly start: number;
  readonly slices: number;
  readonly computeStart: number;
}

function parseTarget(target: string): Target {
  const [gpu = '', instance = '', compute = ''] = target.split('/');
  const [profile = 0, start = 0] = instance.split('@').map(Number);
  const [slices = 0, computeStart = 0] = compute.split('@').map(Number);
  return { gpu, profile, start, slices, computeStart };
}

/** What `mig.mode` reads. */
interface ModeState {
  readonly enabled: boolean;
  readonly pending: boolean;
  /** The mode outlives a boot: GPUs that need a reset to switch it keep it. */
  readonly lasts: boolean;
}

export interface MigKindOptions extends KindOptions {
  /** In place of `nvidia-smi --gpu-reset`. */
  readonly reset?: (gpu: string) => Promise<void>;
  /** Ends waiting for what is in use. */
  readonly interrupted?: () => boolean;
}

/** How the division of GPUs is changed. The only place from which a driver's MIG calls that change anything are made. */
export function migKind(options: MigKindOptions = {}): ActionKind {
  const readGpu = async (uuid: string): Promise<NativeMigGpu> => {
    const { gpus } = await readMigSystem(
      uuid,
      options.root === undefined ? {} : { root: options.root },
    );
    return gpus[0] as NativeMigGpu;
  };
  const findInstance = async (
    target: string,
  ): Promise<{ readonly gpu: NativeMigGpu; readonly instance: NativeMigGpuInstance | null }> => {
    const { gpu: uuid, profile, start } = parseTarget(target);
    const gpu = await readGpu(uuid);
    if (gpu.mode === true && gpu.instancesCode !== 0) {
      throw new WarpgaugeError(
        'ERR_NVML',
        `The instances of ${uuid} cannot be read (NVML code ${gpu.instancesCode})`,
        { source: uuid, status: gpu.instancesCode },
      );
    }
    const instance =
      gpu.instances.find((one) => one.profile === profile && one.start === start) ?? null;
    return { gpu, instance };
  };
  const readInstance = async (target: string): Promise<JournalValue> => {
    const { instance } = await findInstance(target);
    return instance === null
      ? null
      : { id: instance.id, compute: instance.compute.map(({ id }) => id) };
  };
  const findCompute = async (target: string) => {
    const { slices, computeStart } = parseTarget(target);
    const { gpu, instance } = await findInstance(target);
    const compute =
      instance?.compute.find(
        (one) => one.slices === slices && (one.start === null || one.start === computeStart),
      ) ?? null;
    return { gpu, instance, compute };
  };
  const readCompute = async (target: string): Promise<JournalValue> => {
    const { compute } = await findCompute(target);
    return compute === null ? null : { id: compute.id, uuid: compute.uuid };
  };
  const waitMs = options.patienceMs ?? IN_USE_MS;
  const mayWait = (deadline: number): boolean =>
    performance.now() < deadline && options.interrupted?.() !== true;
  /** What is in use is tried again until its time is over, and nothing else is: no other refusal goes away by asking again. */
  const change = async (
    step: Step,
    more: Partial<NativeMigChange> & Pick<NativeMigChange, 'kind'>,
    holders: () => Promise<readonly Holder[]>,
  ): Promise<NativeMigChangeResult> => {
    const deadline = performance.now() + waitMs;
    let pause: number = RETRY_MS[0];
    for (let tries = 1; ; tries++) {
      try {
        return await loadBinding().changeMig(nvmlPath(), {
          gpu: parseTarget(step.target).gpu,
          enabled: false,
          profile: 0,
          start: 0,
          size: 0,
          instance: 0,
          compute: 0,
          ...more,
        });
      } catch (error) {
        if (!(error instanceof WarpgaugeError) || error.status !== NVML_IN_USE) throw typed(error);
        if (!mayWait(deadline)) {
          const often = tries === 1 ? 'one try' : `${tries} tries`;
          throw inUse(`${error.message}, after ${often}`, await holders());
        }
      }
      await sleep(Math.min(pause, Math.max(1, deadline - performance.now())));
      pause = Math.min(2 * pause, RETRY_MS[1]);
    }
  };
  const readMode = async (target: string): Promise<JournalValue> => {
    const gpu = await readGpu(parseTarget(target).gpu);
    if (gpu.mode === null) {
      throw new WarpgaugeError(
        'ERR_UNAVAILABLE',
        `${gpu.uuid} has no MIG (NVML code ${gpu.modeCode})`,
        {
          source: gpu.uuid,
          status: gpu.modeCode,
        },
      );
    }
    return { enabled: gpu.mode, pending: gpu.pending === true, lasts: gpu.withoutReset === false };
  };
  const reset = options.reset ?? resetGpu;
  const computeHolders = (instance: NativeMigGpuInstance): Promise<readonly Holder[]> =>
    listHolders(instance.compute.flatMap(({ pids }) => pids));
  const holdersOf = (gpu: NativeMigGpu): Promise<readonly Holder[]> =>
    listHolders(gpu.pids, { gpu, root: options.root });
  const inUse = (message: string, holders: readonly Holder[]): WarpgaugeError =>
    inUseBy(message, holders, options.root);

  /** The driver calls an occupied place a lack of resources: who is there is to be read. */
  const noRoom = async (
    error: unknown,
    step: Step,
    start: number,
    size: number,
  ): Promise<unknown> => {
    if (!(error instanceof WarpgaugeError) || error.status !== NVML_INSUFFICIENT_RESOURCES) {
      return error;
    }
    const { gpu } = await findInstance(step.target);
    const there = gpu.instances.find(
      (one) => one.start < start + size && start < one.start + one.size,
    );
    const details = {
      status: NVML_INSUFFICIENT_RESOURCES,
      source: step.target,
      fix: 'Make a new plan: it starts from what is there now',
      cause: error,
    };
    return there === undefined
      ? new WarpgaugeError('ERR_NVML', `${error.message}, and the place is free`, details)
      : new WarpgaugeError(
          'ERR_STALE_PLAN',
          `The place of ${step.target} was taken meanwhile: by GPU instance ${there.id} at ${there.start}`,
          details,
        );
  };

  const mode: Operation = {
    describe: (step) => `switch MIG of ${step.target} ${wanted(step).enabled ? 'on' : 'off'}`,
    read: readMode,
    preflight: async (step) => {
      const gpu = await readGpu(step.target);
      if (gpu.pids.length === 0) return null;
      return inUse(`${step.target} is in use: its MIG mode cannot change`, await holdersOf(gpu));
    },
    async set(step) {
      const { enabled } = wanted(step);
      const { activation } = await change(step, { kind: 'set-mode', enabled }, async () =>
        holdersOf(await readGpu(step.target)),
      );
      if (activation !== NVML_IN_USE) return;
      const deadline = performance.now() + waitMs;
      for (;;) {
        if (((await readMode(step.target)) as unknown as ModeState).enabled === enabled) return;
        if (!mayWait(deadline)) break;
        await sleep(POLL_MS);
      }
      throw inUse(
        `${step.target} took the new MIG mode as pending: another client holds the GPU`,
        await holdersOf(await readGpu(step.target)),
      );
    },
    effect(_step, prior, now) {
      const before = prior as unknown as ModeState;
      const after = now as unknown as ModeState;
      return before.enabled === after.enabled && before.pending === after.pending ? null : now;
    },
    verify(step, prior, effect) {
      const { enabled, reset: mayReset } = wanted(step);
      const state = (effect ?? prior) as unknown as ModeState;
      if (state.enabled === enabled && state.pending === enabled) return null;
      if (state.pending === enabled && mayReset) return null; // the step that follows resets
      return state.pending === enabled
        ? new WarpgaugeError(
            'ERR_REFUSED',
            `MIG of ${step.target} will be ${enabled ? 'on' : 'off'} only after a reset of the GPU`,
            {
              source: step.target,
              status: NVML_RESET_REQUIRED,
              fix: 'Allow it: --allow-reset (ends everything that runs on this GPU)',
            },
          )
        : new WarpgaugeError(
            'ERR_REFUSED',
            `The driver said yes, and MIG of ${step.target} is still ${enabled ? 'off' : 'on'}`,
            { source: step.target },
          );
    },
    async undo(record) {
      const now = (await readMode(record.target)) as unknown as ModeState;
      const before = record.prior as unknown as ModeState;
      const mayReset = wanted(record).reset;
      const asked = { enabled: before.pending, reset: mayReset };
      if (now.enabled === before.enabled && now.pending === before.pending) return null;
      if (now.pending !== before.pending) return { op: MODE, target: record.target, asked };
      if (mayReset) return { op: RESET, target: record.target, asked: true };
      return {
        blocked: new WarpgaugeError(
          'ERR_REFUSED',
          `MIG of ${record.target} is as it was only after a reset of the GPU`,
          { source: record.target, fix: `sudo nvidia-smi --gpu-reset -i ${record.target}` },
        ),
      };
    },
  };

  const resetOperation: Operation = {
    describe: (step) => `reset ${step.target}`,
    read: readMode,
    async set(step, prior) {
      const { enabled, pending } = prior as unknown as ModeState;
      // Only the GPU that needs it, and only while it does.
      if (enabled !== pending) await reset(step.target);
    },
    effect(_step, prior, now) {
      const before = prior as unknown as ModeState;
      return before.enabled !== before.pending &&
        (now as unknown as ModeState).enabled === before.pending
        ? true
        : null;
    },
    verify(step, prior, effect) {
      const { enabled, pending } = prior as unknown as ModeState;
      return enabled === pending || effect === true
        ? null
        : new WarpgaugeError(
            'ERR_REFUSED',
            `${step.target} was reset and its MIG mode is still pending`,
            {
              source: step.target,
            },
          );
    },
    undo: () => null, // what the mode was comes back with the mode's own undoing
  };

  const createInstance: Operation = {
    describe: (step) => `create a GPU instance at ${step.target}`,
    read: readInstance,
    async set(step) {
      const { gpu: uuid, profile, start } = parseTarget(step.target);
      const { size } = step.asked as { readonly size: number };
      const gpu = await readGpu(uuid);
      const known = gpu.profiles.find(({ id }) => id === profile);
      if (known !== undefined && known.starts.length > 0) {
        if (known.memorySlices !== size || !known.starts.includes(start)) {
          throw new WarpgaugeError(
            'ERR_STALE_PLAN',
            `The driver has no place for profile ${profile} at ${start} with ${size} slices`,
            { source: step.target, fix: 'Make a new plan from the driver: without --board' },
          );
        }
      }
      try {
        await change(step, { kind: 'create-instance', profile, start, size }, async () => []);
      } catch (error) {
        throw await noRoom(error, step, start, size);
      }
    },
    effect: (_step, prior, now) =>
      prior === null && now !== null ? { id: (now as { id: number }).id } : null,
    verify: (step, _prior, effect) => (effect === null ? nothingThere(step) : null),
    async undo(record) {
      const { instance } = await findInstance(record.target);
      if (instance === null || instance.id !== (record.observed as { id: number }).id) return null;
      if (instance.compute.length > 0) {
        return {
          blocked: inUse(
            `GPU instance ${record.target} has compute instances of others`,
            await computeHolders(instance),
          ),
        };
      }
      return { op: DESTROY_INSTANCE, target: record.target, asked: null };
    },
  };

  const destroyInstance: Operation = {
    describe: (step) => `destroy the GPU instance at ${step.target}`,
    read: readInstance,
    preflight: async (step) => {
      const { instance } = await findInstance(step.target);
      const holders = instance === null ? [] : await computeHolders(instance);
      return holders.length === 0 ? null : inUse(`GPU instance ${step.target} is in use`, holders);
    },
    async set(step, prior) {
      const { id } = prior as { readonly id: number };
      await change(step, { kind: 'destroy-instance', instance: id }, async () => {
        const { gpu, instance } = await findInstance(step.target);
        const pids = instance?.compute.flatMap((one) => one.pids) ?? [];
        return await listHolders(pids, { gpu, instance: instance?.id, root: options.root });
      });
    },
    effect: (_step, prior, now) => (prior !== null && now === null ? prior : null),
    verify: (step, _prior, effect) => (effect === null ? stillThere(step) : null),
    async undo(record) {
      const { gpu, instance } = await findInstance(record.target);
      // With the mode off there is nothing to put it into; the mode's own undoing comes first.
      if (instance !== null || gpu.mode !== true) return null;
      return { op: CREATE_INSTANCE, target: record.target, asked: record.asked };
    },
  };

  const createCompute: Operation = {
    describe: (step) => `create a compute instance at ${step.target}`,
    read: readCompute,
    async set(step) {
      const { slices, computeStart: start } = parseTarget(step.target);
      const { instance } = await findInstance(step.target);
      // Two of the same size differ in media engines: the first is the plain one.
      const profile = instance?.computeProfiles.find((one) => one.slices === slices);
      if (instance === null || profile === undefined) {
        throw new WarpgaugeError('ERR_GONE', `There is no GPU instance for ${step.target}`, {
          source: step.target,
        });
      }
      if (profile.starts.length > 0 && !profile.starts.includes(start)) {
        throw new WarpgaugeError(
          'ERR_STALE_PLAN',
          `The driver puts compute instances of ${slices} at ${profile.starts.join(', ')}, not at ${start}`,
          { source: step.target, fix: 'Make a new plan from the driver: without --board' },
        );
      }
      const more = { instance: instance.id, profile: profile.id, start, size: slices };
      await change(step, { kind: 'create-compute', ...more }, async () => []);
    },
    effect: (_step, prior, now) => (prior === null && now !== null ? now : null),
    verify: (step, _prior, effect) => (effect === null ? nothingThere(step) : null),
    async undo(record) {
      const { compute } = await findCompute(record.target);
      if (compute === null || compute.id !== (record.observed as { id: number }).id) return null;
      return { op: DESTROY_COMPUTE, target: record.target, asked: null };
    },
  };

  const destroyCompute: Operation = {
    describe: (step) => `destroy the compute instance at ${step.target}`,
    read: readCompute,
    preflight: async (step) => {
      const { compute } = await findCompute(step.target);
      if (compute === null || compute.pids.length === 0) return null;
      return inUse(`Compute instance ${step.target} is in use`, await listHolders(compute.pids));
    },
    async set(step, prior) {
      const { instance } = await findInstance(step.target);
      const { id } = prior as { readonly id: number };
      await change(
        step,
        { kind: 'destroy-compute', instance: instance?.id ?? 0, compute: id },
        async () => {
          const { gpu, instance: in_, compute } = await findCompute(step.target);
          return await listHolders(compute?.pids ?? [], {
            gpu,
            instance: in_?.id,
            root: options.root,
          });
        },
      );
    },
    effect: (_step, prior, now) => (prior !== null && now === null ? prior : null),
    verify: (step, _prior, effect) => (effect === null ? stillThere(step) : null),
    async undo(record) {
      const { instance, compute } = await findCompute(record.target);
      if (instance === null || compute !== null) return null;
      return { op: CREATE_COMPUTE, target: record.target, asked: null };
    },
  };

  return {
    name: 'mig',
    command: 'mig',
    operations: {
      [MODE]: mode,
      [RESET]: resetOperation,
      [CREATE_INSTANCE]: createInstance,
      [DESTROY_INSTANCE]: destroyInstance,
      [CREATE_COMPUTE]: createCompute,
      [DESTROY_COMPUTE]: destroyCompute,
    },
    // Instances never outlive a boot; the mode does on GPUs that need a reset to switch it.
    survivesBoot: ({ op, prior }) =>
      op === MODE && (prior as unknown as ModeState | null)?.lasts === true,
  };
}

function wanted(step: Step): { readonly enabled: boolean; readonly reset: boolean } {
  return step.asked as { readonly enabled: boolean; readonly reset: boolean };
}

function nothingThere(step: Step): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_REFUSED',
    `The driver said yes, and nothing is at ${step.target}`,
    {
      source: step.target,
    },
  );
}

function stillThere(step: Step): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_REFUSED',
    `The driver said yes, and ${step.target} is still there`,
    {
      source: step.target,
    },
  );
}

function inUseBy(message: string, holders: readonly Holder[], root?: string): WarpgaugeError {
  const named = (all: readonly Holder[]): string =>
    all.map(({ pid, command }) => `${pid} (${command ?? 'unknown command'})`).join(', ');
  if (holders.length > 0) {
    return new WarpgaugeError('ERR_IN_USE', `${message}: by pid ${named(holders)}`, {
      status: NVML_IN_USE,
      holders,
      fix: `kill ${holders.map(({ pid }) => pid).join(' ')}`,
    });
  }
  const { services, modules } = listSuspects(root);
  const perhaps = [
    ...(services.length === 0 ? [] : [`pid ${named(services)}`]),
    ...modules.map((name) => `the kernel module ${name}`),
  ];
  return new WarpgaugeError(
    'ERR_IN_USE',
    perhaps.length === 0
      ? `${message}: no list shows by whom`
      : `${message}: no list shows by whom; perhaps ${perhaps.join(', ')}`,
    {
      status: NVML_IN_USE,
      holders,
      fix: 'Stop what holds a GPU without showing: nvidia-persistenced, DCGM, fabricmanager, a display driver',
    },
  );
}

/** NVML's codes as the errors of this package. */
function typed(error: unknown): unknown {
  if (!(error instanceof WarpgaugeError)) return error;
  if (error.status === NVML_NO_PERMISSION) {
    return new WarpgaugeError('ERR_PERMISSION', error.message, {
      status: NVML_NO_PERMISSION,
      capability: 'CAP_SYS_ADMIN, or read access to the mig/config capability in /dev/nvidia-caps',
      fix: 'Run it as root',
      ...(error.source === undefined ? {} : { source: error.source }),
      cause: error,
    });
  }
  return error;
}

/** Only this GPU: resetting all, as others do, ends the jobs of the rest. */
async function resetGpu(gpu: string): Promise<void> {
  const program = process.env['WARPGAUGE_NVIDIA_SMI'] || 'nvidia-smi';
  try {
    await promisify(execFile)(program, ['--gpu-reset', '-i', gpu], { timeout: 120_000 });
  } catch (error) {
    const {
      stdout = '',
      stderr = '',
      message,
    } = error as Error & { stdout?: string; stderr?: string };
    const said = `${stdout}${stderr}`.trim().split('\n').at(-1);
    throw new WarpgaugeError('ERR_REFUSED', `${gpu} could not be reset: ${said || message}`, {
      source: program,
      fix: 'Stop everything that uses the GPU, nvidia-persistenced too, and try again',
      cause: error,
    });
  }
}
