// Applying MIG plans to the Simulated GPU: what is refused before the first change, what is undone, what is told.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { WarpgaugeError } from '#lib/errors';
import { mig } from '#lib/mitigate/mig';
import { applyMig, type MigApplyInternals, type MigApplyOptions } from '#lib/mitigate/mig/apply';
import type { MigPlan } from '#lib/mitigate/mig/plan-types';
import { savedProfiles } from '#lib/mitigate/mig/saved';
import { DeviceLock } from '#lib/mitigate/transaction/lock';
import * as monitor from '#lib/monitor/index';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { collect, rowsOf } from '../../monitor/gpu-rows.js';
import { whyNotNobody } from '../../nobody.js';
import { GPU, SimulatedMig } from './simulated-mig.js';

const quick = (plan: MigPlan, options: MigApplyOptions & MigApplyInternals = {}) =>
  applyMig(plan, { announceMs: 0, ...options });

async function refused(
  promise: Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<WarpgaugeError> {
  try {
    await promise;
  } catch (error) {
    assert.equal((error as WarpgaugeError).code, code, (error as Error).message);
    assert.match((error as Error).message, message);
    return error as WarpgaugeError;
  }
  assert.fail(`no ${code}`);
}

test(
  'the difference only, at the places of the plan; a second time nothing',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedMig({ instances: ['9@4:3@0', '19@0:1@0'] });
    const plan = await mig.plan({ gpu: GPU, instances: { '3g.40gb': 1, '2g.20gb': 1 } });
    assert.equal(plan.source.kind, 'driver');
    const applied = await quick(plan);
    assert.equal(machine.now(), 'mode 1 14@0:2@0 9@4:3@0');
    assert.deepEqual(
      machine.mutations().map((line) => line.replace(/\(.*/, '')),
      [
        'nvmlComputeInstanceDestroy',
        'nvmlGpuInstanceDestroy',
        'nvmlDeviceCreateGpuInstanceWithPlacement',
        'nvmlGpuInstanceCreateComputeInstanceWithPlacement',
      ],
    );
    assert.deepEqual(
      applied.devices.map(({ profile, start }) => [profile, start]),
      [
        ['2g.20gb', 0],
        ['3g.40gb', 4],
      ],
    );
    assert.match(applied.cudaVisibleDevices, /^MIG-[0-9a-f-]{36},MIG-[0-9a-f-]{36}$/);
    machine.forgetCalls();
    for (let i = 0; i < 3; i++) {
      assert.equal((await quick(plan)).changed, false);
      const again = await mig.plan({ gpu: GPU, instances: { '3g.40gb': 1, '2g.20gb': 1 } });
      assert.deepEqual(again.steps, []);
      assert.equal((await quick(again)).changed, false);
    }
    assert.deepEqual(machine.mutations(), []);
    const audit = readFileSync(join(machine.stateDir, 'audit.jsonl'), 'utf8')
      .split('\n')
      .filter(Boolean);
    assert.equal(audit.length, 4);
    assert.deepEqual(await mig.recover(), [], 'what was applied stays');
  },
);

test('a failure at any step leaves the GPU as it was found', NEEDS_FAKE, async () => {
  for (const fault of ['nvml.fail = 23@', 'nvml.ignore = ']) {
    for (let step = 1; step <= 5; step++) {
      using machine = new SimulatedMig({ instances: ['9@0:1@0+1@1', '19@4:1@0'] });
      const before = machine.now();
      machine.write(`${fault}${step}`);
      const plan = await mig.plan({ gpu: GPU, instances: { '2g.20gb': 1, '1g.10gb': 1 } });
      const error = await refused(
        quick(plan),
        fault === 'nvml.ignore = ' ? 'ERR_REFUSED' : 'ERR_NVML',
        /said yes|failed \(23\)/,
      );
      assert.doesNotMatch(error.message, /left behind/);
      assert.equal(machine.now(), before, `${fault}${step}`);
      assert.deepEqual(await mig.recover(), []);
    }
  }
});

test('what runs keeps its instance, and is named', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({
    instances: ['9@4:3@0', '19@0:1@0'],
    script: 'nvml.0.processes = self:C:1000000:21:0',
  });
  const [gpu] = await mig.status();
  assert.deepEqual(
    gpu?.instances.map(({ profile, inUse, processes }) => [profile, inUse, processes[0]?.pid]),
    [
      ['1g.10gb', true, process.pid],
      ['3g.40gb', false, undefined],
    ],
  );
  const plan = await mig.plan({ gpu: GPU, instances: { '4g.40gb': 1 } });
  assert.deepEqual([plan.feasible, plan.blockedBy[0]?.kind], [false, 'placement']);
  await refused(quick(plan), 'ERR_REFUSED', /not feasible/);
  // A process that comes after the plan was made.
  machine.write('nvml.0.processes = self:C:1000000:21:0, self:C:1000000:20:0');
  const idle = { ...(await mig.plan({ gpu: GPU, instances: { '1g.10gb': 1 } })) };
  assert.deepEqual(
    idle.layout.map(({ extra }) => extra),
    [false, true],
  );
  machine.write('');
  const free = await mig.plan({ gpu: GPU, instances: { '1g.10gb': 1 } });
  machine.write('nvml.0.processes = self:C:1000000:20:0');
  await refused(quick(free), 'ERR_STALE_PLAN', /not what it was/);
  // A handle that leaked: the driver says in use and no list shows by whom.
  machine.write('nvml.0.leaked = 20');
  const leaked = await mig.plan({ gpu: GPU, instances: { '1g.10gb': 1 } });
  const error = await refused(quick(leaked), 'ERR_IN_USE', /in use/);
  assert.match(error.fix ?? '', /nvidia-persistenced/);
  assert.equal(machine.now(), 'mode 1 19@0:1@0 9@4:3@0');
});

