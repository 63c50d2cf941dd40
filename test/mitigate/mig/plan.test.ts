// The planner against all layouts of every board, found by brute force.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIG_BOARDS, offlineProfiles } from '#lib/mitigate/mig/boards';
import { planMig } from '#lib/mitigate/mig/plan';
import type { MigPlan, ObservedInstance } from '#lib/mitigate/mig/plan-types';
import type { MigProfileSet } from '#lib/mitigate/mig/profiles';
import type { MigWant } from '#lib/mitigate/mig/want';
import { compare, Layouts, type Placed } from './layouts.ts';

/** The board with some of its profiles: what a driver that lacks the others would show. */
function withOnly(set: MigProfileSet, ids: readonly number[]): MigProfileSet {
  return { ...set, profiles: set.profiles.filter(({ id }) => ids.includes(id)) };
}

const FULL = [0, 5, 9, 14, 15, 19, 20];
const SUBSETS = [FULL, [0, 5, 9, 14, 19], [0, 5, 9, 14, 15, 19], [0, 5, 9, 14, 19, 20]];

function wantOf(set: MigProfileSet, counts: readonly number[]): MigWant {
  return Object.fromEntries(
    set.profiles.flatMap(({ name }, i) => (counts[i] === 0 ? [] : [[name, counts[i] ?? 0]])),
  );
}

/** Every list of counts within the limits. */
function* multisets(set: MigProfileSet, from = 0): Generator<number[]> {
  const profile = set.profiles[from];
  if (profile === undefined) {
    yield [];
    return;
  }
  for (let count = 0; count <= profile.maxInstances; count++) {
    for (const rest of multisets(set, from + 1)) yield [count, ...rest];
  }
}

/** The best layout for each list of counts that is possible at all. Boards with one geometry share it. */
class Oracle {
  static readonly #known = new Map<string, Oracle>();
  readonly layouts: Layouts;
  readonly best: Map<string, readonly Placed[]> = new Map();

  private constructor(set: MigProfileSet) {
    this.layouts = new Layouts(set);
    for (const [key, possible] of this.layouts.byCounts) {
      const best = possible.reduce((a, b) => {
        const order =
          compare(this.layouts.residual(b), this.layouts.residual(a)) ||
          compare(canonical(set, a), canonical(set, b));
        return order < 0 ? a : b;
      });
      this.best.set(key, best);
    }
  }

  static of(set: MigProfileSet): Oracle {
    const geometry = JSON.stringify(
      set.profiles.map(({ starts, memorySlices, maxInstances }) => [
        starts,
        memorySlices,
        maxInstances,
      ]),
    );
    const oracle = Oracle.#known.get(geometry) ?? new Oracle(set);
    Oracle.#known.set(geometry, oracle);
    return oracle;
  }
}

function placedOf(set: MigProfileSet, plan: MigPlan): Placed[] {
  return plan.layout.map(({ profile, start }) => ({
    profile: set.profiles.findIndex(({ name }) => name === profile),
    start,
  }));
}

/** The smaller of two layouts is the one with the smaller starts, profiles with fewest starts first. */
function canonical(set: MigProfileSet, layout: readonly Placed[]): number[] {
  return set.profiles
    .map((profile, index) => ({ ...profile, index }))
    .sort(
      (a, b) =>
        a.starts.length - b.starts.length || b.memorySlices - a.memorySlices || a.index - b.index,
    )
    .flatMap(({ index }) => [
      ...layout
        .filter(({ profile }) => profile === index)
        .map(({ start }) => start)
        .sort((a, b) => a - b),
      -1,
    ]);
}

for (const board of MIG_BOARDS) {
  for (const ids of SUBSETS) {
    test(`${board}, ${ids.length} profiles: every request for an empty GPU`, () => {
      const set = withOnly(offlineProfiles(board), ids);
      const { best, layouts } = Oracle.of(set);
      let feasible = 0;
      let refused = 0;
      for (const counts of multisets(set)) {
        const plan = planMig({ profiles: set, want: wantOf(set, counts) });
        const expected = best.get(counts.join());
        if (plan.feasible !== (expected !== undefined)) assert.fail(JSON.stringify(plan.want));
        if (expected === undefined) {
          refused++;
          assertBlocked(set, plan);
          continue;
        }
        feasible++;
        assert.equal(
          canonical(set, placedOf(set, plan)).join(),
          canonical(set, expected).join(),
          JSON.stringify(plan.want),
        );
        assert.deepEqual(Object.values(plan.freeSlots), layouts.residual(expected));
      }
      assert.equal(feasible, best.size);
      assert.ok(refused > feasible);
      for (const { name, maxInstances } of set.profiles) {
        const plan = planMig({ profiles: set, want: { [name]: maxInstances + 1 } });
        assert.deepEqual(plan.blockedBy, [
          { kind: 'instance_count', profile: name, wanted: maxInstances + 1, most: maxInstances },
        ]);
      }
    });
  }
}

