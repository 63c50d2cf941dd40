import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadBinding } from '#lib/addon';
import { allocate } from '#lib/mitigate/allocate';
import { numa } from '#lib/mitigate/numa';
import { pools } from '#lib/mitigate/pools';
import { run } from '#lib/mitigate/run';
import { withTunable } from '#lib/mitigate/run-placed';
import { thp } from '#lib/mitigate/thp';
import { cannotReserve, free, guardPools, MB2 } from './real-pools.js';

const MIB = 2 ** 20;
const CHILD = fileURLToPath(new URL('../children/uses-malloc.js', import.meta.url));
const stateDir = guardPools(MB2);

test('bound to a node: threads and memory read back so, new memory lies there, all goes back', async (t) => {
  const { nodes, allowed_nodes } = await numa.status();
  const node = allowed_nodes.at(-1);
  if (node === undefined) return t.skip('this kernel has no NUMA nodes');
  const native = loadBinding();
  const before = [native.threadAffinity(0), native.memoryPolicy()];
  const binding = await numa.bind({ node });
  assert.ok(binding.threads > 1, 'the threads of Node and of its pool too');
  assert.deepEqual(binding.cpus, nodes.find((each) => each.node === node)?.cpus);
  assert.deepEqual(native.memoryPolicy(), { mode: 2, nodes: [node] });
  await using region = await allocate({ bytes: 4 * MIB, pages: '4k' });
  assert.deepEqual(numa.residency(region), { [node]: 1024 });
  numa.move(region, node);
  await binding.restore();
  await binding.restore();
  assert.deepEqual([native.threadAffinity(0), native.memoryPolicy()], before);
});

test('pages that are not there are told as -1, and a region that is closed is ERR_CLOSED', async () => {
  const region = await allocate({ bytes: 4 * MIB, pages: '4k', populate: false });
  region.view(0, 4096).fill(1);
  assert.equal(numa.residency(region)[-1], 1023);
  const { buffer } = region;
  await region[Symbol.asyncDispose]();
  assert.throws(() => loadBinding().regionNodes(buffer, 10), { code: 'ERR_CLOSED' });
});

test('advice for one region: small pages become huge ones, and no other region feels it', async (t) => {
  const { policy } = await thp.status();
  if (policy.enabled === null || policy.enabled === 'never') return t.skip('thp is off here');
  await using region = await allocate({ bytes: 8 * MIB, pages: '4k' });
  await using other = await allocate({ bytes: 8 * MIB, pages: '4k' });
  assert.throws(() => thp.advise(region, 'huge' as never), { code: 'ERR_INVALID_ARGUMENT' });
  thp.advise(region, 'hugepage');
  try {
    thp.advise(region, 'collapse');
  } catch (error) {
    // A kernel before 6.1, or no memory in one piece: it says so, and nothing has changed.
    assert.match((error as { code: string }).code, /^ERR_(THP_DISABLED|PAGES_NOT_GRANTED)$/);
    return t.skip((error as Error).message);
  }
  assert.deepEqual(region.prove().bytesByPageSize, { [MB2]: 8 * MIB });
  assert.deepEqual(other.prove().bytesByPageSize, { 4096: 8 * MIB });
});

test('nodes, GPUs and places that there are not', async () => {
  await assert.rejects(numa.bind({ node: 63 }), { code: 'ERR_NUMA_NODE' });
  await assert.rejects(numa.bind({ nearGpu: 'GPU-nowhere' }), { code: 'ERR_NO_DEVICE' });
  await assert.rejects(numa.bind({}), { code: 'ERR_INVALID_ARGUMENT' });
  await assert.rejects(numa.bind({ node: 0, nearGpu: 0 }), { code: 'ERR_INVALID_ARGUMENT' });
});

test('simulated two-node machine: each GPU by sysfs; one that the firmware says nothing of is unknown', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-numa-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  };
  for (const [node, cpus] of [
    [0, '0-1,4'],
    [1, '2-3'],
  ] as const) {
    put(`sys/devices/system/node/node${node}/cpulist`, cpus);
    put(`sys/devices/system/node/node${node}/meminfo`, `Node ${node} MemTotal:  1024 kB`);
  }
  const gpu = (address: string, node: number, vendor = '0x10de'): void => {
    const folder = `sys/bus/pci/devices/${address}`;
    put(`${folder}/vendor`, vendor);
    put(`${folder}/class`, '0x030200');
    put(`${folder}/numa_node`, `${node}`);
  };
  gpu('0000:17:00.0', 1);
  gpu('0000:65:00.0', -1);
  gpu('0000:ca:00.0', 0, '0x1002');
  const { gpus, nodes } = await numa.status({ root });
  assert.deepEqual(
    gpus.map(({ index, pci_address, node, cpus }) => [index, pci_address, node, cpus]),
    [
      [0, '0000:17:00.0', 1, [2, 3]],
      [1, '0000:65:00.0', null, []],
    ],
  );
  assert.match(gpus[1]?.source ?? '', /^unknown: .*says -1/);
  assert.deepEqual(nodes[0]?.cpus, [0, 1, 4]);
  await assert.rejects(numa.bind({ nearGpu: 1, root }), { code: 'ERR_UNAVAILABLE' });
});

const node = (mib: number, ms = 1500) => [process.execPath, CHILD, `${mib}`, `${ms}`];

test('thp reaches malloc, 4k keeps them away, exit code passed on', async (t) => {
  const huge = await run({ command: node(256), pages: 'thp' });
  assert.equal(huge.code, 3);
  if (huge.memory === null) return t.skip(huge.memory_why ?? '');
  assert.ok(huge.memory.thp_bytes > 200 * MIB, JSON.stringify(huge.memory));
  const small = await run({ command: node(256), pages: '4k' });
  assert.equal(small.memory?.thp_bytes, 0);
  assert.ok((small.memory?.anonymous_bytes ?? 0) > 250 * MIB);
  assert.equal(loadBinding().thpDisabled(), 0, 'our own process is as before');
});

test('2m takes pool pages, near a node, and says where they lie', {
  skip: cannotReserve(),
}, async () => {
  const count = free() + 120;
  await using _held = await pools.reserve({ pages: [{ pageBytes: MB2, count }], stateDir });
  const result = await run({ command: node(192), pages: '2m', node: 0 });
  assert.equal(result.code, 3);
  assert.ok((result.memory?.hugetlb_bytes ?? 0) >= 192 * MIB, JSON.stringify(result.memory));
  assert.ok((result.memory?.nodes?.['0'] ?? 0) >= 192 * MIB);
  assert.match(result.notes[0] ?? '', /malloc takes, and nothing else/);
});

test('what cannot be started, and what a signal ends', async () => {
  await assert.rejects(run({ command: ['/nonexistent'] }), { code: 'ERR_SYSCALL', status: 2 });
  await assert.rejects(run({ command: [] }), { code: 'ERR_INVALID_ARGUMENT' });
  const abort = new AbortController();
  setTimeout(() => abort.abort('SIGTERM'), 300);
  const ended = await run({ command: ['sleep', '30'], signal: abort.signal });
  assert.deepEqual([ended.code, ended.signal], [143, 'SIGTERM']);
});

test('other tunables stay, an older one of ours goes', () => {
  assert.equal(withTunable(undefined, 1), 'glibc.malloc.hugetlb=1');
  assert.equal(
    withTunable('glibc.malloc.hugetlb=2:glibc.malloc.arena_max=4', 1),
    'glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1',
  );
});
