import type { MigProfileSet } from './profiles.ts';

/** What placing needs to know of a profile. */
export interface SlotProfile {
  /** Memory slices. */
  readonly size: number;
  readonly starts: readonly number[];
  readonly most: number;
}

/** Instances lie on a row of memory slices: which slices are taken is one bit mask. */
export function slotMask(start: number, size: number): number {
  return ((1 << size) - 1) << start;
}

/** What a geometry has worked out serves the next plan for the same profiles. */
const GEOMETRIES = new WeakMap<MigProfileSet, Geometry>();

/**
 * The placements of one board as bit masks, and how many instances of a profile still fit beside what is there.
 * Profiles are meant by their index in the set.
 */
export class Geometry {
  readonly profiles: readonly SlotProfile[];
  /** The order in which instances are placed: fewest starts first, then largest. */
  readonly order: readonly number[];
  readonly #masks: readonly (readonly number[])[];
  readonly #fits: Map<number, number>[];

  constructor(profiles: readonly SlotProfile[]) {
    this.profiles = profiles;
    this.#masks = profiles.map(({ starts, size }) => starts.map((start) => slotMask(start, size)));
    this.#fits = profiles.map(() => new Map());
    const at = (i: number): SlotProfile => profiles[i] as SlotProfile;
    this.order = profiles
      .map((_, i) => i)
      .sort(
        (a, b) => at(a).starts.length - at(b).starts.length || at(b).size - at(a).size || a - b,
      );
  }

  static of(set: MigProfileSet): Geometry {
    const known = GEOMETRIES.get(set);
    if (known !== undefined) return known;
    const geometry = new Geometry(
      set.profiles.map(({ memorySlices, starts, maxInstances }) => ({
        size: memorySlices,
        starts,
        most: maxInstances,
      })),
    );
    GEOMETRIES.set(set, geometry);
    return geometry;
  }

  /** One mask per start of a profile. */
  masks(profile: number): readonly number[] {
    return this.#masks[profile] as readonly number[];
  }

  /**
   * How many instances of this profile alone fit into what is free, whatever its limit says. Intervals of one length
   * fill a row best from the left.
   */
  fits(profile: number, taken: number): number {
    const known = this.#fits[profile] as Map<number, number>;
    let count = known.get(taken);
    if (count === undefined) {
      count = 0;
      let mask = taken;
      for (const one of this.masks(profile)) {
        if ((mask & one) !== 0) continue;
        mask |= one;
        count++;
      }
      known.set(taken, count);
    }
    return count;
  }

  /**
   * Residual capability of a layout: for each profile, in the order of the set (largest first), how many more instances
   * of it alone could be created, by room and by its limit. Compared from the left: a place for one more large instance
   * is worth more than any number of small ones.
   */
  residual(taken: number, counts: readonly number[]): number[] {
    return this.profiles.map(({ most }, profile) =>
      Math.max(0, Math.min(this.fits(profile, taken), most - (counts[profile] ?? 0))),
    );
  }
}

/** Below 0: `a` comes first. */
export function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A way to place what was asked for, or the furthest that any attempt came. */
export interface Placing {
  readonly found: boolean;
  /** Starts by profile, ascending. */
  readonly starts: readonly (readonly number[])[];
  readonly taken: number;
}

/**
 * Places `need[profile]` instances beside `taken`: of all ways the one whose residual capability is largest, and among
 * those the one with the smallest starts, compared in the placing order. Exact: a state (profile, slices taken) that was
 * reached before is left, because the earlier one has smaller starts and the same future.
 */
export function placeAll(
  geometry: Geometry,
  need: readonly number[],
  taken: number,
  counts: readonly number[],
): Placing {
  const { order } = geometry;
  const chosen: number[][] = geometry.profiles.map(() => []);
  const seen = new Set<number>();
  const leaves = new Set<number>();
  const copy = (): number[][] => chosen.map((starts) => [...starts]);
  let best: { readonly starts: number[][]; readonly taken: number } | null = null;
  let bestResidual: readonly number[] = [];
  let furthest = { placed: -1, starts: copy(), taken };

  const place = (position: number, left: number, from: number, mask: number, placed: number) => {
    const profile = order[position];
    if (profile === undefined) {
      if (leaves.has(mask)) return;
      leaves.add(mask);
      const residual = geometry.residual(mask, counts);
      if (best === null || compareLists(residual, bestResidual) > 0) {
        best = { starts: copy(), taken: mask };
        bestResidual = residual;
      }
      return;
    }
    if (left === 0) {
      const key = (mask << 5) | position;
      if (seen.has(key)) return;
      seen.add(key);
      place(position + 1, need[order[position + 1] ?? -1] ?? 0, 0, mask, placed);
      return;
    }
    const masks = geometry.masks(profile);
    const { starts } = geometry.profiles[profile] as SlotProfile;
    let dead = true;
    for (let i = from; i < masks.length; i++) {
      const one = masks[i] as number;
      if ((mask & one) !== 0) continue;
      dead = false;
      chosen[profile]?.push(starts[i] as number);
      place(position, left - 1, i + 1, mask | one, placed + 1);
      chosen[profile]?.pop();
    }
    if (dead && placed > furthest.placed) furthest = { placed, starts: copy(), taken: mask };
  };
  place(0, need[order[0] ?? -1] ?? 0, 0, taken, 0);
  return best === null
    ? { found: false, starts: furthest.starts, taken: furthest.taken }
    : { found: true, ...(best as { starts: number[][]; taken: number }) };
}
