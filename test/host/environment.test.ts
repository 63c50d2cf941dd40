import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { environment } from 'warpgauge';
import { diffEnvironments } from '#lib/host/environment';
import { pool, SERVER, tree } from './tree.js';

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(
  JSON.parse(
    readFileSync(new URL('../../../../schemas/environment-1.schema.json', import.meta.url), 'utf8'),
  ) as object,
);

async function record(t: TestContext, changes: Record<string, string> = {}) {
  const result = await environment({ root: tree(t, { ...SERVER, ...changes }) });
  assert.ok(validate(JSON.parse(JSON.stringify(result))), JSON.stringify(validate.errors));
  return result;
}

test('this machine, and one that tells nothing, give valid records', async (t) => {
  for (const root of ['/', tree(t, {})]) {
    const result = await environment({ root });
    assert.ok(validate(JSON.parse(JSON.stringify(result))), JSON.stringify(validate.errors));
  }
});

test('a server: what someone needs to compare results', async (t) => {
  const result = await record(t);
  assert.equal(result.kernel, '6.1.0-27-amd64');
  assert.equal(result.os, 'Debian GNU/Linux 12 (bookworm)');
  assert.equal(result.hypervisor, 'none');
  assert.equal(result.cpu.llc_bytes, 107520 * 1024);
  assert.equal(result.limits.memlock_bytes, 8388608);
  assert.equal(result.numa_nodes, 2);
  assert.match(result.tool.glibc ?? '', /^2\.\d+$/);
});

test('the machine id is told by its hash only', async (t) => {
  const result = await record(t);
  assert.match(result.host.machine_id_hash ?? '', /^[0-9a-f]{16}$/);
  assert.equal(JSON.stringify(result).includes('0123456789abcdef0123456789abcdef'), false);
});

test('the hash is stable, ignores pools and names, and follows what decides', async (t) => {
  const { hash } = await record(t);
  const same = async (changes: Record<string, string>) => (await record(t, changes)).hash === hash;
  assert.equal(await same({}), true);
  assert.equal(await same(pool(2048, { nr: 2048, free: 7 })), true);
  assert.equal(await same({ '/proc/sys/kernel/hostname': 'gpu08\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/random/boot_id': 'other\n' }), true);
  assert.equal(await same({ '/proc/self/status': 'Cpus_allowed_list:\t3\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/osrelease': '6.1.0-28-amd64\n' }), false);
  assert.equal(await same({ '/proc/sys/kernel/numa_balancing': '1\n' }), false);
  assert.equal(
    await same({ '/sys/kernel/mm/transparent_hugepage/enabled': '[always] madvise never\n' }),
    false,
  );
});

test('diff: every field that differs, those that decide first, and none that always differs', async (t) => {
  const a = await record(t);
  const b = await record(t, {
    '/proc/sys/kernel/hostname': 'gpu08\n',
    '/proc/sys/kernel/numa_balancing': '1\n',
    ...pool(2048, { nr: 1024, free: 5 }),
  });
  const differences = diffEnvironments({ ...a }, { ...b });
  assert.deepEqual(
    differences.map(({ field, decides }) => [field, decides]),
    [
      ['numa_balancing', true],
      ['hugetlb.0.free', false],
      ['host.hostname', false],
    ],
  );
  assert.deepEqual([differences[0]?.a, differences[0]?.b], [0, 1]);
  assert.deepEqual(diffEnvironments({ ...a }, { ...a, recorded: 'later' }), []);
});
