// Every layout that a board allows, found the slow way: the oracle of the planner. It knows placements and limits and
// nothing of how the planner searches.
import type { MigProfileSet } from '#lib/mitigate/mig/profiles';

export interface Placed {
  readonly profile: number;
  readonly start: number;
}

export class Layouts {
  readonly set: MigProfileSet;
  /** All layouts, also those with room left, by how many instances of each profile they hold. */
  readonly byCounts: Map<string, Placed[][]> = new Map();
  readonly all: Placed[][] = [];
  readonly #room = new Map<string, number>();

  constructor(set: MigProfileSet) {
    this.set = set;
    this.#grow([], 0);
  }

  /** Adds instances from the left: each begins behind the one before it. */
  #grow(layout: Placed[], from: number): void {
    this.all.push([...layout]);
    const key = this.countsOf(layout).join();
    const same = this.byCounts.get(key);
    if (same === undefined) this.byCounts.set(key, [[...layout]]);
    else same.push([...layout]);
    this.set.profiles.forEach(({ starts, memorySlices, maxInstances }, profile) => {
      if (layout.filter((one) => one.profile === profile).length >= maxInstances) return;
      for (const start of starts) {
        if (start >= from) this.#grow([...layout, { profile, start }], start + memorySlices);
      }
    });
  }

  countsOf(layout: readonly Placed[]): number[] {
    return this.set.profiles.map((_, i) => layout.filter(({ profile }) => profile === i).length);
  }

  slotsOf(layout: readonly Placed[]): Set<number> {
    return new Set(
      layout.flatMap(({ profile, start }) =>
        Array.from({ length: this.set.profiles[profile]?.memorySlices ?? 0 }, (_, i) => start + i),
      ),
    );
  }

  /** For each profile, how many more instances of it alone could be added. */
  residual(layout: readonly Placed[]): number[] {
    const counts = this.countsOf(layout);
    const taken = [...this.slotsOf(layout)].sort((a, b) => a - b);
    return this.set.profiles.map(({ maxInstances }, profile) =>
      Math.min(maxInstances - (counts[profile] ?? 0), this.#mostMore(profile, taken)),
    );
  }

  #mostMore(profile: number, taken: readonly number[]): number {
    const key = `${profile}:${taken.join()}`;
    const known = this.#room.get(key);
    if (known !== undefined) return known;
    const { starts = [], memorySlices = 0 } = this.set.profiles[profile] ?? {};
    let most = 0;
    for (const start of starts) {
      const own = Array.from({ length: memorySlices }, (_, i) => start + i);
      if (own.some((slot) => taken.includes(slot))) continue;
      most = Math.max(
        most,
        1 +
          this.#mostMore(
            profile,
            [...taken, ...own].sort((a, b) => a - b),
          ),
      );
    }
    this.#room.set(key, most);
    return most;
  }
}

/** Below 0: `a` is the smaller list. */
export function compare(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((value, at) => value !== b[at]);
  return i < 0 ? a.length - b.length : (a[i] as number) - (b[i] ?? -1);
}
