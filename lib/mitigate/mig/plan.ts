import { compareLists, Geometry, placeAll, slotMask } from './geometry.ts';
import type {
  BlockingInterval,
  MigBlocker,
  MigConsent,
  MigObservation,
  MigPlan,
  MigPlanRequest,
  MigStep,
  ObservedCompute,
  ObservedInstance,
  PlannedInstance,
} from './plan-types.ts';
import { computeName, type MigProfile, type MigProfileSet } from './profiles.ts';
import { type ComputePlacement, computeKey, type WantedInstance, wantedInstances } from './want.ts';

type Pinned = 'in_use' | 'protected';

interface Found {
  readonly instance: ObservedInstance;
  readonly profile: number;
  readonly mask: number;
  readonly pinned: Pinned | null;
}

interface Candidate {
  /** Kept GPU instances with the wanted one each stands for. */
  readonly kept: ReadonlyMap<Found, WantedInstance>;
  readonly starts: readonly (readonly number[])[];
  readonly taken: number;
  readonly computeDestroys: number;
  readonly residual: readonly number[];
  readonly canonical: readonly number[];
}

/**
 * Plans the layout `want`, exactly: instances in use or protected stay where they are, also those nobody asked for; then,
 * in this order, the fewest GPU instances are destroyed, the fewest compute instances inside kept ones, the most residual
 * capability is left ({@link Geometry.residual}), and the smallest starts are taken (profiles in the placing order). The
 * same input gives the same plan. Pure: asks no driver.
 */
export function planMig(request: MigPlanRequest): MigPlan {
  const { profiles: set, want, observed } = request;
  const enabled = request.enabled ?? true;
  const wanted = enabled ? wantedInstances(set, want) : [];
  const geometry = Geometry.of(set);
  const found = observe(set, request);
  const pinnedFound = found.filter((one) => one.pinned !== null);
  const idle = found.filter((one) => one.pinned === null);

  // Those that stay anyhow take the places of wanted ones where they are the same to a user.
  const open = [...wanted];
  const pinnedAs = new Map<Found, WantedInstance | null>();
  for (const one of pinnedFound) {
    const at = open.findIndex((item) => isSame(one, item));
    pinnedAs.set(one, at < 0 ? null : (open.splice(at, 1)[0] as WantedInstance));
  }
  const pinnedTaken = pinnedFound.reduce((mask, one) => mask | one.mask, 0);
  const counts = set.profiles.map(
    (_, profile) =>
      open.filter((one) => one.profile === profile).length +
      pinnedFound.filter((one) => one.profile === profile).length,
  );
  const base = {
    gpu: observed?.gpu ?? null,
    board: set.board,
    source: set.source,
    want,
    modeEnabled: enabled,
    observed: observed ?? null,
  };
  const blockedBy = enabled
    ? blockers({ set, geometry, open, pinnedFound, pinnedTaken, counts })
    : pinnedFound.length === 0
      ? []
      : [
          {
            kind: 'instances_stay' as const,
            instances: pinnedFound.map((one) => interval(set, one)),
          },
        ];
  if (blockedBy.length > 0) {
    const now = found.reduce((mask, one) => mask | one.mask, 0);
    return {
      ...base,
      feasible: false,
      blockedBy,
      layout: [],
      steps: [],
      consents: [],
      destroys: 0,
      creates: 0,
      freeSlots: freeSlots(set, geometry, now, countFound(set, found)),
    };
  }
  const best = search({ geometry, open, idle, pinnedTaken, counts, pinnedFound }) as Candidate;
  const layout = layoutOf(set, best, open, pinnedAs);
  const steps = stepsOf(set, enabled, observed, idle, best, layout);
  return {
    ...base,
    feasible: true,
    blockedBy: [],
    layout,
    steps,
    consents: consentsOf(enabled, observed),
    destroys: steps.filter(({ action }) => action === 'destroy_instance').length,
    creates: steps.filter(({ action }) => action === 'create_instance').length,
    freeSlots: freeSlots(set, geometry, best.taken, counts),
  };
}

/** How many more instances of each profile alone fit beside what is there. */
export function migFreeSlots(
  set: MigProfileSet,
  instances: readonly ObservedInstance[],
): Readonly<Record<string, number>> {
  const found = instances.map((instance) => toFound(set, instance, null));
  const taken = found.reduce((mask, one) => mask | one.mask, 0);
  return freeSlots(set, Geometry.of(set), taken, countFound(set, found));
}

