// For a machine with two NUMA nodes of two CPUs each and all controllers of cgroup v2 that is ours alone: scripts/test-guest.mjs
// boots one. Everything is real but the hardware.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadBinding } from '#lib/addon';
import type { WarpgaugeError } from '#lib/errors';
import { allocate } from '#lib/mitigate/allocate';
import { numa } from '#lib/mitigate/numa';
import { pools } from '#lib/mitigate/pools';
import { run } from '#lib/mitigate/run';
import * as monitor from '#lib/monitor/index';

const MIB = 2 ** 20;
const MB2 = 2 * MIB;
const CGROUPS = '/sys/fs/cgroup';
const poolOf = (node: number): string =>
  `/sys/devices/system/node/node${node}/hugepages/hugepages-2048kB/nr_hugepages`;
const read = (path: string): string => readFileSync(path, 'utf8').trim();

/** A control group for the time of a test, with this process in it. */
class Group {
  readonly path: string;

  constructor(name: string, settings: Readonly<Record<string, string>>) {
    this.path = `${CGROUPS}/${name}`;
    mkdirSync(this.path);
    for (const [file, text] of Object.entries(settings)) this.set(file, text);
    this.set('cgroup.procs', `${process.pid}`);
  }

  set(file: string, text: string): void {
    writeFileSync(`${this.path}/${file}`, text);
  }

  [Symbol.dispose](): void {
    writeFileSync(`${CGROUPS}/cgroup.procs`, `${process.pid}`);
    rmdirSync(this.path);
  }
}

async function failure(promise: Promise<unknown>): Promise<WarpgaugeError> {
  try {
    await promise;
  } catch (error) {
    return error as WarpgaugeError;
  }
  assert.fail('it was not refused');
}

after(async () => {
  const { reservations } = await pools.status();
  assert.deepEqual(reservations, [], 'nothing is left in the pools');
});

test('two nodes are seen, with their CPUs and memory', async () => {
  const { nodes, allowed_nodes } = await numa.status();
  assert.deepEqual(
    nodes.map(({ node, cpus }) => [node, cpus]),
    [
      [0, [0, 1]],
      [1, [2, 3]],
    ],
  );
  assert.ok(nodes.every(({ total_bytes }) => (total_bytes ?? 0) > 512 * MIB));
  assert.deepEqual(allowed_nodes, [0, 1]);
});

for (const node of [0, 1]) {
  test(`bound to node ${node}: threads run there, memory lies there, and what was comes back`, async () => {
    const native = loadBinding();
    const before = [native.threadAffinity(0), native.memoryPolicy()];
    {
      await using binding = await numa.bind({ node });
      assert.deepEqual(binding.cpus, node === 0 ? [0, 1] : [2, 3]);
      assert.deepEqual(native.threadAffinity(0), binding.cpus);
      assert.deepEqual(native.memoryPolicy(), { mode: 2, nodes: [node] });
      await using region = await allocate({ bytes: 8 * MIB, pages: '4k' });
      assert.deepEqual(numa.residency(region), { [node]: (8 * MIB) / 4096 });
    }
    assert.deepEqual([native.threadAffinity(0), native.memoryPolicy()], before);
  });
}

test('a region moves from node to node and back: move_pages tells where it is', async () => {
  for (const pages of ['4k', 'thp'] as const) {
    await using region = await allocate({ bytes: 8 * MIB, pages, numaNode: 0 });
    const count = (8 * MIB) / 4096;
    for (const node of [1, 0]) {
      numa.move(region, node);
      assert.deepEqual(numa.residency(region), { [node]: count }, `${pages} to ${node}`);
    }
  }
  await using region = await allocate({ bytes: MIB, pages: '4k' });
  assert.throws(() => numa.move(region, 2), { code: 'ERR_NUMA_NODE' });
});

test('pages of a pool are made on the node that was asked for, and go back from there', async () => {
  const before = [read(poolOf(0)), read(poolOf(1))];
  {
    await using _held = await pools.reserve({ pages: [{ pageBytes: MB2, count: 4, node: 1 }] });
    assert.deepEqual(
      [read(poolOf(0)), Number(read(poolOf(1)))],
      [before[0], Number(before[1]) + 4],
    );
    await using region = await allocate({ bytes: 4 * MB2, pages: '2m', numaNode: 1 });
    assert.deepEqual(Object.keys(numa.residency(region)), ['1']);
    // There are pages, and none of them on node 0.
    await failure(allocate({ bytes: MB2, pages: '2m', numaNode: 0 }));
  }
  assert.deepEqual([read(poolOf(0)), read(poolOf(1))], before);
});

