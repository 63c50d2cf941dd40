import {
  loadBinding,
  type NativePowerGpu,
  type NativePowerSystem,
  type NativePowerValue,
} from '../../addon.ts';
import { WarpgaugeError } from '../../errors.ts';
import type { StateOptions } from '../../host/state-folder.ts';
import { hostRoot } from '../../host/sysfs.ts';
import { nvmlPath } from '../nvml-path.ts';

/** Clocks in MHz, both ends included. */
export interface ClockRange {
  readonly min: number;
  readonly max: number;
}

/** Power, clocks and persistence of a GPU now. What cannot be read is null, and `reasons` says why. */
export interface PowerGpu {
  readonly uuid: string;
  readonly name: string;
  readonly pciAddress: string;
  readonly driverVersion: string;
  readonly simulated: boolean;
  /** Whether the driver keeps the GPU initialized without a client. nvmlDeviceGetPersistenceMode. */
  readonly persistence: boolean | null;
  readonly powerLimit: {
    /** Asked for in-band, W. nvmlDeviceGetPowerManagementLimit. */
    readonly requestedW: number | null;
    /** In force, W; an out-of-band limit counts. nvmlDeviceGetEnforcedPowerLimit. */
    readonly currentW: number | null;
    /** nvmlDeviceGetPowerManagementDefaultLimit. */
    readonly defaultW: number | null;
    /** What may be asked for. nvmlDeviceGetPowerManagementLimitConstraints. */
    readonly minW: number | null;
    readonly maxW: number | null;
  };
  /** W; the average of a second on most GPUs since Ampere. nvmlDeviceGetPowerUsage. */
  readonly drawW: number | null;
  /** J since the driver was loaded. nvmlDeviceGetTotalEnergyConsumption. */
  readonly energyJ: number | null;
  /** nvmlDeviceGetClockInfo, nvmlDeviceGetMaxClockInfo, nvmlDeviceGetSupportedGraphicsClocks. */
  readonly smClock: {
    readonly nowMhz: number | null;
    readonly maxMhz: number | null;
    readonly supportedMhz: ClockRange | null;
  };
  /** The same with nvmlDeviceGetSupportedMemoryClocks, which are few. */
  readonly memoryClock: {
    readonly nowMhz: number | null;
    readonly maxMhz: number | null;
    readonly supportedMhz: readonly number[] | null;
  };
  /** Share of time with a kernel running, 0-1. nvmlDeviceGetUtilizationRates. */
  readonly utilizationRatio: number | null;
  /** Why clocks are lower than they could be. nvmlDeviceGetCurrentClocksEventReasons. */
  readonly eventReasons: readonly string[] | null;
  /** NVML's code of every field that is null. */
  readonly reasons: Readonly<Record<string, number>>;
}

/** Bits of nvmlDeviceGetCurrentClocksEventReasons. */
const EVENT_REASONS: readonly (readonly [number, string])[] = [
  [0x1, 'gpu_idle'],
  [0x2, 'applications_clocks_setting'],
  [0x4, 'sw_power_cap'],
  [0x8, 'hw_slowdown'],
  [0x10, 'sync_boost'],
  [0x20, 'sw_thermal_slowdown'],
  [0x40, 'hw_thermal_slowdown'],
  [0x80, 'hw_power_brake_slowdown'],
  [0x100, 'display_clock_setting'],
];

export function eventReasonsOf(bits: number | null): readonly string[] | null {
  if (bits === null) return null;
  return EVENT_REASONS.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
}

export interface ReadPowerOptions extends StateOptions {
  /** UUID of one GPU; default all. */
  readonly gpu?: string;
}

/** Reads what the driver says; needs no privilege. The event loop is never blocked. */
export async function readPowerGpus(options: ReadPowerOptions = {}): Promise<PowerGpu[]> {
  const system = await readPowerSystem(options.gpu ?? '', options, true);
  return system.gpus.map((gpu) => toGpu(system, gpu));
}

/** The driver's own numbers, without asking for supported clocks: quick enough to be polled. */
export async function readPowerGpu(
  uuid: string,
  options: { readonly root?: string | undefined } = {},
): Promise<NativePowerGpu> {
  const { gpus } = await readPowerSystem(uuid, options, false);
  return gpus[0] as NativePowerGpu; // none is ERR_NO_DEVICE
}

/** {@link readPowerGpu} of all GPUs. */
export async function readPowerNumbers(options: {
  readonly root?: string | undefined;
}): Promise<NativePowerSystem> {
  return await readPowerSystem('', options, false);
}

async function readPowerSystem(
  uuid: string,
  options: { readonly root?: string | undefined },
  clocks: boolean,
): Promise<NativePowerSystem> {
  const root = hostRoot(options.root);
  return await loadBinding().readPower(nvmlPath(), root === '/' ? '' : root, uuid, clocks);
}

function toGpu(system: NativePowerSystem, gpu: NativePowerGpu): PowerGpu {
  const reasons: Record<string, number> = {};
  const take = (field: string, { value, code }: NativePowerValue, unit = 1): number | null => {
    if (value === null) reasons[field] = code;
    return value === null ? null : value / unit;
  };
  const persistence = take('persistence', gpu.persistence);
  if (gpu.supportedCode !== 0) reasons['supportedMhz'] = gpu.supportedCode;
  const [lowest] = gpu.supportedSmMhz;
  const highest = gpu.supportedSmMhz.at(-1);
  return {
    uuid: gpu.uuid,
    name: gpu.name,
    pciAddress: gpu.pciAddress,
    driverVersion: system.driverVersion ?? 'unknown',
    simulated: system.simulated,
    persistence: persistence === null ? null : persistence === 1,
    powerLimit: {
      requestedW: take('powerLimit.requestedW', gpu.limitRequestedMw, 1000),
      currentW: take('powerLimit.currentW', gpu.limitEnforcedMw, 1000),
      defaultW: take('powerLimit.defaultW', gpu.limitDefaultMw, 1000),
      minW: take('powerLimit.minW', gpu.limitMinMw, 1000),
      maxW: take('powerLimit.maxW', gpu.limitMaxMw, 1000),
    },
    drawW: take('drawW', gpu.drawMw, 1000),
    energyJ: take('energyJ', gpu.energyMj, 1000),
    smClock: {
      nowMhz: take('smClock.nowMhz', gpu.smClockMhz),
      maxMhz: take('smClock.maxMhz', gpu.smClockMaxMhz),
      supportedMhz:
        lowest === undefined || highest === undefined ? null : { min: lowest, max: highest },
    },
    memoryClock: {
      nowMhz: take('memoryClock.nowMhz', gpu.memoryClockMhz),
      maxMhz: take('memoryClock.maxMhz', gpu.memoryClockMaxMhz),
      supportedMhz: gpu.supportedMemoryMhz.length === 0 ? null : gpu.supportedMemoryMhz,
    },
    utilizationRatio: take('utilizationRatio', gpu.utilizationPercent, 100),
    eventReasons: eventReasonsOf(take('eventReasons', gpu.eventReasons)),
    reasons,
  };
}

/** A number that there must be, or the error that says why there is none. */
export function knownNumber(
  gpu: NativePowerGpu,
  what: string,
  { value, code }: NativePowerValue,
): number {
  if (value !== null) return value;
  throw new WarpgaugeError(
    'ERR_UNAVAILABLE',
    `${what} of ${gpu.uuid} cannot be read (NVML code ${code})`,
    {
      source: gpu.uuid,
      status: code,
    },
  );
}
