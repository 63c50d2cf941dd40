import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { WarpgaugeError } from '#lib/errors';
import { mig } from '#lib/mitigate/mig';
import { applyMig, type MigApplyInternals, type MigApplyOptions } from '#lib/mitigate/mig/apply';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { GPU, SimulatedMig } from './simulated-mig.js';

/** Applies an empty layout and gives what it was refused with, or null. */
async function empty(
  options: MigApplyOptions & MigApplyInternals = {},
): Promise<WarpgaugeError | null> {
  const plan = await mig.plan({ gpu: GPU, instances: {} });
  try {
    await applyMig(plan, { announceMs: 0, ...options });
    return null;
  } catch (error) {
    return error as WarpgaugeError;
  }
}

const destroyed = (machine: SimulatedMig): number =>
  machine.mutations().filter((line) => line.startsWith('nvmlComputeInstanceDestroy(')).length;

test('in use for a moment: tried again until it is free', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({
    instances: ['19@0:1@0'],
    script: 'nvml.0.leaked = 20\nnvml.0.leaked@150 = none',
  });
  assert.equal(await empty(), null);
  assert.equal(machine.now(), 'mode 1');
  assert.ok(destroyed(machine) > 1, `${destroyed(machine)} tries`);
});

test('in use to the end: the tries are bounded, and nothing is changed', NEEDS_FAKE, async () => {
  using machine = new SimulatedMig({ instances: ['19@0:1@0'], script: 'nvml.0.leaked = 20' });
  for (const waitMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.equal((await empty({ waitMs }))?.code, 'ERR_INVALID_ARGUMENT');
  }
  const once_ = await empty({ waitMs: 0 });
  assert.deepEqual([once_?.code, once_?.status, destroyed(machine)], ['ERR_IN_USE', 19, 1]);
  assert.match(once_?.message ?? '', /after one try: no list shows by whom/);
  machine.forgetCalls();
  const begun = performance.now();
  const error = await empty({ waitMs: 200 });
  assert.equal(error?.code, 'ERR_IN_USE');
  assert.match(error?.message ?? '', /after \d+ tries/);
  assert.ok(performance.now() - begun >= 200);
  // Each pause is twice the one before it.
  assert.ok(destroyed(machine) > 2 && destroyed(machine) < 10, `${destroyed(machine)} tries`);
  assert.equal(machine.now(), 'mode 1 19@0:1@0');
  // Ctrl-C ends the waiting.
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 100).unref();
  const cut = await empty({ waitMs: 60_000, signal: abort.signal });
  assert.equal(cut?.code, 'ERR_INTERRUPTED');
  assert.deepEqual(await mig.recover(), []);
});

test('who holds it is told: by the capability file of the instance, by the device node, perhaps by a module', {
  ...NEEDS_FAKE,
}, async () => {
  using machine = new SimulatedMig({ instances: ['19@0:1@0'], script: 'nvml.0.leaked = 20' });
  const [gpu] = await mig.status();
  const put = (path: string, text: string): string => {
    const file = join(machine.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  put(`proc/driver/nvidia/gpus/${gpu?.pciAddress}/information`, 'Device Minor: \t 3\n');
  put('proc/driver/nvidia-caps/mig-minors', 'config 1\ngpu3/gi20/access 30\ngpu3/gi2/access 31\n');
  put('proc/modules', 'nvidia_drm 69632 0 - Live 0x0\n');
  const unknown = await empty({ waitMs: 0 });
  assert.deepEqual(unknown?.holders, []);
  assert.match(unknown?.message ?? '', /perhaps .*the kernel module nvidia_drm/);

  const files = ['dev/nvidia3', 'dev/nvidia-caps/nvidia-cap30', 'dev/nvidia-caps/nvidia-cap31'];
  const programs = files.map((path) => {
    const fd = openSync(put(path, ''), 'r');
    const child = spawn('sleep', ['60'], { stdio: [fd, 'ignore', 'ignore'] });
    closeSync(fd);
    return child;
  });
  try {
    await Promise.all(programs.map((child) => once(child, 'spawn')));
    const [onGpu, onInstance] = programs;
    const told = await empty({ waitMs: 0 });
    assert.deepEqual(told?.holders, [{ pid: onInstance?.pid, command: 'sleep 60' }]);
    assert.equal(told?.fix, `kill ${onInstance?.pid}`);
    assert.match(told?.message ?? '', new RegExp(`by pid ${onInstance?.pid} \\(sleep 60\\)`));
    onInstance?.kill('SIGKILL');
    await once(onInstance as object as NodeJS.EventEmitter, 'exit');
    assert.deepEqual(
      (await empty({ waitMs: 0 }))?.holders?.map(({ pid }) => pid),
      [onGpu?.pid],
    );
  } finally {
    for (const child of programs) child.kill('SIGKILL');
  }
});

test('a lack of resources is never tried again: what is there is read, and a new plan asked for', {
  ...NEEDS_FAKE,
}, async () => {
  using machine = new SimulatedMig();
  const plan = await mig.plan({ gpu: GPU, instances: { '1g.10gb': 1 } });
  machine.write('nvml.fail = 23@1');
  const quick = { announceMs: 0, waitMs: 5000 };
  await assert.rejects(applyMig(plan, quick), { code: 'ERR_NVML', status: 23, fix: /new plan/ });
  assert.equal(machine.mutations().length, 1);
  machine.write();
  machine.forgetCalls();
  const start = plan.layout[0]?.start;
  const onStep = (step: string): void => {
    // Another program, which knows no locks.
    if (step === 'journal:after-intent') machine.writeState(true, [`20@${start}:1@0`]);
  };
  await assert.rejects(applyMig(plan, { ...quick, onStep }), (error: WarpgaugeError) => {
    assert.deepEqual([error.code, error.status], ['ERR_STALE_PLAN', 23]);
    assert.match(error.message, /taken meanwhile: by GPU instance 20/);
    return true;
  });
  assert.equal(machine.mutations().length, 1);
  assert.equal(machine.now(), `mode 1 20@${start}:1@0`, 'what others made stays');
});
