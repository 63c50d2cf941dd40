import { migDevices } from './apply.ts';
import type { MigGpu } from './device.ts';
import { computeName, resolveMigName } from './profiles.ts';
import type { MigWant } from './want.ts';

/** Whether a GPU is divided as somebody wants it. */
export interface MigAssertion {
  readonly gpu: string;
  readonly matches: boolean;
  readonly modeWanted: boolean;
  /** null: the GPU has no MIG. */
  readonly mode: boolean | null;
  /** By the driver's own names of the profiles. */
  readonly wanted: MigWant;
  readonly found: MigWant;
}

/** Compares MIG devices by kind and number; where they lie is nobody's wish. */
export function assertMig(
  gpu: MigGpu,
  want: { readonly instances: MigWant; readonly enabled: boolean },
  options: { readonly modeOnly?: boolean } = {},
): MigAssertion {
  const wanted: Record<string, number> = {};
  for (const [name, count] of Object.entries(options.modeOnly ? {} : want.instances)) {
    const own = ownName(gpu, name);
    if (count > 0) wanted[own] = (wanted[own] ?? 0) + count;
  }
  const found: Record<string, number> = {};
  for (const { profile } of migDevices(gpu)) found[profile] = (found[profile] ?? 0) + 1;
  // A GPU instance that holds nothing is no MIG device, and nobody asked for it.
  const empty = gpu.instances.some(({ compute }) => compute.length === 0);
  const same =
    !empty &&
    Object.keys(found).length === Object.keys(wanted).length &&
    Object.entries(found).every(([name, count]) => wanted[name] === count);
  const mode =
    gpu.mode !== null && gpu.mode.enabled === want.enabled && gpu.mode.pending === want.enabled;
  return {
    gpu: gpu.uuid,
    matches: mode && (options.modeOnly === true || same),
    modeWanted: want.enabled,
    mode: gpu.mode?.enabled ?? null,
    wanted,
    found,
  };
}

function ownName(gpu: MigGpu, name: string): string {
  if (gpu.profiles === null) return name;
  const { profile, compute } = resolveMigName(gpu.profiles, name, '--want');
  return computeName(profile, compute);
}