test('run --node: the command has its CPUs and memory there, and ours are as before', async () => {
  const native = loadBinding();
  const before = native.threadAffinity(0);
  const file = join(mkdtempSync(join(tmpdir(), 'warpgauge-guest-')), 'numa_maps');
  const program = `const fs = require('node:fs'); const b = Buffer.alloc(64 * 2 ** 20, 1);
fs.writeFileSync('${file}', fs.readFileSync('/proc/self/numa_maps')); process.exit(b[1] === 1 ? 5 : 6)`;
  const result = await run({ command: [process.execPath, '-e', program], node: 1 });
  assert.deepEqual([result.code, result.node, result.cpus], [5, 1, [2, 3]]);
  // What it says itself: watching it from outside takes an emulated machine longer than it lives.
  const anonymous = read(file)
    .split('\n')
    .filter((line) => / anon=/.test(line) && !/ file=/.test(line));
  assert.ok(anonymous.every((line) => / bind:1 /.test(line)));
  const pagesOn = (node: number): number =>
    anonymous.reduce(
      (sum, line) => sum + Number(new RegExp(` N${node}=(\\d+)`).exec(line)?.[1] ?? 0),
      0,
    );
  assert.equal(pagesOn(0), 0);
  assert.ok(pagesOn(1) >= (64 * MIB) / 4096, `${pagesOn(1)} pages`);
  assert.deepEqual(native.threadAffinity(0), before);
});

test('a cpuset forbids a node: binding to it is refused with what is in the way', async () => {
  using group = new Group('one-node', { 'cpuset.cpus': '0-1', 'cpuset.mems': '0' });
  const status = await numa.status();
  assert.deepEqual([status.allowed_cpus, status.allowed_nodes], [[0, 1], [0]]);
  assert.equal((await failure(numa.bind({ node: 1 }))).code, 'ERR_UNAVAILABLE');
  await using inside = await numa.bind({ node: 0 });
  assert.deepEqual(inside.cpus, [0, 1]);
  // The CPUs are ours and the memory is not.
  group.set('cpuset.cpus', '0-3');
  const native = loadBinding();
  const before = [native.threadAffinity(0), native.memoryPolicy()];
  const memory = await failure(numa.bind({ node: 1, threads: 'thread' }));
  assert.match(memory.code, /^ERR_/);
  assert.deepEqual([native.threadAffinity(0), native.memoryPolicy()], before);
});

test('hugetlb limits of cgroup v2: the limit is named before anything is mapped', async () => {
  await using _held = await pools.reserve({ pages: [{ pageBytes: MB2, count: 8 }] });
  for (const [file, code] of [
    ['hugetlb.2MB.rsvd.max', 'ERR_CGROUP_HUGETLB_RSVD_MAX'],
    ['hugetlb.2MB.max', 'ERR_CGROUP_HUGETLB_MAX'],
  ] as const) {
    using group = new Group('hugetlb', { [file]: `${2 * MB2}` });
    const error = await failure(allocate({ bytes: 4 * MB2, pages: '2m' }));
    assert.equal(error.code, code, error.message);
    assert.ok(error.fix?.includes(`${group.path}/${file}`), error.fix);
    await using region = await allocate({ bytes: 2 * MB2, pages: '2m' });
    assert.deepEqual(region.grantedPages?.bytesByPageSize, { [MB2]: 2 * MB2 });
  }
});

test('the cgroup source has all controllers: CPU and its limit, memory, pressure', async () => {
  const path = `${CGROUPS}/watched`;
  mkdirSync(path);
  writeFileSync(`${path}/cpu.max`, '50000 100000');
  writeFileSync(`${path}/memory.high`, `${256 * MIB}`);
  const sampler = await monitor.sample({
    sources: [monitor.cgroup({ path: '/watched', intervalMs: 200 })],
  });
  const busy = spawnSync('sh', [
    '-c',
    `echo $$ > ${path}/cgroup.procs; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done`,
  ]);
  assert.equal(busy.status, 0, `${busy.stderr}`);
  const rows: Record<string, unknown>[] = [];
  for await (const { table, batch } of sampler) {
    if (table === 'cgroup' || table === 'main') {
      rows.push(...batch.toArray().map((row) => (row as { toJSON(): object }).toJSON() as never));
    }
    if (rows.length >= 5) break;
  }
  await sampler.close();
  rmdirSync(path);
  const last = rows.at(-1) ?? {};
  const absent = Object.entries(last).filter(([, value]) => value === null);
  assert.ok(Object.keys(last).length > 5, JSON.stringify(Object.keys(last)));
  assert.deepEqual(
    absent.map(([name]) => name).filter((name) => /^(cpu|memory)_/.test(name)),
    [],
  );
});
