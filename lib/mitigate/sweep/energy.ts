import { WarpgaugeError } from '../../errors.ts';
import type { StateOptions } from '../../host/state-folder.ts';

/** Energy of GPUs since their driver was loaded, or why there is none. */
export interface EnergyReading {
  /** J, summed over `gpus`; null: `reason`. */
  readonly joules: number | null;
  readonly reason: string | null;
  readonly gpus: readonly string[];
  readonly simulated: boolean;
}

const none = (reason: string): EnergyReading => ({
  joules: null,
  reason,
  gpus: [],
  simulated: false,
});

/** Reads nvmlDeviceGetTotalEnergyConsumption of the GPUs with these UUIDs, without any of all. */
export async function readEnergy(
  uuids: readonly string[] | undefined,
  options: StateOptions,
): Promise<EnergyReading> {
  if (uuids?.length === 0) return none('no GPU was asked for');
  const { readPowerNumbers } = await import('../power/device.ts');
  try {
    const { gpus: all, simulated } = await readPowerNumbers(options);
    const chosen = uuids === undefined ? all : all.filter(({ uuid }) => uuids.includes(uuid));
    const missing = uuids?.find((uuid) => !all.some((gpu) => gpu.uuid === uuid));
    if (missing !== undefined) {
      throw new WarpgaugeError('ERR_NO_DEVICE', `There is no GPU ${missing}`, {
        fix: 'nvidia-smi -L',
      });
    }
    if (chosen.length === 0) return none('this machine has no GPU');
    const gpus = chosen.map(({ uuid }) => uuid);
    const silent = chosen.find(({ energyMj }) => energyMj.value === null);
    if (silent !== undefined) {
      const { code } = silent.energyMj;
      return {
        ...none(`${silent.uuid} has no energy counter (NVML code ${code})`),
        gpus,
        simulated,
      };
    }
    const joules = chosen.reduce((sum, { energyMj }) => sum + (energyMj.value ?? 0) / 1000, 0);
    return { joules, reason: null, gpus, simulated };
  } catch (error) {
    // A machine without a GPU is a normal case; a GPU that was named and is not there is not.
    if (!(error instanceof WarpgaugeError) || uuids !== undefined) throw error;
    return none(`${error.message} (${error.code})`);
  }
}
