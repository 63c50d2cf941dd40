import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readAudit } from '#lib/audit';
import { mig } from '#lib/mitigate/mig';
import { applyMig, applyMigs, type HeldMig, holdMig } from '#lib/mitigate/mig/apply';
import { readIntent } from '#lib/mitigate/transaction/lock';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { GPU, SECOND_GPU, SimulatedMig } from './simulated-mig.js';

const CHILD = fileURLToPath(new URL('../../children/mig-hold.js', import.meta.url));
const MAIN = fileURLToPath(new URL('../../../../../dist/cli/main.js', import.meta.url));

/** One instance that goes, and one that is made in its place. */
const GIVEN = { instances: ['19@0:1@0', '9@4:2@0'] };
const FOUND = 'mode 1 19@0:1@0 9@4:2@0';
const WANT = { '2g.20gb': 1 };
const MADE = 'mode 1 14@4:2@0';
const quick = { announceMs: 0 } as const;

/** Waits until the GPU is divided so, at most `ms`; gives how it is divided then. */
async function until(machine: SimulatedMig, state: string, ms: number): Promise<string> {
  const deadline = performance.now() + ms;
  while (machine.now() !== state && performance.now() < deadline) await sleep(5);
  return machine.now();
}

/** Ends what a failed test left. */
function start(t: TestContext, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** A process that holds the layout, and what it says of it. */
async function holder(
  t: TestContext,
  ...more: string[]
): Promise<{ readonly child: ChildProcess; readonly held: HeldMig }> {
  const child = start(t, CHILD, JSON.stringify(WANT), ...more);
  let said = '';
  for await (const chunk of child.stdout ?? []) {
    said += chunk;
    if (said.endsWith('\n')) break;
  }
  return { child, held: JSON.parse(said) as HeldMig };
}

const planNow = () => mig.plan({ gpu: GPU, instances: WANT });

test('held: others may use the GPU and not divide it; at the end of the block it is as before', {
  ...NEEDS_FAKE,
}, async () => {
  using machine = new SimulatedMig(GIVEN);
  {
    await using held = await holdMig(await planNow(), quick);
    assert.equal(machine.now(), MADE);
    assert.deepEqual([held.changed, held.expires, held.guardian?.reason], [true, null, null]);
    assert.equal(held.devices.length, 1);
    // Samplers let go of a GPU for an intent that begins with `mig: `.
    assert.match(readIntent(`gpu-${GPU}`)?.intent ?? '', /^held: mig: destroy 2, create 1/);
    await assert.rejects(applyMig(await mig.plan({ gpu: GPU, instances: {} }), quick), {
      code: 'ERR_LOCKED',
    });
    assert.deepEqual(
      (await mig.recover()).map(({ state, outcome }) => [state, outcome]),
      [['held', 'untouched']],
    );
    await held.release();
    assert.equal(machine.now(), FOUND);
  }
  assert.equal(machine.now(), FOUND);
  assert.deepEqual(await mig.recover(), []);
  // Nothing to change is nothing to hold.
  await using same = await holdMig(
    await mig.plan({ gpu: GPU, instances: { '1g.10gb': 1, '2c.3g.40gb': 1 } }),
    quick,
  );
  assert.deepEqual([same.changed, same.transaction, same.guardian?.pid], [false, null, null]);
  const change = await applyMig(await planNow(), quick);
  assert.deepEqual([change.guardian, change.expires], [null, null]);
});

test('kill -9 of the holder: the guardian restores within 2 s, and recover has nothing left', {
  ...NEEDS_FAKE,
}, async (t) => {
  using machine = new SimulatedMig(GIVEN);
  const { child, held } = await holder(t);
  assert.equal(machine.now(), MADE);
  assert.ok((held.guardian?.pid ?? 0) > 0, held.guardian?.reason ?? '');
  const begun = performance.now();
  child.kill('SIGKILL');
  assert.equal(await until(machine, FOUND, 2000), FOUND);
  t.diagnostic(`restored ${Math.round(performance.now() - begun)} ms after the kill`);
  assert.deepEqual(await settledSoon(), []);
});

/** The guardian ends its journal a moment after the last change of the GPU. */
async function settledSoon(): Promise<readonly object[]> {
  for (let left = 100; ; left--) {
    const journals = await mig.recover({ patienceMs: 0 });
    if (journals.length === 0 || left === 0) return journals;
    await sleep(20);
  }
}

test('without a guardian a killed holder is left to recover, and the result says so', {
  ...NEEDS_FAKE,
}, async (t) => {
  using machine = new SimulatedMig(GIVEN);
  const { child, held } = await holder(t, '', 'none');
  assert.deepEqual(held.guardian, { pid: null, reason: 'none was asked for' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(machine.now(), MADE);
  // Samplers let go of the GPU for its recovery as they did for the change.
  const intents = new Set<string | undefined>();
  const onStep = () => intents.add(readIntent(`gpu-${GPU}`)?.intent.split(' of ')[0]);
  const [settled] = await mig.recover({ onStep });
  assert.deepEqual([...intents], ['mig: recover']);
  assert.deepEqual(
    [settled?.state, settled?.outcome, machine.now()],
    ['abandoned', 'undone', FOUND],
  );
  assert.deepEqual(await mig.recover(), []);
});

test('a holder that is told to end restores; one whose time is over does, stopped or not', {
  ...NEEDS_FAKE,
}, async (t) => {
  using machine = new SimulatedMig(GIVEN);
  const polite = await holder(t);
  polite.child.kill('SIGTERM');
  assert.deepEqual(await once(polite.child, 'exit'), [0, null]);
  assert.equal(machine.now(), FOUND);
  {
    await using held = await holdMig(await planNow(), { ...quick, ttlMs: 150 });
    assert.ok(Date.parse(held.expires ?? '') > Date.now() - 1000);
    assert.equal(await until(machine, FOUND, 2000), FOUND);
  }
  // Stopped, it keeps its locks: the guardian waits for its death.
  const stopped = await holder(t, '150');
  stopped.child.kill('SIGSTOP');
  await sleep(300);
  assert.equal(machine.now(), MADE);
  stopped.child.kill('SIGKILL');
  assert.equal(await until(machine, FOUND, 2000), FOUND);
  assert.deepEqual(await settledSoon(), []);
});

test('applied with a time: it stays beyond its process until then, or until it is released', {
  ...NEEDS_FAKE,
}, async () => {
  using machine = new SimulatedMig(GIVEN);
  const applied = await applyMig(await planNow(), { ...quick, ttlMs: 3_600_000 });
  assert.equal(machine.now(), MADE);
  assert.deepEqual(
    (await mig.recover()).map(({ state, outcome }) => [state, outcome]),
    [['committed', 'untouched']],
  );
  // Another layout on top of it would be undone in part.
  const other = await mig.plan({ gpu: GPU, instances: { '7g.80gb': 1 } });
  await assert.rejects(applyMig(other, quick), { code: 'ERR_REFUSED', fix: /mig release/ });
  assert.equal((await mig.release())[0]?.outcome, 'undone');
  assert.equal(machine.now(), FOUND);
  assert.deepEqual(await mig.release(), []);
  assert.ok(applied.guardian?.pid);
  // Longer than the change itself takes on a busy machine: it must stand before its time is over.
  await applyMig(await planNow(), { ...quick, ttlMs: 1000 });
  assert.equal(await until(machine, FOUND, 4000), FOUND);
  assert.deepEqual(await settledSoon(), []);
});

test('what is in use when the time is over is restored when it is free', {
  ...NEEDS_FAKE,
}, async () => {
  using machine = new SimulatedMig(GIVEN);
  const held = await holdMig(await planNow(), { ...quick, waitMs: 0 });
  const made = held.devices[0]?.gpuInstance;
  machine.write(`nvml.0.leaked = ${made}`);
  await assert.rejects(held.release(), { code: 'ERR_IN_USE' });
  assert.equal(machine.now(), `${MADE} 19@0:1@0`, 'what could be restored is');
  machine.write();
  await held.release();
  assert.equal(machine.now(), FOUND);
});

test('warpgauge mig apply --hold: SIGTERM restores, exit code 130, and the audit log has all', {
  ...NEEDS_FAKE,
}, async (t) => {
  using machine = new SimulatedMig(GIVEN);
  const args = ['mig', 'apply', '--want', '2g.20gb=1', '--yes', '--hold', '--ttl', '10m'];
  const child = start(t, MAIN, ...args);
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  while (!said.includes('Ctrl-C') && child.exitCode === null) await sleep(10);
  assert.equal(machine.now(), MADE, said);
  assert.match(said, /guardian: pid \d+ restores the layout of before at \d{4}-/);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'close'), [130, null]);
  assert.equal(machine.now(), FOUND);
  assert.match(said, /restored the layout of before/);
  const reasons = readAudit(machine.stateDir).map(({ reason }) => reason);
  assert.deepEqual(
    [reasons.filter((one) => one === 'apply').length, new Set(reasons).size],
    [reasons.length / 2, 2],
  );
});

test('warpgauge mig apply --hold of two GPUs: both come back, and the first does when the second cannot be divided', {
  ...NEEDS_FAKE,
}, async (t) => {
  const script = 'devices = 2\nnvml.1.mig_board = H100-80';
  using machine = new SimulatedMig({ ...GIVEN, script });
  appendFileSync(machine.state, 'gpu 1 1 1\n');
  const file = join(machine.folder, 'layouts.yaml');
  writeFileSync(
    file,
    `version: v1
mig-configs:
  halves:
    - devices: all
      mig-enabled: true
      mig-devices: { "2g.20gb": 1 }
`,
  );
  const args = ['mig', 'apply', '--file', file, '--config', 'halves', '--yes', '--hold'];
  const hold = (): { readonly child: ChildProcess; said(): string } => {
    const child = start(t, MAIN, ...args, '--wait', '50ms');
    let text = '';
    child.stderr?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    return { child, said: () => text };
  };
  const both = hold();
  while (!both.said().includes('Ctrl-C') && both.child.exitCode === null) await sleep(10);
  assert.deepEqual([machine.now(0), machine.now(1)], [MADE, MADE], both.said());
  both.child.kill('SIGTERM');
  assert.deepEqual(await once(both.child, 'close'), [130, null]);
  assert.deepEqual([machine.now(0), machine.now(1)], [FOUND, 'mode 1']);

  machine.write('nvml.1.error.nvmlDeviceCreateGpuInstanceWithPlacement = 19');
  const one = hold();
  const [code] = await once(one.child, 'close');
  assert.equal(code, 1, one.said());
  assert.deepEqual([machine.now(0), machine.now(1)], [FOUND, 'mode 1'], one.said());
  assert.match(one.said(), /restored the layout of before/);
  assert.deepEqual(await mig.recover(), []);

  // To stay, they are made on all or on none, too.
  const stay = start(t, MAIN, ...args.slice(0, -1), '--wait', '50ms');
  assert.equal((await once(stay, 'close'))[0], 1);
  assert.deepEqual([machine.now(0), machine.now(1)], [FOUND, 'mode 1']);
  assert.deepEqual(await mig.recover(), []);
});

test('several GPUs are divided to stay on all or on none', NEEDS_FAKE, async () => {
  const script = 'devices = 2\nnvml.1.mig_board = H100-80';
  using machine = new SimulatedMig({ ...GIVEN, script });
  appendFileSync(machine.state, 'gpu 1 1 1\n');
  const both = () => [machine.now(0), machine.now(1)];
  const found = [FOUND, 'mode 1'];
  const plans = async () => [await planNow(), await mig.plan({ gpu: SECOND_GPU, instances: WANT })];
  machine.write('nvml.1.error.nvmlDeviceCreateGpuInstanceWithPlacement = 19');
  await assert.rejects(applyMigs(await plans(), { ...quick, waitMs: 0 }), { code: 'ERR_IN_USE' });
  assert.deepEqual(both(), found);
  machine.write();
  const interrupt = new AbortController();
  const onStep = (): void => {
    if (machine.now(0) === MADE) interrupt.abort();
  };
  const { signal } = interrupt;
  await assert.rejects(applyMigs(await plans(), { ...quick, signal, onStep }), {
    code: 'ERR_INTERRUPTED',
  });
  assert.deepEqual(both(), found);
  assert.deepEqual(await mig.recover(), []);
  const applied = await applyMigs(await plans(), quick);
  assert.deepEqual(both(), [MADE, MADE]);
  assert.deepEqual(
    applied.map(({ gpu, changed, guardian }) => [gpu, changed, guardian]),
    [
      [GPU, true, null],
      [SECOND_GPU, true, null],
    ],
  );
  assert.deepEqual(await mig.recover(), []);
  assert.deepEqual(both(), [MADE, MADE]);
});