function freeSlots(
  set: MigProfileSet,
  geometry: Geometry,
  taken: number,
  counts: readonly number[],
): Record<string, number> {
  const residual = geometry.residual(taken, counts);
  return Object.fromEntries(set.profiles.map(({ name }, i) => [name, residual[i] ?? 0]));
}

function countFound(set: MigProfileSet, found: readonly Found[]): number[] {
  return set.profiles.map((_, i) => found.filter((one) => one.profile === i).length);
}

function toFound(set: MigProfileSet, instance: ObservedInstance, pinned: Pinned | null): Found {
  return {
    instance,
    // One of a profile that the set does not know still takes its room.
    profile: set.profiles.findIndex((profile) => profile.id === instance.profileId),
    mask: slotMask(instance.start, instance.size),
    pinned,
  };
}

function observe(set: MigProfileSet, request: MigPlanRequest): Found[] {
  const protect = new Set(request.protect ?? []);
  return [...(request.observed?.instances ?? [])]
    .sort((a, b) => a.start - b.start)
    .map((instance) =>
      toFound(
        set,
        instance,
        instance.inUse ? 'in_use' : protect.has(instance.id) ? 'protected' : null,
      ),
    );
}

function isSame({ profile, instance }: Found, wanted: WantedInstance): boolean {
  return profile === wanted.profile && computeKey(instance.compute) === computeKey(wanted.compute);
}

// ---- what cannot be ----

interface Situation {
  readonly set: MigProfileSet;
  readonly geometry: Geometry;
  readonly open: readonly WantedInstance[];
  readonly pinnedFound: readonly Found[];
  readonly pinnedTaken: number;
  readonly counts: readonly number[];
}

/** Empty when the request can be met with all idle instances gone: keeping some is a special case of that. */
function blockers(situation: Situation): MigBlocker[] {
  const { set, geometry, open, pinnedFound, pinnedTaken, counts } = situation;
  const over = set.profiles.flatMap(({ name, maxInstances }, i) => {
    const wanted = counts[i] ?? 0;
    return wanted > maxInstances && open.some(({ profile }) => profile === i)
      ? [{ kind: 'instance_count' as const, profile: name, wanted, most: maxInstances }]
      : [];
  });
  if (over.length > 0) return over;
  const need = set.profiles.map((_, i) => open.filter(({ profile }) => profile === i).length);
  const placing = placeAll(geometry, need, pinnedTaken, counts);
  if (placing.found) return [];
  const stuck = geometry.order.find((i) => (placing.starts[i]?.length ?? 0) < (need[i] ?? 0));
  const profile = set.profiles[stuck ?? 0] as MigProfile;
  const intervals: BlockingInterval[] = [
    ...pinnedFound.map((one) => interval(set, one)),
    ...placing.starts.flatMap((starts, i) => {
      const { name, memorySlices } = set.profiles[i] as MigProfile;
      return starts.map((start) => ({
        profile: name,
        start,
        size: memorySlices,
        because: 'wanted' as const,
        existing: null,
      }));
    }),
  ].sort((a, b) => a.start - b.start);
  return [
    {
      kind: 'placement',
      profile: profile.name,
      starts: profile.starts.map((start) => ({
        start,
        size: profile.memorySlices,
        by: intervals.filter(
          (one) => (slotMask(one.start, one.size) & slotMask(start, profile.memorySlices)) !== 0,
        ),
      })),
    },
  ];
}

function interval(set: MigProfileSet, { instance, profile, pinned }: Found): BlockingInterval {
  return {
    profile: set.profiles[profile]?.name ?? `profile ${instance.profileId}`,
    start: instance.start,
    size: instance.size,
    because: pinned as Pinned,
    existing: instance.id,
  };
}

// ---- the search ----

interface Search {
  readonly geometry: Geometry;
  readonly open: readonly WantedInstance[];
  readonly idle: readonly Found[];
  readonly pinnedFound: readonly Found[];
  readonly pinnedTaken: number;
  readonly counts: readonly number[];
}

