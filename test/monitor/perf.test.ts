import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { monitor, WarpgaugeError } from 'warpgauge';
import { parseSourceSpec } from '#lib/monitor/source-spec';
import type { Row, Sampler, SourceSpec } from '#lib/monitor/types';

async function open(t: TestContext, source: SourceSpec): Promise<Sampler | null> {
  try {
    return await monitor.sample({ sources: [source], batchMs: 20 });
  } catch (error) {
    if (!(error instanceof WarpgaugeError && error.code === 'ERR_PERMISSION')) throw error;
    t.skip(error.message);
    return null;
  }
}

const codeOf = (source: SourceSpec): Promise<string> =>
  monitor.sample({ sources: [source] }).then(
    async (sampler) => {
      await sampler.close();
      return 'none';
    },
    (error: unknown) => {
      assert.ok(error instanceof WarpgaugeError, String(error));
      return error.code;
    },
  );

test('counts of this process rise, in columns named after the events', async (t) => {
  const sampler = await open(
    t,
    monitor.perf({ events: ['page-faults', 'context-switches', 'task-clock'], intervalMs: 2 }),
  );
  if (sampler === null) return;
  const faults: bigint[] = [];
  const reading = (async () => {
    for await (const { table, batch } of sampler) {
      if (table !== 'perf') continue;
      for (const row of batch) faults.push(row['page_faults']);
    }
  })();
  await setTimeout(50);
  const touched = Buffer.alloc(8 << 20, 1);
  await setTimeout(50);
  const row = sampler.latest()['perf']?.[0] as Row;
  await sampler.close();
  await reading;
  assert.equal(touched[4096], 1);
  assert.ok(faults.length > 10, `${faults.length} rows`);
  assert.ok(faults.every((count, at) => at === 0 || count >= (faults[at - 1] ?? 0n)));
  assert.ok((faults.at(-1) ?? 0n) > (faults[0] ?? 0n));
  assert.deepEqual(Object.keys(row), [
    'time',
    'page_faults',
    'context_switches',
    'task_clock_ns',
    'time_enabled_ns',
    'time_running_ns',
    'scaled',
  ]);
  assert.equal(row['scaled'], false);
  const field = sampler.tables
    .find(({ name }) => name === 'perf')
    ?.schema.fields.find(({ name }) => name === 'page_faults');
  assert.match(field?.metadata.get('source') ?? '', /^perf page-faults \(type=1 config=0x2/);
});

test('bad events and targets have their codes', async () => {
  assert.equal(await codeOf(monitor.perf({ events: ['page-falts'] })), 'ERR_UNKNOWN_EVENT');
  assert.equal(await codeOf(monitor.perf({ events: ['page-faults'], pid: 4194304 })), 'ERR_GONE');
  assert.equal(
    await codeOf(monitor.perf({ events: ['page-faults'], pid: 1, tid: 1 })),
    'ERR_INVALID_ARGUMENT',
  );
});

test('the text of --source and the builder say the same', () => {
  const events = ['page-faults', 'cpu/event=0x3c,umask=1/u'];
  assert.deepEqual(
    parseSourceSpec('perf:events=page-faults+cpu/event=0x3c,umask=1/u,per=cpu,cpu=0+1+3'),
    monitor.perf({ events, cpu: [0, 1, 3], per: 'cpu' }),
  );
  for (const bad of [
    'perf:pid=x',
    'perf:cpu=a',
    'perf:per=node',
    'perf:cgroup=x',
    'perf:system=1',
  ]) {
    assert.throws(() => parseSourceSpec(bad), { code: 'ERR_INVALID_ARGUMENT' }, bad);
  }
});
