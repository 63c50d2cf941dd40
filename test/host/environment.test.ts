import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { environment } from 'warpgauge';
import { canonicalJson, diffEnvironments } from '#lib/host/environment';
import { pool, SERVER, tree } from './tree.js';

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(
  JSON.parse(
    readFileSync(new URL('../../../../schemas/environment-2.schema.json', import.meta.url), 'utf8'),
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

type Flat = Map<string, unknown>;

function flatten(value: unknown, path = '', into: Flat = new Map()): Flat {
  if (value === null || typeof value !== 'object') into.set(path, value);
  else for (const [key, item] of Object.entries(value)) flatten(item, `${path}.${key}`, into);
  return into;
}

test('more than 100 fields, and every null has its reason', async (t) => {
  for (const root of ['/', tree(t, {}), tree(t, SERVER)]) {
    const { identity, process: own, state, host, reasons } = await environment({ root });
    const fields = flatten({ identity, process: own, state, host });
    assert.ok(fields.size >= 100, `${fields.size} fields`);
    for (const [path, value] of fields) {
      if (value !== null || /\.\d+(\.|$)/.test(path)) continue; // items of lists: nodes, pools
      assert.ok(reasons[path.slice(1)], `${path} is null without a reason`);
    }
    for (const path of Object.keys(reasons)) assert.equal(fields.get(`.${path}`), null, path);
  }
});

test('a server: what someone needs to compare results', async (t) => {
  const { identity, process: own, host } = await record(t);
  const fields = flatten({ identity, process: own, host });
  assert.equal(fields.get('.identity.kernel.release'), '6.1.0-27-amd64');
  assert.equal(fields.get('.identity.kernel.os'), 'Debian GNU/Linux 12 (bookworm)');
  assert.equal(fields.get('.identity.hardware.hypervisor'), 'none');
  assert.equal(fields.get('.identity.hardware.cache.llc_bytes'), 107520 * 1024);
  assert.equal(fields.get('.process.limits.memlock_bytes'), 8388608);
  assert.equal(fields.get('.identity.numa.nodes'), 2);
  assert.match(String(fields.get('.identity.libraries.glibc')), /^2\.\d+$/);
});

test('the machine id is told by its hash only', async (t) => {
  const result = await record(t);
  assert.match(String(result.host['machine_id_hash']), /^[0-9a-f]{16}$/);
  assert.equal(JSON.stringify(result).includes('0123456789abcdef0123456789abcdef'), false);
});

test('boot parameters and variables are taken from a list: secrets stay where they are', async (t) => {
  process.env['AWS_SECRET_ACCESS_KEY'] = 'topsecret';
  process.env['OMP_NUM_THREADS'] = '4';
  t.after(() => {
    delete process.env['AWS_SECRET_ACCESS_KEY'];
    delete process.env['OMP_NUM_THREADS'];
  });
  const result = await record(t, {
    '/proc/cmdline':
      'root=/dev/sda1 token=topsecret hugepagesz=1G hugepages=4 iommu=pt ds=nocloud-net;s=http://topsecret/\n',
  });
  assert.equal(JSON.stringify(result).includes('topsecret'), false);
  const fields = flatten(result);
  const parameters = [...fields].filter(([path]) =>
    path.startsWith('.identity.kernel.boot_parameters'),
  );
  assert.deepEqual(
    parameters.map(([, value]) => value),
    ['hugepagesz=1G', 'hugepages=4', 'iommu=pt'],
  );
  assert.equal(fields.get('.process.variables.OMP_NUM_THREADS'), '4');
});

test('the digest is that of the canonical JSON of identity', async (t) => {
  const { identity, digest } = await record(t);
  const text = canonicalJson(identity);
  assert.equal(createHash('sha256').update(text).digest('hex'), digest);
  // The examples of RFC 8785, sections 3.2.2 and 3.2.3.
  assert.equal(
    canonicalJson({
      numbers: [JSON.parse('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\u0022\u002f",
      literals: [null, true, false],
    }),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  assert.equal(
    canonicalJson({
      '\u20ac': 1,
      '\r': 2,
      '\ufb33': 3,
      '1': 4,
      '\ud83d\ude00': 5,
      '\u0080': 6,
      '\u00f6': 7,
    }),
    '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}',
  );
});

test('the digest is stable, ignores pools and names, and follows what decides', async (t) => {
  const { digest } = await record(t);
  const same = async (changes: Record<string, string>) =>
    (await record(t, changes)).digest === digest;
  assert.equal(await same({}), true);
  assert.equal(await same(pool(2048, { nr: 2048, free: 7 })), true);
  assert.equal(await same({ '/proc/sys/kernel/hostname': 'gpu08\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/random/boot_id': 'other\n' }), true);
  assert.equal(await same({ '/proc/self/status': 'Cpus_allowed_list:\t3\n' }), true);
  assert.equal(await same({ '/proc/loadavg': '9.00 9.00 9.00 1/2 3\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/perf_event_max_sample_rate': '50000\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/tainted': '512\n' }), true);
  assert.equal(await same({ '/proc/sys/kernel/osrelease': '6.1.0-28-amd64\n' }), false);
  assert.equal(await same({ '/proc/sys/kernel/numa_balancing': '1\n' }), false);
  assert.equal(
    await same({ '/sys/kernel/mm/transparent_hugepage/enabled': '[always] madvise never\n' }),
    false,
  );
  assert.equal(
    await same({ '/sys/devices/system/cpu/vulnerabilities/spectre_v2': 'Vulnerable\n' }),
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
      ['identity.numa.balancing', true],
      ['state.hugetlb.0.free', false],
      ['host.hostname', false],
    ],
  );
  assert.deepEqual([differences[0]?.a, differences[0]?.b], [0, 1]);
  assert.deepEqual(diffEnvironments({ ...a }, { ...a, recorded: 'later' }), []);
});
