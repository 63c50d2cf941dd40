import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it, type TestContext } from 'node:test';
import { parseLines } from '../../bench/child.ts';
import type { BenchDocument, BenchResult } from '../../bench/result.ts';

// Runs the benchmarks of Monitor for moments: that they measure what they say, never how fast. The one of MIG plans has
// a limit that every machine keeps.

const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
after(() => rmSync(folder, { recursive: true }));

function bench(name: string, seconds: number): ReadonlyMap<string, BenchResult> {
  const file = join(folder, `${name}.json`);
  const times = ['--repetitions', '2', '--seconds', `${seconds}`, '--json', file];
  const child = spawnSync(process.execPath, ['out/js/bench/main.js', name, ...times], {
    encoding: 'utf8',
    timeout: 600_000,
  });
  assert.equal(child.status, 0, child.stderr + child.stdout);
  const { results } = JSON.parse(readFileSync(file, 'utf8')) as BenchDocument;
  return new Map(results.map((result) => [result.name, result]));
}

/** All but what this machine lacks was measured twice; the whole case may be what it lacks. */
function measured(
  t: TestContext,
  results: ReadonlyMap<string, BenchResult>,
  names: string[],
): boolean {
  const [first] = results.values();
  if (first?.verdict === 'skipped' && !first.name.includes('/')) {
    t.skip(first.reason ?? '');
    return false;
  }
  assert.deepEqual([...results.keys()], names);
  for (const { name, verdict, reason, pairs, samples } of results.values()) {
    if (verdict === 'skipped') t.diagnostic(`${name}: ${reason}`);
    else assert.deepEqual([pairs, samples.flat().every(Number.isFinite)], [2, true], name);
  }
  return true;
}

it('sample: every source beside its bare calls, and the floor beside itself', (t) => {
  const names = ['perf', 'vmstat', 'meminfo', 'cpu', 'disk', 'net', 'pressure', 'hugepages'];
  const results = bench('sample', 1);
  const all = [...names, 'process'].map((name) => `sample/${name}`);
  if (!measured(t, results, all)) return;
  for (const { name, verdict, limit, floor_band } of results.values()) {
    if (verdict === 'skipped') continue;
    assert.ok(limit !== null && floor_band !== null && floor_band.median > 0, name);
  }
});

it('lane: CPU, lateness and missed deadlines of both sides', (t) => {
  const results = bench('lane', 0.2);
  if (!measured(t, results, ['lane/cpu', 'lane/p99-late', 'lane/missed'])) return;
  assert.equal(results.get('lane/missed')?.unit, 'percent');
  assert.ok((results.get('lane/missed')?.floor_spread?.min ?? 0) >= 0.5);
  assert.ok((results.get('lane/cpu')?.subject_spread?.max ?? Infinity) < 0.4e9);
});

it('lane: a ticker that is asked for 500 deadlines accounts for 500', (t) => {
  const program = 'out/bench/bench/lane_bench';
  for (const side of ['ticker', 'lane']) {
    const args = ['--side', side, '--interval-ns', '200000', '--duration-ns', '100000000'];
    const child = spawnSync(program, args, { encoding: 'utf8' });
    if (child.error || child.status === 3) return t.skip(child.error?.message ?? child.stderr);
    assert.equal(child.status, 0, child.stderr);
    const [line] = parseLines<{ ticks: number; missed: number }>(child.stdout);
    assert.equal((line?.ticks ?? 0) + (line?.missed ?? 0), 500);
  }
});

it('sampler: all rows of half a second come or are counted', (t) => {
  const results = bench('sampler', 0.5);
  const names = ['perf', 'vmstat', 'dropped', 'missed', 'event-loop'];
  if (
    !measured(
      t,
      results,
      names.map((name) => `sampler/${name}`),
    )
  )
    return;
  assert.equal(results.get('sampler/perf')?.floor_spread?.median, 5000);
  for (const name of ['perf', 'vmstat', 'dropped']) {
    assert.equal(results.get(`sampler/${name}`)?.verdict, 'OK', name);
  }
});

it('slabs: both ways lead to the same table', (t) => {
  const results = bench('slabs', 0.05);
  if (!measured(t, results, ['slabs/one', 'slabs/of-1000-rows'])) return;
  assert.match(results.get('slabs/one')?.subject ?? '', /5000 rows x 16 columns/);
});

it('systeminformation: CPU time of every fact on both sides', (t) => {
  const names = ['cpu', 'memory', 'disk', 'network', 'process', 'all', 'idle'];
  const results = bench('systeminformation', 1);
  if (
    !measured(
      t,
      results,
      names.map((name) => `systeminformation/${name}`),
    )
  )
    return;
  for (const { name, subject_spread } of results.values()) {
    assert.ok((subject_spread?.min ?? 0) > 0, name);
  }
});

it('recording: memory, and bytes on disk that no recording can stay below', (t) => {
  const results = bench('recording', 1);
  const names = ['memory', 'disk-10kHz', 'disk-1Hz'].map((name) => `recording/${name}`);
  if (!measured(t, results, names)) return;
  assert.ok((results.get('recording/disk-10kHz')?.ratio?.min ?? 0) > 0.9);
  assert.ok((results.get('recording/disk-1Hz')?.ratio?.min ?? 0) > 0.9);
});

it('gpu: Simulated, and said so in every name', (t) => {
  const results = bench('gpu', 1);
  const [first] = results.values();
  if (first?.verdict === 'skipped') return t.skip(first.reason ?? '');
  for (const { name, subject, pairs } of results.values()) {
    assert.match(name, /^gpu\/Simulated-[18]\//);
    assert.match(subject ?? '', /Simulated/);
    assert.equal(pairs, 2, name);
  }
  for (const gpus of [1, 8]) {
    const wrong = results.get(`gpu/Simulated-${gpus}/pcie-wrong-auto`);
    assert.equal(wrong?.verdict, 'OK', 'wrong PCIe bytes without a mark');
  }
});

it('mig: planning any request takes less than a millisecond', (t) => {
  const results = bench('mig', 1);
  if (!measured(t, results, ['mig/plan_p99'])) return;
  assert.equal(results.get('mig/plan_p99')?.verdict, 'OK');
});