/** What blocks is really there: each start of the profile is covered by the intervals it names. */
function assertBlocked(set: MigProfileSet, plan: MigPlan): void {
  assert.notEqual(plan.blockedBy.length, 0);
  for (const blocker of plan.blockedBy) {
    if (blocker.kind === 'instance_count') {
      assert.ok(blocker.wanted > blocker.most);
      continue;
    }
    assert.equal(blocker.kind, 'placement');
    if (blocker.kind !== 'placement') continue;
    const profile = set.profiles.find(({ name }) => name === blocker.profile);
    assert.deepEqual(
      blocker.starts.map(({ start }) => start),
      profile?.starts,
    );
    for (const { start, size, by } of blocker.starts) {
      assert.notEqual(by.length, 0);
      for (const one of by) assert.ok(one.start < start + size && start < one.start + one.size);
    }
  }
}

/** A small generator of its own, so that a failure can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

for (const board of MIG_BOARDS) {
  test(`${board}: from any layout, with instances in use or protected, to any other`, () => {
    const set = offlineProfiles(board);
    const { layouts } = Oracle.of(set);
    const next = random(MIG_BOARDS.indexOf(board) + 1);
    const seen = { feasible: 0, infeasible: 0, kept: 0, destroyed: 0, extra: 0 };
    for (let round = 0; round < 400; round++) {
      const before = layouts.all[next(layouts.all.length)] as Placed[];
      const want = layouts.countsOf(layouts.all[next(layouts.all.length)] as Placed[]);
      const pins = before.map(() => next(5));
      const instances = before.map(({ profile, start }, i): ObservedInstance => {
        const { id, memorySlices, slices } = set.profiles[profile] as MigProfileSet['profiles'][0];
        return {
          id: 20 + i,
          profileId: id,
          start,
          size: memorySlices,
          compute: [{ id: 0, slices, start: 0, uuid: null }],
          inUse: pins[i] === 0,
        };
      });
      const protect = instances.filter((_, i) => pins[i] === 1).map(({ id }) => id);
      const plan = planMig({
        profiles: set,
        want: wantOf(set, want),
        observed: {
          gpu: 'GPU-test',
          modeEnabled: true,
          modePending: true,
          modeNeedsReset: false,
          instances,
        },
        protect,
      });
      const pinned = before.filter((_, i) => (pins[i] as number) < 2);
      const idle = before.filter((_, i) => (pins[i] as number) >= 2);
      const pinnedCounts = layouts.countsOf(pinned);
      // What stays and was not asked for comes on top.
      const counts = want.map((count, i) => Math.max(count, pinnedCounts[i] ?? 0));
      const has = (layout: readonly Placed[], one: Placed) =>
        layout.some(({ profile, start }) => profile === one.profile && start === one.start);
      const possible = (layouts.byCounts.get(counts.join()) ?? []).filter((layout) =>
        pinned.every((one) => has(layout, one)),
      );
      assert.equal(plan.feasible, possible.length > 0, `round ${round}`);
      if (possible.length === 0) {
        seen.infeasible++;
        continue;
      }
      seen.feasible++;
      const destroys = (layout: readonly Placed[]) =>
        idle.filter((one) => !has(layout, one)).length;
      const best = possible.reduce((a, b) => {
        const order =
          destroys(a) - destroys(b) ||
          compare(layouts.residual(b), layouts.residual(a)) ||
          compare(canonical(set, a), canonical(set, b));
        return order <= 0 ? a : b;
      });
      assert.deepEqual(
        canonical(set, placedOf(set, plan)),
        canonical(set, best),
        `round ${round}: ${JSON.stringify({ before, pins, want: plan.want })}`,
      );
      assert.equal(plan.destroys, destroys(best));
      seen.kept += idle.length - plan.destroys;
      seen.destroyed += plan.destroys;
      seen.extra += plan.layout.filter(({ extra }) => extra).length;
      replay(set, instances, plan);
    }
    for (const [what, count] of Object.entries(seen)) {
      assert.ok(count > 40, `${what}: ${count}`);
    }
  });
}

/** Carries the steps out on a row of slices that refuses what a driver would refuse, at every moment. */
function replay(set: MigProfileSet, before: readonly ObservedInstance[], plan: MigPlan): void {
  const there = before.map(({ id, profileId, start, size, compute }) => ({
    id,
    profile: set.profiles.find((one) => one.id === profileId)?.name,
    start,
    size,
    compute: compute.length,
  }));
  for (const step of plan.steps) {
    if (step.action === 'destroy_compute') {
      const one = there.find(({ id }) => id === step.instance);
      assert.ok(one !== undefined && one.compute > 0);
      one.compute--;
    } else if (step.action === 'destroy_instance') {
      const at = there.findIndex(({ id }) => id === step.instance);
      assert.equal(there[at]?.compute, 0, 'compute instances go first');
      there.splice(at, 1);
    } else if (step.action === 'create_instance') {
      const most = set.profiles.find(({ name }) => name === step.profile)?.maxInstances ?? 0;
      assert.ok(there.filter(({ profile }) => profile === step.profile).length < most);
      for (const { start, size } of there) {
        assert.ok(start + size <= step.start || step.start + step.size <= start, 'overlap');
      }
      there.push({ id: -1, profile: step.profile, start: step.start, size: step.size, compute: 0 });
    } else if (step.action === 'create_compute') {
      const one = there.find(({ start }) => start === step.at);
      assert.ok(one !== undefined);
      one.compute++;
    }
  }
  assert.deepEqual(
    there.map(({ profile, start }) => `${profile}@${start}`).sort(),
    plan.layout.map(({ profile, start }) => `${profile}@${start}`).sort(),
  );
}
