import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { computeStarts } from './boards.ts';
import { Geometry, placeAll } from './geometry.ts';
import { computeName, type MigProfile, type MigProfileSet, resolveMigName } from './profiles.ts';

/** MIG devices by profile name and how many of each: `{ '3g.40gb': 1, '1c.3g.40gb': 2 }`. */
export type MigWant = Readonly<Record<string, number>>;

/** A compute instance inside its GPU instance: slices it takes and the first of them. */
export interface ComputePlacement {
  readonly slices: number;
  readonly start: number;
}

/** One GPU instance that is wanted, with what it is to hold. */
export interface WantedInstance {
  /** Index of the profile in the set. */
  readonly profile: number;
  /** Ascending by start. */
  readonly compute: readonly ComputePlacement[];
}

/** `3g.40gb=1,2g.20gb=1,1g.10gb=2`; `none` wants an empty GPU. */
export function parseMigWant(text: string, knob = '--want'): MigWant {
  const want: Record<string, number> = {};
  if (text.trim() === 'none') return want;
  for (const part of text.split(',')) {
    const [name = '', count = '1', ...rest] = part.split('=').map((word) => word.trim());
    if (name === '' || rest.length > 0 || !/^\d+$/.test(count)) {
      throw invalidArgument(knob, 'profile=count such as 3g.40gb=1,1g.10gb=2, or none', text);
    }
    want[name] = (want[name] ?? 0) + Number(count);
  }
  return want;
}

/** How compute instances are laid out in a GPU instance of this profile; null: they do not all fit. */
export function placeCompute(
  profile: MigProfile,
  slices: readonly number[],
): readonly ComputePlacement[] | null {
  // Their own little row: compute slices instead of memory slices.
  const kinds = [...profile.compute].sort((a, b) => b.slices - a.slices);
  const geometry = new Geometry(
    kinds.map((kind) => ({
      size: kind.slices,
      starts: computeStarts(kind.slices, profile.slices),
      most: kind.maxInstances,
    })),
  );
  const need = kinds.map((kind) => slices.filter((one) => one === kind.slices).length);
  if (need.some((count, i) => count > (kinds[i]?.maxInstances ?? 0))) return null;
  const placing = placeAll(geometry, need, 0, need);
  if (!placing.found) return null;
  return placing.starts
    .flatMap((starts, i) => starts.map((start) => ({ slices: kinds[i]?.slices ?? 0, start })))
    .sort((a, b) => a.start - b.start);
}

/**
 * The GPU instances that a request means. A plain name is an instance of its own; parts such as `1c.3g.40gb` share
 * GPU instances of their profile, largest parts first, each into the first that has room.
 */
export function wantedInstances(
  set: MigProfileSet,
  want: MigWant,
  knob = '--want',
): WantedInstance[] {
  const parts = new Map<number, number[]>();
  const wanted: WantedInstance[] = [];
  for (const [name, count] of Object.entries(want)) {
    if (!Number.isInteger(count) || count < 0 || count > 64) {
      throw invalidArgument(`${knob} ${name}`, 'a whole number from 0 to 64', count);
    }
    const { profile, compute } = resolveMigName(set, name, knob);
    const index = set.profiles.indexOf(profile);
    for (let i = 0; i < count; i++) {
      if (compute === profile.slices) {
        wanted.push({ profile: index, compute: [{ slices: compute, start: 0 }] });
      } else {
        parts.set(index, [...(parts.get(index) ?? []), compute]);
      }
    }
  }
  for (const [index, slices] of parts) {
    const profile = set.profiles[index] as MigProfile;
    const bins: number[][] = [];
    for (const one of slices.sort((a, b) => b - a)) {
      const bin = bins.find((held) => placeCompute(profile, [...held, one]) !== null);
      if (bin === undefined) bins.push([one]);
      else bin.push(one);
    }
    for (const bin of bins) {
      const compute = placeCompute(profile, bin);
      if (compute === null) {
        throw new WarpgaugeError(
          'ERR_INVALID_ARGUMENT',
          `A ${profile.name} has no room for ${bin.map((one) => computeName(profile, one)).join(', ')}`,
        );
      }
      wanted.push({ profile: index, compute });
    }
  }
  return wanted.sort(
    (a, b) => a.profile - b.profile || computeKey(a.compute).localeCompare(computeKey(b.compute)),
  );
}

/** Slices of the compute instances, whatever their places: `1,2`. Two that agree are the same to a user. */
export function computeKey(compute: readonly { readonly slices: number }[]): string {
  return compute
    .map(({ slices }) => slices)
    .sort((a, b) => a - b)
    .join();
}
