import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIG_BOARDS, offlineProfiles } from '#lib/mitigate/mig/boards';
import { migFreeSlots, planMig } from '#lib/mitigate/mig/plan';
import type { MigObservation, ObservedInstance } from '#lib/mitigate/mig/plan-types';
import { parseMigName, resolveMigName } from '#lib/mitigate/mig/profiles';
import { parseMigWant, wantedInstances } from '#lib/mitigate/mig/want';

const H100 = offlineProfiles('H100-80');

test('a name in its parts', () => {
  assert.deepEqual(parseMigName('1c.3g.40gb'), {
    compute: 1,
    slices: 3,
    memoryGb: 40,
    attributes: [],
  });
  assert.deepEqual(parseMigName('1g.10gb+me')?.attributes, ['me']);
  assert.deepEqual(parseMigName('1g.24gb+me.all')?.attributes, ['me.all']);
  assert.deepEqual(parseMigName('2g.48gb-me')?.attributes, ['-me']);
  for (const text of ['', '3g', '40gb', 'g.40gb', '3g.40gb+', '3g.40gb x']) {
    assert.equal(parseMigName(text), null, text);
  }
});

test('drivers that round the same memory to another name mean the same profile', () => {
  assert.equal(resolveMigName(H100, '3g.39gb', '--want').profile.name, '3g.40gb');
  assert.equal(resolveMigName(H100, '1g.10gb', '--want').profile.id, 19);
  assert.equal(resolveMigName(H100, '1g.10gb+me', '--want').profile.id, 20);
  assert.equal(resolveMigName(H100, '1g.20gb', '--want').profile.id, 15);
  for (const [text, expected] of [
    ['3g.20gb', /did you mean/],
    ['2g.40gb', /3g\.40gb/],
    ['1g.10gb+gfx', /1g\.10gb\+me/],
    ['4c.3g.40gb', /1c\.3g\.40gb, 2c\.3g\.40gb, 3g\.40gb/],
    ['big', /such as 3g\.40gb/],
  ] as const) {
    assert.throws(
      () => resolveMigName(H100, text, '--want'),
      (error: Error & { code?: string }) =>
        error.code === 'ERR_INVALID_ARGUMENT' && expected.test(error.message),
      text,
    );
  }
});

test('a request as text', () => {
  assert.deepEqual(parseMigWant('3g.40gb=1, 1g.10gb=2,1g.10gb'), { '3g.40gb': 1, '1g.10gb': 3 });
  assert.deepEqual(parseMigWant('none'), {});
  for (const text of ['', '3g.40gb=', '3g.40gb=-1', '3g.40gb=1=2', '3g.40gb=x']) {
    assert.throws(() => parseMigWant(text), { code: 'ERR_INVALID_ARGUMENT' }, text);
  }
});

test('parts of a GPU instance share instances of their profile, as many as it takes', () => {
  const shapes = (want: Record<string, number>) =>
    wantedInstances(H100, want).map(({ profile, compute }) => [
      H100.profiles[profile]?.name,
      compute.map(({ slices, start }) => `${slices}@${start}`).join(' '),
    ]);
  // The capture of an H200 in MIG mode has exactly this: 1c and 2c in one 3g.
  assert.deepEqual(shapes({ '1c.3g.40gb': 1, '2c.3g.40gb': 1 }), [['3g.40gb', '2@0 1@2']]);
  assert.deepEqual(shapes({ '1c.3g.40gb': 4 }), [
    ['3g.40gb', '1@2'], // where it leaves room for a 2c
    ['3g.40gb', '1@0 1@1 1@2'],
  ]);
  // 3c lies at 0 or 4, so both 2c have room before it.
  assert.deepEqual(shapes({ '3c.7g.80gb': 1, '2c.7g.80gb': 2 }), [['7g.80gb', '2@0 2@2 3@4']]);
  assert.deepEqual(shapes({ '3g.40gb': 1, '3c.3g.40gb': 1 }), [
    ['3g.40gb', '3@0'],
    ['3g.40gb', '3@0'],
  ]);
});

const instance = (
  id: number,
  profileId: number,
  start: number,
  size: number,
  compute: readonly number[],
  inUse = false,
): ObservedInstance => ({
  id,
  profileId,
  start,
  size,
  compute: compute.map((slices, i) => ({ id: i, slices, start: i, uuid: `MIG-${id}-${i}` })),
  inUse,
});

const observation = (
  instances: readonly ObservedInstance[],
  modeEnabled = true,
): MigObservation => ({
  gpu: 'GPU-x',
  modeEnabled,
  modePending: modeEnabled,
  modeNeedsReset: true,
  instances,
});

