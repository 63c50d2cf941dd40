// A source in a helper process. What crashes there must leave this process alive.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { IsolatedSource } from '#lib/monitor/isolated';
import { now } from '#lib/monitor/now';
import type { SampledBatch, SourceSpec, StateRow } from '#lib/monitor/types';
import { until } from './gpu-rows.ts';

const VMSTAT: SourceSpec = { source: 'vmstat', intervalMs: 5, options: {} };

interface Opened {
  readonly source: IsolatedSource;
  readonly batches: SampledBatch[];
  readonly states: StateRow[];
}

async function open(spec: SourceSpec, restartMs = 50): Promise<Opened> {
  const batches: SampledBatch[] = [];
  const states: StateRow[] = [];
  const source = await IsolatedSource.open(
    spec,
    { instance: spec.source, batchMs: 20, restartMs },
    { batch: (batch) => batches.push(batch), state: (row) => states.push(row) },
  );
  return { source, batches, states };
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has ended: only its parent has not asked yet.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('batches of a helper come with times of this process', async () => {
  const before = now();
  const { source, batches } = await open(VMSTAT);
  await until(() => batches.length >= 5, 'five batches');
  const after = now();
  assert.deepEqual(
    source.tables.map((table) => table.name),
    ['vmstat'],
  );
  const times = batches[4]?.batch.data.children[0]?.values as BigInt64Array;
  const last = times.at(-1) ?? 0n;
  assert(last > before && last <= after, `${last} is not in ${before} ... ${after}`);
  assert.equal(source.latest()['vmstat']?.length, 1);
  await until(() => (source.stats().tables[0]?.rows ?? 0) > 0, 'statistics');
  await source.close();
  assert.equal(source.pid, undefined);
});

test('a helper that crashes is a state, and is started again', async () => {
  const { source, batches, states } = await open(VMSTAT);
  await until(() => batches.length >= 1, 'the first batch');
  const first = source.pid as number;
  process.kill(first, 'SIGSEGV');
  await until(() => states.some((row) => row.state === 'crashed'), 'the crash');
  const crash = states.find((row) => row.state === 'crashed');
  assert.equal(crash?.code, 11);
  assert.equal(crash?.reason, 'sigsegv');
  assert.equal(crash?.source, 'vmstat');
  const seen = batches.length;
  await until(() => batches.length > seen + 2, 'batches of the next helper');
  assert.notEqual(source.pid, first);
  assert.equal(states.at(-1)?.state, 'ok');
  await source.close();
});

test('a helper that crashes again and again is started more and more rarely', async () => {
  const { source, states } = await open(VMSTAT, 100);
  const crashes = () => states.filter((row) => row.state === 'crashed');
  for (let round = 1; round <= 4; round++) {
    await until(
      () => source.pid !== undefined && states.filter((r) => r.state === 'ok').length === round - 1,
      'a helper',
    );
    process.kill(source.pid as number, 'SIGABRT');
    await until(() => crashes().length === round, `crash ${round}`);
  }
  const times = crashes().map((row) => Number(row.time) / 1e6);
  const gap = (index: number) => (times[index] ?? 0) - (times[index - 1] ?? 0);
  assert(gap(2) >= 200 && gap(3) >= 400, `${[gap(1), gap(2), gap(3)].join(', ')} ms`);
  await source.close();
});

test('what cannot be opened rejects with the code of the source', async () => {
  await assert.rejects(open({ source: 'no-such-source', options: {} }), {
    code: 'ERR_UNKNOWN_SOURCE',
  });
});

test('close ends the helper within a second, also one that is stopped', async () => {
  const { source } = await open(VMSTAT);
  const pid = source.pid as number;
  process.kill(pid, 'SIGSTOP');
  const begin = performance.now();
  await source.close();
  assert(performance.now() - begin < 1000);
  assert.equal(isAlive(pid), false);
});

test('the helper dies with its parent, also on kill -9', async () => {
  const parent = spawn(
    process.execPath,
    [fileURLToPath(new URL('../children/isolating.js', import.meta.url))],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const text = await new Promise<string>((resolve) => {
    parent.stdout.once('data', (data: Buffer) => resolve(data.toString()));
  });
  const pid = Number(text);
  assert(isAlive(pid), `helper ${text} runs`);
  parent.kill('SIGKILL');
  await until(() => !isAlive(pid), 'the helper to end', 5000);
  assert(!existsSync(`/proc/${pid}`) || !isAlive(pid));
});