test(
  'a plan is refused when somebody changed the GPU, or the driver has other places',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedMig();
    const plan = await mig.plan({ gpu: GPU, instances: { '3g.40gb': 1 } });
    machine.writeState(true, ['19@6:1@0']);
    await refused(quick(plan), 'ERR_STALE_PLAN', /not what it was/);
    machine.writeState(true, []);
    // The places of the plan are from another source than those of the driver that is to make them.
    machine.write('nvml.0.mig_starts.9 = 0x01');
    const start = plan.layout[0]?.start;
    assert.equal(start, 4);
    await refused(
      quick(plan),
      'ERR_STALE_PLAN',
      /puts 3g\.40gb of 4 slices at 0; the plan wants 4 at 4/,
    );
    assert.deepEqual(machine.mutations(), []);
    const board = await mig.plan({ board: 'H100-80', instances: { '3g.40gb': 1 } });
    await refused(quick(board), 'ERR_INVALID_ARGUMENT', /for a board/);
  },
);

test(
  'without the right to ask for placements a saved reading serves, else a table that agrees',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedMig();
    const file = await mig.saveProfiles({ gpu: GPU });
    assert.ok(existsSync(file));
    machine.write('error.nvmlDeviceGetGpuInstancePossiblePlacements_v2 = 4@1');
    const saved = await mig.plan({ gpu: GPU, instances: { '3g.40gb': 1 } });
    assert.deepEqual([saved.source.kind, saved.feasible], ['saved', true]);
    await refused(quick(saved), 'ERR_PERMISSION', /cannot be compared/);
    const again = await mig.plan({ saved: file, instances: { '3g.40gb': 1 } });
    assert.deepEqual([again.source.kind, again.gpu], ['saved', null]);
    assert.deepEqual(savedProfiles('other board', '1'), null);
    for (const name of readdirSync(join(machine.stateDir, 'mig-profiles'))) {
      writeFileSync(join(machine.stateDir, 'mig-profiles', name), '{"schema":"other"}');
    }
    const table = await mig.plan({ gpu: GPU, instances: { '3g.40gb': 1 } });
    assert.equal(table.source.kind, 'offline');
    await assert.rejects(mig.plan({ saved: file, instances: {} }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
    assert.deepEqual(machine.mutations(), []);
    // A GPU that no table knows, and a table that differs from what the driver tells without placements.
    machine.write(
      'name = NVIDIA H100 NVL\nerror.nvmlDeviceGetGpuInstancePossiblePlacements_v2 = 4@1',
    );
    await assert.rejects(mig.plan({ gpu: GPU, instances: {} }), { code: 'ERR_UNAVAILABLE' });
  },
);

test('the mode and the reset are consents of their own', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({
    board: 'A100-40',
    mode: false,
    script: 'nvml.0.mig_reset = 1\nnvml.mig_without_reset = 0',
  });
  const plan = await mig.plan({ gpu: GPU, instances: { '7g.40gb': 1 } });
  assert.deepEqual(plan.consents, ['mode', 'reset']);
  const mode = await refused(quick(plan), 'ERR_REFUSED', /switches the MIG mode/);
  assert.match(mode.fix ?? '', /--allow-mode-change/);
  const reset = await refused(quick(plan, { allow: ['mode'] }), 'ERR_REFUSED', /resets the GPU/);
  assert.match(reset.fix ?? '', /--allow-reset/);
  assert.deepEqual(machine.mutations(), []);
  await quick(plan, { allow: ['mode', 'reset'] });
  assert.deepEqual([machine.now(), machine.resets()], ['mode 1 0@0:7@0', 1]);
  // A reset that somebody left owing would switch MIG off again: the mode is asked for once more.
  machine.writeState(true, ['0@0:7@0']);
  writeFileSync(
    machine.state,
    readFileSync(machine.state, 'utf8').replace('gpu 0 1 1', 'gpu 0 1 0'),
  );
  const owed = await mig.plan({ gpu: GPU, instances: { '7g.40gb': 1 } });
  await quick(owed, { allow: ['mode', 'reset'] });
  assert.deepEqual([machine.now(), machine.resets()], ['mode 1 0@0:7@0', 1]);
  // Where no reset is needed none is made, whatever was allowed.
  using hopper = new SimulatedMig({ mode: false });
  const other = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
  await quick(other, { allow: ['mode', 'reset'] });
  assert.deepEqual([hopper.now(), hopper.resets()], ['mode 1 0@0:7@0', 0]);
});

