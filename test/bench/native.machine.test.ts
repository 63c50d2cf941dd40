import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
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