/** Tries to keep as many idle instances as possible, then one fewer, until a layout is found. */
function search(input: Search): Candidate | null {
  const { geometry, open, idle } = input;
  const useful = idle.filter((one) => open.some(({ profile }) => profile === one.profile));
  for (let keep = Math.min(useful.length, open.length); keep >= 0; keep--) {
    let best: Candidate | null = null;
    for (const subset of subsetsOf(useful, keep)) {
      const candidate = tryKeeping(input, subset);
      if (candidate !== null && (best === null || compareCandidates(candidate, best) < 0)) {
        best = candidate;
      }
    }
    if (best !== null) return best;
  }
  return geometry.profiles.length === 0 ? emptyCandidate(input) : null;
}

function emptyCandidate({ pinnedTaken }: Search): Candidate {
  return {
    kept: new Map(),
    starts: [],
    taken: pinnedTaken,
    computeDestroys: 0,
    residual: [],
    canonical: [],
  };
}

function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    a.computeDestroys - b.computeDestroys ||
    compareLists(b.residual, a.residual) ||
    compareLists(a.canonical, b.canonical)
  );
}

function* subsetsOf<T>(all: readonly T[], size: number, from = 0): Generator<readonly T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let i = from; i <= all.length - size; i++) {
    for (const rest of subsetsOf(all, size - 1, i + 1)) yield [all[i] as T, ...rest];
  }
}

function tryKeeping(input: Search, subset: readonly Found[]): Candidate | null {
  const { geometry, open, pinnedFound, pinnedTaken, counts } = input;
  const left = [...open];
  const kept = new Map<Found, WantedInstance>();
  // Those that need no change inside first; then whatever is left of the same profile.
  for (const same of [isSame, (one: Found, item: WantedInstance) => one.profile === item.profile]) {
    for (const one of subset) {
      const at = kept.has(one) ? -1 : left.findIndex((item) => same(one, item));
      if (at >= 0) kept.set(one, left.splice(at, 1)[0] as WantedInstance);
    }
  }
  if (kept.size < subset.length) return null;
  const need = geometry.profiles.map(
    (_, profile) => left.filter((one) => one.profile === profile).length,
  );
  const taken = subset.reduce((mask, one) => mask | one.mask, pinnedTaken);
  const placing = placeAll(geometry, need, taken, counts);
  if (!placing.found) return null;
  const there = [...pinnedFound, ...subset];
  return {
    kept,
    starts: placing.starts,
    taken: placing.taken,
    computeDestroys: [...kept].reduce(
      (sum, [one, item]) => sum + computeChanges(one, item).destroy.length,
      0,
    ),
    residual: geometry.residual(placing.taken, counts),
    canonical: geometry.order.flatMap((profile) => [
      ...[
        ...(placing.starts[profile] ?? []),
        ...there.filter((one) => one.profile === profile).map(({ instance }) => instance.start),
      ].sort((a, b) => a - b),
      -1,
    ]),
  };
}

/** What must go and come inside a kept GPU instance so that it holds the wanted compute instances. */
function computeChanges(
  { instance }: Found,
  wanted: WantedInstance,
): { readonly destroy: readonly ObservedCompute[]; readonly create: readonly ComputePlacement[] } {
  if (computeKey(instance.compute) === computeKey(wanted.compute)) {
    return { destroy: [], create: [] };
  }
  const create = [...wanted.compute];
  const destroy: ObservedCompute[] = [];
  for (const one of instance.compute) {
    const at = create.findIndex(
      ({ slices, start }) => slices === one.slices && start === one.start,
    );
    if (at >= 0) create.splice(at, 1);
    else destroy.push(one);
  }
  return { destroy, create };
}

// ---- the result ----

function layoutOf(
  set: MigProfileSet,
  best: Candidate,
  open: readonly WantedInstance[],
  pinnedAs: ReadonlyMap<Found, WantedInstance | null>,
): PlannedInstance[] {
  const planned = (
    index: number,
    start: number,
    compute: readonly ComputePlacement[],
    more: Pick<PlannedInstance, 'existing' | 'extra' | 'keptBecause'>,
  ): PlannedInstance => {
    const profile = set.profiles[index] as MigProfile;
    return {
      profile: profile.name,
      profileId: profile.id,
      start,
      size: profile.memorySlices,
      compute,
      devices: compute.map(({ slices }) => computeName(profile, slices)),
      ...more,
    };
  };
  const layout: PlannedInstance[] = [];
  for (const [{ instance, profile, pinned }, as] of pinnedAs) {
    const compute = instance.compute.map(({ slices, start }) => ({ slices, start: start ?? 0 }));
    const more = { existing: instance.id, extra: as === null, keptBecause: pinned };
    if (profile >= 0) {
      layout.push(planned(profile, instance.start, compute, more));
    } else {
      const { start, size, profileId } = instance;
      layout.push({
        profile: `profile ${profileId}`,
        profileId,
        start,
        size,
        compute,
        devices: [],
        ...more,
      });
    }
  }
  for (const [{ instance, profile }, item] of best.kept) {
    const more = { existing: instance.id, extra: false, keptBecause: 'wanted' as const };
    layout.push(planned(profile, instance.start, item.compute, more));
  }
  const keptItems = new Set(best.kept.values());
  const created = open.filter((item) => !keptItems.has(item));
  best.starts.forEach((starts, index) => {
    const items = created.filter(({ profile }) => profile === index);
    starts.forEach((start, i) => {
      const { compute } = items[i] as WantedInstance;
      layout.push(
        planned(index, start, compute, { existing: null, extra: false, keptBecause: null }),
      );
    });
  });
  return layout.sort((a, b) => a.start - b.start);
}