test('a mode that stays pending is no success and is taken back', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({ mode: false, script: 'nvml.0.holders = 1' });
  const plan = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
  await refused(quick(plan, { allow: ['mode'] }), 'ERR_IN_USE', /pending: another client/);
  assert.equal(machine.now(), 'mode 0');
  // The client goes while it is waited for.
  machine.write('live = 1\nnvml.0.holders = 1\nnvml.0.holders@200 = 0');
});

test('one change of a GPU at a time, and the one who waits learns who', NEEDS_FAKE, async () => {
  using _machine = new SimulatedMig();
  const plan = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
  const lock = DeviceLock.acquire(`gpu-${GPU}`, 'test');
  const error = await refused(quick(plan), 'ERR_LOCKED', new RegExp(`pid ${process.pid}`));
  assert.equal(error.holders?.[0]?.pid, process.pid);
  lock.release();
  await quick(plan);
});

test('a driver that takes its time does not block the event loop', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig();
  machine.write('latency_us.nvmlDeviceCreateGpuInstanceWithPlacement = 1000000');
  const plan = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
  let worst = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    worst = Math.max(worst, performance.now() - last);
    last = performance.now();
  }, 5);
  const begun = performance.now();
  await quick(plan);
  clearInterval(timer);
  assert.ok(performance.now() - begun > 1000);
  // Far below the second of the driver; how far is the machine's business.
  assert.ok(worst < 500, `${worst} ms`);
  assert.equal(machine.now(), 'mode 1 0@0:7@0');
});

const CHILD = fileURLToPath(new URL('../../children/mig-unprivileged.js', import.meta.url));

/** Who may what, as a driver has it: instances with read access to a capability file, all with CAP_SYS_ADMIN. */
const RIGHTS: readonly {
  readonly right: 'none' | 'nothing known' | 'nvidia-cap1' | 'SYS_ADMIN';
  /** What is missing for it. */
  readonly instances: string | null;
  readonly mode?: string | null;
}[] = [
  { right: 'nothing known', instances: 'CAP_SYS_ADMIN' },
  {
    right: 'none',
    instances: 'CAP_SYS_ADMIN, or read access to /dev/nvidia-caps/nvidia-cap1 (mig/config)',
    mode: 'CAP_SYS_ADMIN',
  },
  { right: 'nvidia-cap1', instances: null, mode: 'CAP_SYS_ADMIN' },
  { right: 'SYS_ADMIN', instances: null, mode: null },
];

