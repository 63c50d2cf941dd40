import {
  loadBinding,
  type NativeMigGpu,
  type NativeMigGpuInstance,
  type NativeMigProfile,
  type NativeMigSystem,
} from '../../addon.ts';
import { type Holder, WarpgaugeError } from '../../errors.ts';
import { commandLine } from '../../host/process.ts';
import type { StateOptions } from '../../host/state-folder.ts';
import { hostRoot } from '../../host/sysfs.ts';
import { nvmlPath } from '../nvml-path.ts';
import { computeProfiles, MIG_BOARDS, offlineProfiles } from './boards.ts';
import { migFreeSlots } from './plan.ts';
import type { MigObservation, ObservedInstance } from './plan-types.ts';
import { compareProfiles, type MigProfile, type MigProfileSet } from './profiles.ts';
import { savedProfiles } from './saved.ts';

/** A GPU as `mig status` tells of it. */
export interface MigGpu {
  readonly uuid: string;
  readonly name: string;
  readonly pciAddress: string;
  readonly driverVersion: string;
  readonly simulated: boolean;
  /** null: the GPU has no MIG, or it cannot be read; `reason` says which. */
  readonly mode: { readonly enabled: boolean; readonly pending: boolean } | null;
  readonly modeNeedsReset: boolean | null;
  readonly instances: readonly MigInstanceStatus[];
  /** Processes on the GPU, in instances or not. */
  readonly processes: readonly Holder[];
  /** How many more of each profile alone fit; null where profiles or instances are not known. */
  readonly freeSlots: Readonly<Record<string, number>> | null;
  /** null: nothing is known of what it can be divided into. */
  readonly profiles: MigProfileSet | null;
  /** What could not be read and why, one sentence; null: everything was. */
  readonly reason: string | null;
  /** Why the driver's own placements are not known (NVML's code), 0 where they are. */
  readonly placementsCode: number;
}

export interface MigInstanceStatus extends ObservedInstance {
  /** The driver's name of the profile, or `profile ID`. */
  readonly profile: string;
  readonly processes: readonly Holder[];
}

export interface ReadMigOptions extends StateOptions {
  /** UUID of one GPU; default all. */
  readonly gpu?: string;
}

const NOT_SUPPORTED = 3;
const NO_PERMISSION = 4;

/** Reads what the driver says. The event loop is never blocked. */
export async function readMigGpus(options: ReadMigOptions = {}): Promise<MigGpu[]> {
  const system = await readMigSystem(options.gpu ?? '', options);
  return system.gpus.map((gpu) => toGpu(system, gpu, options));
}

/** One GPU; throws `ERR_NO_DEVICE` where there is none of this UUID. */
export async function readMigGpu(uuid: string, options: StateOptions = {}): Promise<MigGpu> {
  const [gpu] = await readMigGpus({ ...options, gpu: uuid });
  if (gpu !== undefined) return gpu;
  throw new WarpgaugeError('ERR_NO_DEVICE', `There is no GPU ${uuid}`, { fix: 'nvidia-smi -L' });
}

export async function readMigSystem(uuid: string, options: StateOptions): Promise<NativeMigSystem> {
  const root = hostRoot(options.root);
  return await loadBinding().readMig(nvmlPath(), root === '/' ? '' : root, uuid);
}

function toGpu(system: NativeMigSystem, gpu: NativeMigGpu, options: StateOptions): MigGpu {
  const profiles = gpu.mode === null ? null : profilesOf(system, gpu, options);
  const instances = gpu.instances.map((one) => toInstance(profiles, gpu, one));
  return {
    uuid: gpu.uuid,
    name: gpu.name,
    pciAddress: gpu.pciAddress,
    driverVersion: system.driverVersion ?? 'unknown',
    simulated: system.simulated,
    mode: gpu.mode === null ? null : { enabled: gpu.mode, pending: gpu.pending === true },
    modeNeedsReset: gpu.withoutReset === null ? null : !gpu.withoutReset,
    instances,
    processes: gpu.pids.map(toHolder),
    freeSlots:
      profiles === null || gpu.mode !== true || gpu.instancesCode !== 0
        ? null
        : migFreeSlots(profiles, instances),
    profiles,
    reason: reasonOf(gpu, profiles),
    placementsCode: gpu.profilesCode,
  };
}

function reasonOf(gpu: NativeMigGpu, profiles: MigProfileSet | null): string | null {
  if (gpu.mode === null) {
    return gpu.modeCode === NOT_SUPPORTED
      ? 'this GPU has no MIG'
      : `the MIG mode cannot be read (NVML code ${gpu.modeCode})`;
  }
  if (gpu.instancesCode !== 0) return `instances cannot be read (NVML code ${gpu.instancesCode})`;
  if (gpu.profilesCode === 0) return null;
  const why =
    gpu.profilesCode === NO_PERMISSION
      ? 'placements need the right to configure MIG'
      : `placements cannot be read (NVML code ${gpu.profilesCode})`;
  return profiles === null ? `${why}, and no table of this board is known` : why;
}