function stepsOf(
  set: MigProfileSet,
  enabled: boolean,
  observed: MigObservation | undefined,
  idle: readonly Found[],
  best: Candidate,
  layout: readonly PlannedInstance[],
): MigStep[] {
  const steps: MigStep[] = [];
  const mode = observed === undefined || isMode(observed, enabled);
  if (!mode && enabled) {
    steps.push({ action: 'set_mode', enabled, mayReset: observed?.modeNeedsReset ?? null });
  }
  const gone = idle.filter((one) => !best.kept.has(one));
  const goneTaken = gone.reduce((mask, one) => mask | one.mask, 0);
  const fresh = layout.filter(({ existing }) => existing === null);
  const countOf = (name: string): number =>
    layout.filter((one) => one.profile === name && one.existing !== null).length +
    gone.filter((one) => set.profiles[one.profile]?.name === name).length;
  // What fits beside the old layout comes first: should it fail, nothing has been destroyed yet.
  const created = new Map<string, number>();
  const early = fresh.filter(({ profile, start, size }) => {
    const most = set.profiles.find(({ name }) => name === profile)?.maxInstances ?? 0;
    const already = countOf(profile) + (created.get(profile) ?? 0);
    if ((goneTaken & slotMask(start, size)) !== 0 || already >= most) return false;
    created.set(profile, (created.get(profile) ?? 0) + 1);
    return true;
  });
  for (const one of early) steps.push(...createSteps(one));
  for (const [one, item] of best.kept) {
    for (const { id, slices } of computeChanges(one, item).destroy) {
      steps.push({ action: 'destroy_compute', instance: one.instance.id, compute: id, slices });
    }
  }
  for (const { instance, profile } of gone) {
    for (const { id, slices } of instance.compute) {
      steps.push({ action: 'destroy_compute', instance: instance.id, compute: id, slices });
    }
    steps.push({
      action: 'destroy_instance',
      instance: instance.id,
      profile: set.profiles[profile]?.name ?? `profile ${instance.profileId}`,
      start: instance.start,
      size: instance.size,
    });
  }
  for (const [one, item] of best.kept) {
    for (const { slices, start } of computeChanges(one, item).create) {
      steps.push({
        action: 'create_compute',
        at: one.instance.start,
        profile: (set.profiles[one.profile] as MigProfile).name,
        profileId: one.instance.profileId,
        slices,
        start,
      });
    }
  }
  for (const one of fresh) if (!early.includes(one)) steps.push(...createSteps(one));
  if (!mode && !enabled) {
    steps.push({ action: 'set_mode', enabled, mayReset: observed?.modeNeedsReset ?? null });
  }
  return steps;
}

function createSteps({ profile, profileId, start, size, compute }: PlannedInstance): MigStep[] {
  return [
    { action: 'create_instance', profile, profileId, start, size },
    ...compute.map((one) => ({
      action: 'create_compute' as const,
      at: start,
      profile,
      profileId,
      slices: one.slices,
      start: one.start,
    })),
  ];
}

/** Also not waiting for a reset that would change it. */
function isMode({ modeEnabled, modePending }: MigObservation, enabled: boolean): boolean {
  return modeEnabled === enabled && modePending === enabled;
}

function consentsOf(enabled: boolean, observed: MigObservation | undefined): MigConsent[] {
  if (observed === undefined || isMode(observed, enabled)) return [];
  return observed.modeNeedsReset === false ? ['mode'] : ['mode', 'reset'];
}
