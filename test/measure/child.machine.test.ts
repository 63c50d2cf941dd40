import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WarpgaugeError } from 'warpgauge';
import type { NativeSampleSpec } from '#lib/addon';
import { CopyChild } from '#lib/measure/memcpy/copy-child';
import { MiB } from '#lib/units';
import { whyNoZeroPage } from './zero-page.ts';

const HOST = { backend: 'host', device: 0, cudaPath: '', nvmlPath: '' } as const;
const SPEC: NativeSampleSpec = {
  op: 'DtoH',
  pin: 'none',
  state: 'cold',
  kind: '4k',
  bytes: 4 * MiB,
  patternSeed: 1,
  numaNode: -1,
  condition: true,
  fill: true,
  flushBytes: 0,
  dropPage: -1,
  stretch: 0,
  witness: false,
};
const children: CopyChild[] = [];
after(async () => {
  for (const child of children) await child.kill();
});

async function start(cpu = -1): Promise<CopyChild> {
  const child = await CopyChild.start({ cpu, backend: HOST });
  children.push(child);
  return child;
}

const rejectsWith = (code: string) => (error: unknown) =>
  error instanceof WarpgaugeError && error.code === code;

test('a child answers samples and ends when it is closed', async () => {
  const child = await start();
  const sample = await child.sample(SPEC);
  assert.equal(sample.minfltThread, 1024);
  assert.equal(sample.verified, true);
  await child.close();
  assert.equal(child.alive, false);
});

test('the copying thread runs on the processor it was told', async () => {
  const child = await start(0);
  const status = readFileSync(`/proc/${child.pid}/task/${child.pid}/status`, 'utf8');
  assert.match(status, /^Cpus_allowed_list:\s*0$/m);
  await child.close();
});

test('a processor that does not exist is an error with the command that lists them', async () => {
  await assert.rejects(CopyChild.start({ cpu: 1023, backend: HOST }), (error) => {
    assert.ok(error instanceof WarpgaugeError);
    assert.equal(error.code, 'ERR_SYSCALL');
    assert.match(error.fix ?? '', /Cpus_allowed_list/);
    return true;
  });
});

test('a killed child rejects the request in progress and all later ones', async () => {
  const child = await start();
  const pending = child.sample({ ...SPEC, bytes: 512 * MiB });
  setTimeout(() => process.kill(child.pid, 'SIGKILL'), 30);
  await assert.rejects(pending, rejectsWith('ERR_CHILD_DIED'));
  await assert.rejects(child.sample(SPEC), rejectsWith('ERR_CHILD_DIED'));
});

test('an error of native code crosses the pipe whole', async (t) => {
  const why = await whyNoZeroPage();
  if (why !== false) return t.skip(why);
  const child = await start();
  await assert.rejects(
    child.sample({ ...SPEC, op: 'HtoD', state: 'warm', fill: false }),
    rejectsWith('ERR_ZERO_PAGES'),
  );
  // The child is none the worse for it.
  assert.equal((await child.sample(SPEC)).verified, true);
  await child.close();
});

test('Ctrl-C at the terminal leaves the child to its parent', async () => {
  const child = await start();
  process.kill(child.pid, 'SIGINT');
  await sleep(50);
  assert.equal((await child.sample(SPEC)).verified, true);
  await child.close();
});

test('the child dies with its parent, also by kill -9', async () => {
  const script = `
    const { CopyChild } = await import('${import.meta.resolve('#lib/measure/memcpy/copy-child')}');
    const child = await CopyChild.start({ cpu: -1, backend: ${JSON.stringify(HOST)} });
    console.log(child.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = await new Promise<number>((resolve) => {
    parent.stdout.once('data', (data) => resolve(Number(String(data))));
  });
  assert.ok(existsSync(`/proc/${pid}`));
  parent.kill('SIGKILL');
  const deadline = Date.now() + 3000;
  // A zombie waits for init; what counts is that it runs no more.
  const runs = () =>
    existsSync(`/proc/${pid}`) && !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  while (runs() && Date.now() < deadline) await sleep(10);
  assert.equal(runs(), false);
});