function toInstance(
  profiles: MigProfileSet | null,
  gpu: NativeMigGpu,
  { id, profile, start, size, compute }: NativeMigGpuInstance,
): MigInstanceStatus {
  const pids = compute.flatMap((one) => one.pids);
  const name =
    profiles?.profiles.find((one) => one.id === profile)?.name ??
    gpu.profiles.find((one) => one.id === profile)?.name;
  return {
    id,
    profile: name ?? `profile ${profile}`,
    profileId: profile,
    start,
    size,
    compute: compute.map((one) => ({
      id: one.id,
      slices: one.slices,
      start: one.start,
      uuid: one.uuid,
    })),
    inUse: pids.length > 0,
    processes: [...new Set(pids)].map(toHolder),
  };
}

export function toHolder(pid: number): Holder {
  return { pid, command: commandLine(pid) };
}

/** By the driver; where it does not tell placements by a saved reading, else by a table that agrees with what it does tell. */
function profilesOf(
  system: NativeMigSystem,
  gpu: NativeMigGpu,
  options: StateOptions,
): MigProfileSet | null {
  const driverVersion = system.driverVersion ?? 'unknown';
  if (gpu.profilesCode === 0 && gpu.profiles.length > 0) {
    const { simulated } = system;
    return {
      board: gpu.name,
      source: { kind: 'driver', driverVersion, simulated },
      memorySlices: Math.max(...gpu.profiles.map((one) => one.memorySlices)),
      profiles: gpu.profiles.map((one) => toProfile(gpu, one)).sort(compareProfiles),
    };
  }
  const candidates = [
    savedProfiles(gpu.name, driverVersion, options),
    ...MIG_BOARDS.filter((board) => isNamed(gpu.name, board)).map(offlineProfiles),
  ];
  return candidates.find((set) => set !== null && agreesWith(set, gpu.profiles)) ?? null;
}

function toProfile(gpu: NativeMigGpu, profile: NativeMigProfile): MigProfile {
  // Compute profiles can be asked of an instance only; where there is one it is believed.
  const asked = gpu.instances.find((one) => one.profile === profile.id)?.computeProfiles ?? [];
  const bySlices = new Map(
    // Two of the same size differ in media engines: the first is the plain one.
    asked
      .toReversed()
      .map((one) => [
        one.slices,
        { id: one.id, number: one.number, slices: one.slices, maxInstances: one.count },
      ]),
  );
  return {
    name: profile.name ?? nameOf(profile),
    id: profile.id,
    number: profile.number,
    slices: profile.slices,
    memorySlices: profile.memorySlices,
    starts: profile.starts,
    maxInstances: profile.count,
    memoryMib: profile.memoryMib,
    multiprocessors: profile.multiprocessors,
    copyEngines: profile.copyEngines,
    decoders: profile.decoders,
    encoders: profile.encoders,
    jpegs: profile.jpegs,
    ofas: profile.ofas,
    compute: bySlices.size > 0 ? [...bySlices.values()] : computeProfiles(profile.slices),
  };
}

/** A library of before 510 gives no names. */
function nameOf({ slices, memoryMib, number }: NativeMigProfile): string {
  const media = number === 7 || number === 8 ? '+me' : '';
  return `${slices}g.${Math.round((memoryMib ?? 0) / 1024)}gb${media}`;
}

/** `NVIDIA H100 80GB HBM3` is an H100-80; an H100 NVL of 94 GB is none of the boards in the tables. */
function isNamed(name: string, board: string): boolean {
  const [model = '', gb = ''] = board.split('-');
  const words = name.toUpperCase().split(/[\s-]+/);
  const sizes = words.flatMap((word) => /^(\d+)GB$/.exec(word)?.[1] ?? []);
  return (
    words.includes(model) &&
    (sizes.length === 0 ? model !== 'A100' && model !== 'H100' : sizes.includes(gb))
  );
}

/** What the driver tells without placements (names, slices, limits) must be what the table says. */
function agreesWith(set: MigProfileSet, known: readonly NativeMigProfile[]): boolean {
  return known.every((profile) => {
    const own = set.profiles.find(({ id }) => id === profile.id);
    return (
      own !== undefined &&
      own.slices === profile.slices &&
      own.maxInstances === profile.count &&
      (profile.name === null || own.name === profile.name)
    );
  });
}

/** What a plan starts from; throws where that is not known. */
export function observationOf(gpu: MigGpu): MigObservation {
  if (gpu.mode === null || (gpu.mode.enabled && gpu.freeSlots === null)) {
    throw new WarpgaugeError(
      'ERR_UNAVAILABLE',
      `${gpu.uuid}: ${gpu.reason ?? 'MIG cannot be read'}`,
      {
        fix: 'warpgauge mig status; as root, if placements need a right',
      },
    );
  }
  return {
    gpu: gpu.uuid,
    modeEnabled: gpu.mode.enabled,
    modePending: gpu.mode.pending,
    modeNeedsReset: gpu.modeNeedsReset,
    instances: gpu.instances.map(({ id, profileId, start, size, compute, inUse }) => ({
      id,
      profileId,
      start,
      size,
      compute,
      inUse,
    })),
  };
}