test('of two alike the one is kept whose compute instances are as wanted', () => {
  const observed = observation([instance(1, 9, 0, 4, [3]), instance(2, 9, 4, 4, [1, 1, 1])]);
  const plan = planMig({ profiles: H100, want: { '1c.3g.40gb': 3 }, observed });
  assert.deepEqual(
    plan.steps.map((step) => step.action),
    ['destroy_compute', 'destroy_instance'],
  );
  assert.equal(plan.layout[0]?.existing, 2);
});

test('a kept instance gets other compute instances, and keeps those that are right already', () => {
  const observed = observation([instance(4, 9, 0, 4, [1])]);
  const plan = planMig({ profiles: H100, want: { '1c.3g.40gb': 2 }, observed });
  assert.deepEqual(plan.steps, [
    { action: 'create_compute', at: 0, profile: '3g.40gb', profileId: 9, slices: 1, start: 1 },
  ]);
  const whole = planMig({ profiles: H100, want: { '3g.40gb': 1 }, observed });
  assert.deepEqual(
    whole.steps.map((step) => step.action),
    ['destroy_compute', 'create_compute'],
  );
});

test('an instance in use is named as what blocks', () => {
  const observed = observation([instance(7, 19, 0, 1, [1], true)]);
  const plan = planMig({ profiles: H100, want: { '4g.40gb': 1 }, observed });
  assert.deepEqual(plan.blockedBy, [
    {
      kind: 'placement',
      profile: '4g.40gb',
      starts: [
        {
          start: 0,
          size: 4,
          by: [{ profile: '1g.10gb', start: 0, size: 1, because: 'in_use', existing: 7 }],
        },
      ],
    },
  ]);
  const off = planMig({ profiles: H100, want: {}, enabled: false, observed });
  assert.deepEqual([off.feasible, off.blockedBy[0]?.kind], [false, 'instances_stay']);
});

test('an instance of a profile that the set does not know keeps its room', () => {
  const observed = observation([instance(3, 77, 4, 4, [3], true)]);
  const plan = planMig({ profiles: H100, want: { '3g.40gb': 1 }, observed });
  assert.deepEqual(
    plan.layout.map(({ profile, start, extra }) => [profile, start, extra]),
    [
      ['3g.40gb', 0, false],
      ['profile 77', 4, true],
    ],
  );
});

test('switching the mode is a step and a consent; the reset one of its own', () => {
  const plan = planMig({
    profiles: H100,
    want: { '7g.80gb': 1 },
    observed: observation([], false),
  });
  assert.equal(plan.steps[0]?.action, 'set_mode');
  assert.deepEqual(plan.consents, ['mode', 'reset']);
  const hopper = planMig({
    profiles: H100,
    want: { '7g.80gb': 1 },
    observed: { ...observation([], false), modeNeedsReset: false },
  });
  assert.deepEqual(hopper.consents, ['mode']);
  // On, and off after the next reset: what is wanted is taken back to be so.
  const pending = planMig({
    profiles: H100,
    want: {},
    observed: { ...observation([]), modePending: false },
  });
  assert.deepEqual(
    pending.steps.map((step) => step.action),
    ['set_mode'],
  );
  const off = planMig({
    profiles: H100,
    want: {},
    enabled: false,
    observed: observation([instance(1, 0, 0, 8, [7])]),
  });
  assert.deepEqual(
    off.steps.map((step) => step.action),
    ['destroy_compute', 'destroy_instance', 'set_mode'],
  );
});

test('free slots of what is there', () => {
  assert.deepEqual(migFreeSlots(H100, [instance(1, 19, 3, 1, [1])]), {
    '7g.80gb': 0,
    '4g.40gb': 0,
    '3g.40gb': 1,
    '2g.20gb': 2,
    '1g.20gb': 3,
    '1g.10gb': 6,
    '1g.10gb+me': 1,
  });
});

test('the tables of the boards name their origin and what nobody has seen', () => {
  for (const board of MIG_BOARDS) {
    const set = offlineProfiles(board);
    assert.equal(set.source.kind, 'offline');
    assert.equal(set.profiles.length, 7);
  }
  const unseen = offlineProfiles('B200-180').profiles.filter(({ memoryMib }) => memoryMib === null);
  assert.deepEqual(
    unseen.map(({ slices }) => slices),
    [7, 4, 3, 1, 1],
  );
  assert.throws(() => offlineProfiles('H300'), { code: 'ERR_INVALID_ARGUMENT' });
});