for (const { right, ...missing } of RIGHTS) {
  for (const [what, capability] of Object.entries(missing)) {
    test(`nobody with ${right}: a plan works, and applying ${what} ${capability === null ? 'does' : 'is refused before the first change'}`, {
      skip: NEEDS_FAKE.skip ?? whyNotNobody(),
    }, () => {
      using machine = new SimulatedMig({ mode: what === 'instances' });
      const put = (path: string, text: string, mode: number): void => {
        mkdirSync(join(machine.root, dirname(path)), { recursive: true });
        writeFileSync(join(machine.root, path), text);
        spawnSync('chmod', ['-R', 'a+rwX', machine.folder]);
        chmodSync(join(machine.root, path), mode);
      };
      if (right !== 'nothing known') {
        put('proc/driver/nvidia-caps/mig-minors', 'config 1\nmonitor 2\n', 0o444);
      }
      put('dev/nvidia-caps/nvidia-cap1', '', right === 'nvidia-cap1' ? 0o444 : 0o400);
      const before = machine.now();
      const admin = ['--inh-caps=+sys_admin', '--ambient-caps=+sys_admin'];
      const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
      const as = [...nobody, ...(right === 'SYS_ADMIN' ? admin : [])];
      const run = spawnSync('setpriv', [...as, process.execPath, CHILD], { encoding: 'utf8' });
      assert.equal(run.status, 0, run.stderr);
      const told = JSON.parse(run.stdout) as { steps: number; code: string; capability: string };
      assert.ok(told.steps >= 2);
      assert.deepEqual(
        [told.code, told.capability],
        [capability === null ? null : 'ERR_PERMISSION', capability],
      );
      if (capability === null) assert.equal(machine.now(), 'mode 1 0@0:7@0');
      else assert.deepEqual([machine.mutations(), machine.now()], [[], before]);
    });
  }
}

test(
  'free slots are a metric, and the driver counts what the planner counts',
  NEEDS_FAKE,
  async () => {
    using _machine = new SimulatedMig({ instances: ['19@3:1@0', '14@4:2@0'] });
    const sampler = await monitor.sample({
      sources: [monitor.gpu({ intervalMs: 20, tables: ['mig'] })],
    });
    const rows = await collect(sampler, (all) => (all.get('gpu.mig')?.length ?? 0) >= 7);
    const first = rowsOf(rows, 'gpu.mig', 7).slice(0, 7);
    assert.deepEqual(new Set(first.map((row) => row['gpu'])), new Set([GPU]));
    const [status] = await mig.status();
    assert.deepEqual(
      Object.fromEntries(first.map((row) => [row['profile'], row['free_slots']])),
      status?.freeSlots,
    );
    assert.equal(status?.freeSlots?.['1g.10gb'], 4);
    await sampler.close();
    // One that may not be asked says so.
    using _refused = new SimulatedMig({
      script: 'error.nvmlDeviceGetGpuInstanceRemainingCapacity = 4@1',
    });
    const other = await monitor.sample({
      sources: [monitor.gpu({ intervalMs: 20, tables: ['mig'] })],
    });
    const deadline = performance.now() + 5000;
    const told = () =>
      other.states.some(({ table, reason }) => table === 'gpu.mig' && reason === 'no_permission');
    while (!told() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(told());
    await other.close();
  },
);

test(
  'a sampler lets go of the driver while MIG changes, comes back, and marks the gap',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedMig();
    const sampler = await monitor.sample({
      sources: [monitor.gpu({ intervalMs: 20, tables: ['main'] })],
    });
    const told = () =>
      sampler.states
        .filter(({ key, field }) => key === GPU && field === '')
        .map(({ state, reason }) => `${state} ${reason}`.trim());
    const plan = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
    const before = machine.calls().length;
    await plan.apply();
    const deadline = performance.now() + 15_000;
    while (told().at(-1) !== 'ok' && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(told().slice(0, 2), ['unavailable mig_change', 'ok']);
    // From the sampler's shutdown to the first change nobody but the change itself asks anything.
    const calls = machine.calls().slice(before);
    const change = calls.findIndex((line) => line.startsWith('nvmlDeviceCreateGpuInstance'));
    const shutdown = calls.findIndex((line) => line.startsWith('nvmlShutdown'));
    assert.ok(shutdown >= 0 && shutdown < change);
    assert.deepEqual(
      calls.slice(shutdown, change).filter((line) => line.startsWith('nvmlDeviceGetPowerUsage')),
      [],
    );
    await sampler.close();
  },
);
