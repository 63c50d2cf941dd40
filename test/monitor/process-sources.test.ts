import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { mitigate, monitor, WarpgaugeError } from 'warpgauge';
import type { Row, SampledBatch, Sampler, SourceSpec } from '#lib/monitor/types';

/** A sampler with one source, or null with the test skipped where the machine forbids it. */
async function open(t: TestContext, source: SourceSpec): Promise<Sampler | null> {
  try {
    return await monitor.sample({ sources: [source], batchMs: 20 });
  } catch (error) {
    if (!(error instanceof WarpgaugeError && error.code === 'ERR_PERMISSION')) throw error;
    t.skip(error.message);
    return null;
  }
}

const rowsOf = ({ batch }: SampledBatch): Record<string, unknown>[] =>
  batch.toArray().map((row) => row.toJSON());

async function collect(sampler: Sampler, table: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const sampled of sampler) if (sampled.table === table) rows.push(...rowsOf(sampled));
  return rows;
}

test('first touches of an own region are rows that name it; population is none', async (t) => {
  const sampler = await open(t, monitor.pageFaults({ intervalMs: 5 }));
  if (sampler === null) return;
  const rows = collect(sampler, 'page-faults');
  const PAGES = 200;
  const touched = await mitigate.allocate({ bytes: PAGES * 4096, pages: '4k', populate: false });
  const populated = await mitigate.allocate({ bytes: PAGES * 4096, pages: '4k' });
  assert.notEqual(touched.id, populated.id);
  assert.equal(touched.grantedPages, null);
  for (const region of [touched, populated]) {
    const view = region.view();
    for (let at = 0; at < view.length; at += 4096) view[at] = 1;
  }
  const { address } = touched;
  touched.close();
  populated.close();
  await setTimeout(200);
  const latest = sampler.latest();
  await sampler.close();
  const faults = await rows;
  const inside = faults.filter((row) => row['region'] === BigInt(touched.id));
  assert.equal(inside.length, PAGES);
  assert.deepEqual(
    inside.map((row) => row['address']),
    Array.from({ length: PAGES }, (_, page) => address + BigInt(page * 4096)),
  );
  assert.ok(inside.every((row) => row['page_kind'] === '4k' && row['kind'] === 'minor'));
  assert.ok(inside.every((row) => row['pid'] === process.pid));
  assert.equal(faults.filter((row) => row['region'] === BigInt(populated.id)).length, 0);
  // Cumulative per kind, as of an event table.
  assert.ok((latest['page-faults'] as readonly Row[]).length > 0);
});

test('faults that perf cannot see are counted beside those it sees', async (t) => {
  const sampler = await open(t, monitor.process({ intervalMs: 5 }));
  if (sampler === null) return;
  const { schema } = sampler.tables.find(({ name }) => name === 'process') as {
    schema: { fields: { name: string; metadata: Map<string, string> }[] };
  };
  const reason = schema.fields.find(({ name }) => name === 'faults_unseen')?.metadata.get('reason');
  if (reason) {
    await sampler.close();
    t.skip(`faults_unseen is null here: ${reason}`);
    return;
  }
  const rows = collect(sampler, 'process');
  await setTimeout(50);
  const region = await mitigate.allocate({ bytes: 1000 * 4096, pages: '4k' });
  await setTimeout(100);
  region.close();
  await sampler.close();
  const seen = await rows;
  const [first, last] = [seen[0], seen.at(-1)] as [Record<string, bigint>, Record<string, bigint>];
  assert.equal(first['pid'], process.pid);
  const unseen = Number((last['faults_unseen'] ?? 0n) - (first['faults_unseen'] ?? 0n));
  assert.ok(unseen >= 1000 && unseen < 1100, `${unseen} faults unseen`);
  let before = 0n;
  for (const row of seen as Record<string, bigint>[]) {
    assert.ok((row['faults_unseen'] ?? -1n) >= before, 'a count never falls');
    before = row['faults_unseen'] as bigint;
  }
});

test('what is not there is an error with a code', async () => {
  const code = (wanted: string) => (error: unknown) =>
    error instanceof WarpgaugeError && error.code === wanted;
  const sample = (source: SourceSpec) => monitor.sample({ sources: [source] });
  const gone = 2 ** 31 - 1;
  await assert.rejects(sample(monitor.process({ pid: gone })), code('ERR_GONE'));
  assert.throws(() => monitor.process({ pid: 1.5 }), code('ERR_INVALID_ARGUMENT'));
  await assert.rejects(sample(monitor.process({ pid: 1, tree: 1 })), code('ERR_INVALID_ARGUMENT'));
  await assert.rejects(
    sample(monitor.pageFaults({ ringBytes: 5000 })),
    code('ERR_INVALID_ARGUMENT'),
  );
  await assert.rejects(
    sample(monitor.pageFaults({ pid: 1, system: true })),
    code('ERR_INVALID_ARGUMENT'),
  );
  await assert.rejects(sample(monitor.cgroup({ path: 'serve' })), code('ERR_INVALID_ARGUMENT'));
});
