import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sample } from '#lib/monitor/sampler';
import { SOURCES } from '#lib/monitor/sources/registry';
import {
  type ListedField,
  type ListedSource,
  listSourcesWith,
  type SourcesList,
} from '#lib/monitor/sources-list';
import { FakeGpus, fakeLibrary, NEEDS_FAKE } from './gpu-fake.ts';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const KNOWN = JSON.parse(
  readFileSync(join(ROOT, 'schemas/known-sources.json'), 'utf8'),
) as SourcesList;
const knownOf = (name: string): ListedSource =>
  KNOWN.sources.find((source) => source.name === name) as ListedSource;

async function listed(name: string): Promise<ListedSource> {
  const descriptors = SOURCES.filter((source) => source.name === name);
  const [source] = (await listSourcesWith(sample, descriptors)).sources;
  return source as ListedSource;
}

/** Sources whose fields the kernel names: another kernel has others. */
const NAMED_BY_THE_KERNEL = ['vmstat', 'meminfo', 'numa'];

test('every source is known with its tables and fields', () => {
  assert.deepEqual(
    KNOWN.sources.map(({ name }) => name),
    SOURCES.map(({ name }) => name),
  );
  for (const { name, tables } of KNOWN.sources) {
    assert.ok(tables.length > 0, name);
    for (const table of tables) assert.ok(table.fields.length > 1, table.name);
  }
});

test('what is known of a source is what it has here', async () => {
  const list = await listSourcesWith(sample);
  for (const source of list.sources.filter(({ unavailable }) => unavailable === null)) {
    const known = knownOf(source.name);
    assert.deepEqual([source.help, source.needs], [known.help, known.needs], source.name);
    for (const table of source.tables) {
      const same = known.tables.find(({ name }) => name === table.name);
      assert.ok(same !== undefined, table.name);
      assert.deepEqual(
        [table.kind, table.grain.replace(/process \d+/, 'a process'), table.keys],
        [same.kind, same.grain, same.keys],
      );
      for (const field of table.fields) {
        const twin: ListedField | undefined = same.fields.find(({ name }) => name === field.name);
        if (twin === undefined && NAMED_BY_THE_KERNEL.includes(source.name)) continue;
        assert.ok(
          twin !== undefined,
          `${table.name}.${field.name}: node scripts/known-sources.mjs`,
        );
        const { type, unit, kind } = field;
        assert.deepEqual(
          { type, unit, kind },
          { type: twin.type, unit: twin.unit, kind: twin.kind },
        );
      }
    }
  }
});

test('of a source that the machine lacks the tables are listed, each field with the reason', async () => {
  const saved = process.env['WARPGAUGE_NVML'];
  process.env['WARPGAUGE_NVML'] = '/nowhere/libnvidia-ml.so.1';
  try {
    const gpu = await listed('gpu');
    assert.equal(gpu.unavailable?.code, 'ERR_LIBRARY_MISSING');
    assert.deepEqual(
      gpu.tables.map(({ name }) => name),
      [
        'gpu',
        'gpu.pcie',
        'gpu.slow',
        'gpu.process',
        'gpu.gpm',
        'gpu.samples',
        'gpu.event',
        'gpu.mig',
        'gpu.process.name',
      ],
    );
    const power = gpu.tables[0]?.fields.find(({ name }) => name === 'power_watts');
    assert.deepEqual([power?.unit, power?.reason], ['watts', 'library_missing']);
    assert.equal(gpu.tables[0]?.costP50Ns, null);
  } finally {
    if (saved === undefined) delete process.env['WARPGAUGE_NVML'];
    else process.env['WARPGAUGE_NVML'] = saved;
  }
});

test('what is known of the gpu source is what it has with a driver', NEEDS_FAKE, async () => {
  using _fake = new FakeGpus('nvml.fans = 1\n', fakeLibrary('13.2'));
  const { tables } = await listed('gpu');
  const plain = (source: ListedSource['tables']) =>
    source.map(({ name, kind, grain, keys, fields }) => ({
      name,
      kind,
      grain,
      keys,
      fields: fields.map(({ reason: _reason, ...field }) => ({
        ...field,
        source: field.source.replace(/, read every \d+ ms$/, ''),
      })),
    }));
  assert.deepEqual(plain(tables), plain(knownOf('gpu').tables));
});
