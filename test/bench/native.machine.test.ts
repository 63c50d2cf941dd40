import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLines } from '../../bench/child.ts';
import { ratioOf } from '../../bench/pairs.ts';
import type { BenchDocument, BenchResult } from '../../bench/result.ts';

// Builds the native halves in Release and runs them a few times: that they work, never how fast.

const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
after(() => rmSync(folder, { recursive: true }));

function bench(name: string): readonly BenchResult[] {
  const file = join(folder, `${name}.json`);
  const args = ['out/js/bench/main.js', name, '--repetitions', '3', '--json', file];
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 600_000 });
  assert.equal(child.status, 0, child.stderr + child.stdout);
  return (JSON.parse(readFileSync(file, 'utf8')) as BenchDocument).results;
}

const sized = (result: BenchResult): boolean => result.pairs === 3 && (result.ratio?.min ?? 0) > 0;

it('copy: three sizes in both directions', (t) => {
  const results = bench('copy');
  if (results[0]?.verdict === 'skipped') return t.skip(results[0].reason ?? '');
  assert.deepEqual(
    results.map(({ name }) => name),
    ['1MiB', '16MiB', '64MiB'].flatMap((size) => [`copy/HtoD/${size}`, `copy/DtoH/${size}`]),
  );
  assert.ok(results.every(sized));
  assert.ok(results.every(({ limit }) => limit !== null));
});

it('copy: a timed region that is made twice as long is seen as that', (t) => {
  if (!existsSync('out/bench/bench/copy_bench')) return t.skip('cmake is missing');
  const median = (stretch: string): number => {
    const args = ['--bytes', `${16 * 2 ** 20}`, '--rounds', '21', '--stretch', stretch];
    const child = spawnSync('out/bench/bench/copy_bench', args, { encoding: 'utf8' });
    assert.equal(child.status, 0, child.stderr);
    const lines = parseLines<{ backend_ns: number; floor_ns: number }>(child.stdout);
    return ratioOf(lines.map(({ backend_ns, floor_ns }) => [backend_ns, floor_ns])).median;
  };
  assert.ok(median('1') > 1.5);
  assert.ok(median('0') < 1.5);
});

it('populate: held to its limit on 2m alone, and the pool is left as it was', (t) => {
  const pool = () => readFileSync('/proc/sys/vm/nr_hugepages', 'utf8');
  const before = pool();
  const results = bench('populate');
  assert.equal(pool(), before);
  if (results[0]?.name === 'populate') return t.skip(results[0].reason ?? '');
  for (const result of results) {
    if (result.verdict === 'skipped') t.diagnostic(`${result.name}: ${result.reason}`);
    else assert.ok(sized(result), result.name);
  }
  const limited = results.filter(({ limit }) => limit !== null).map(({ name }) => name);
  assert.ok(limited.every((name) => name.startsWith('populate/2m/')));
  assert.ok(results.some(({ name, pairs }) => name === 'populate/4k/2-threads' && pairs === 3));
  if (results.some(({ name, verdict }) => name === 'populate/2m' && verdict === 'skipped')) return;
  for (const name of ['1-thread', '2-threads']) {
    assert.ok(limited.includes(`populate/2m/${name}`), name);
  }
});

it('populate: Ctrl-C gives the pages back', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('growing a pool needs root');
  if (!existsSync('out/bench/bench/populate_bench')) return t.skip('cmake is missing');
  const pool = () => Number(readFileSync('/proc/sys/vm/nr_hugepages', 'utf8'));
  const before = pool();
  const args = ['out/js/bench/main.js', 'populate', '--repetitions', '1000'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'close');
  // Until the pool has grown; where it holds enough already, some seconds into the work.
  for (let i = 0; i < 200 && pool() === before && child.exitCode === null; i++) await sleep(50);
  child.kill('SIGINT');
  assert.deepEqual(await ended, [130, null]);
  assert.equal(pool(), before);
});
