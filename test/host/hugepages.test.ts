import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCgroupMemory, readCgroupMode } from '#lib/host/cgroup';
import { availablePages, readCgroupHugetlb, readHugepagePools, readThp } from '#lib/host/hugepages';
import { MOUNTINFO_HYBRID, MOUNTINFO_V2, pool, tree } from './tree.js';

test('pools: every size and node, what can be had now', (t) => {
  const node = '/sys/devices/system/node/node1/hugepages/hugepages-2048kB';
  const root = tree(t, {
    ...pool(1048576, { nr: 2, free: 1 }),
    ...pool(2048, { nr: 40, free: 30, resv: 10, surplus: 2, overcommit: 8 }),
    [`${node}/nr_hugepages`]: '40\n',
    [`${node}/free_hugepages`]: '30\n',
    [`${node}/surplus_hugepages`]: '2\n',
  });
  const pools = readHugepagePools(root);
  assert.deepEqual(
    pools.map((p) => [p.node, p.page_kb, p.nr, p.free, p.resv, p.surplus, p.overcommit]),
    [
      [null, 2048, 40, 30, 10, 2, 8],
      [null, 1048576, 2, 1, 0, 0, 0],
      [1, 2048, 40, 30, null, 2, null],
    ],
  );
  assert.deepEqual(pools.map(availablePages), [26, 1, 30]);
});

test('a machine that tells nothing has no pools and unknown policies', (t) => {
  const root = tree(t, {});
  assert.deepEqual(readHugepagePools(root), []);
  assert.deepEqual(readCgroupHugetlb(root), []);
  assert.equal(readCgroupMemory(root), null);
  assert.equal(readCgroupMode(root), null);
  const thp = readThp(root);
  assert.equal(thp.enabled, null);
  assert.equal(thp.pmd_bytes, null);
  assert.deepEqual(thp.sizes, {});
});

test('THP: the chosen words, by size', (t) => {
  const base = '/sys/kernel/mm/transparent_hugepage';
  const root = tree(t, {
    [`${base}/enabled`]: 'always [madvise] never\n',
    [`${base}/defrag`]: 'always defer defer+madvise madvise [never]\n',
    [`${base}/hpage_pmd_size`]: '2097152\n',
    [`${base}/hugepages-64kB/enabled`]: 'always inherit madvise [never]\n',
    [`${base}/hugepages-2048kB/enabled`]: 'always [inherit] madvise never\n',
  });
  const thp = readThp(root);
  assert.equal(thp.enabled, 'madvise');
  assert.equal(thp.defrag, 'never');
  assert.equal(thp.pmd_bytes, 2 ** 21);
  assert.deepEqual(thp.sizes, { '64': 'never', '2048': 'inherit' });
});

test('cgroup v2: limits of all groups on the way up, refusals counted', (t) => {
  const top = '/sys/fs/cgroup/kubepods';
  const own = `${top}/pod1`;
  const root = tree(t, {
    '/proc/self/mountinfo': MOUNTINFO_V2,
    '/proc/self/cgroup': '0::/kubepods/pod1\n',
    '/sys/fs/cgroup/cgroup.controllers': 'cpu memory hugetlb\n',
    [`${own}/hugetlb.2MB.max`]: '67108864\n',
    [`${own}/hugetlb.2MB.rsvd.max`]: 'max\n',
    [`${own}/hugetlb.2MB.current`]: '2097152\n',
    [`${own}/hugetlb.2MB.rsvd.current`]: '0\n',
    [`${own}/hugetlb.2MB.events`]: 'max 3\n',
    [`${own}/hugetlb.1GB.max`]: '0\n',
    [`${top}/hugetlb.2MB.max`]: '33554432\n',
    [`${own}/memory.max`]: 'max\n',
    [`${top}/memory.max`]: '8589934592\n',
    [`${top}/memory.current`]: '1073741824\n',
  });
  assert.equal(readCgroupMode(root), 'v2');
  const limits = readCgroupHugetlb(root);
  assert.deepEqual(
    limits.map((l) => [l.file, l.page_kb, l.kind, l.bytes, l.current_bytes, l.refused]),
    [
      [`${own}/hugetlb.1GB.max`, 1048576, 'max', 0, null, null],
      [`${own}/hugetlb.2MB.max`, 2048, 'max', 67108864, 2097152, 3],
      [`${own}/hugetlb.2MB.rsvd.max`, 2048, 'rsvd.max', null, 0, 3],
      [`${top}/hugetlb.2MB.max`, 2048, 'max', 33554432, null, null],
    ],
  );
  assert.deepEqual(readCgroupMemory(root), {
    max_bytes: 2 ** 33,
    current_bytes: 2 ** 30,
    file: `${top}/memory.max`,
  });
});

test('cgroup v1 in a hybrid tree: mount point from mountinfo, 2^63 is no limit', (t) => {
  const own = '/sys/fs/cgroup/huge tlb/job';
  const root = tree(t, {
    '/proc/self/mountinfo': MOUNTINFO_HYBRID,
    '/proc/self/cgroup': '5:hugetlb:/job\n4:memory:/job\n0::/\n',
    [`${own}/hugetlb.2MB.limit_in_bytes`]: '4194304\n',
    [`${own}/hugetlb.2MB.failcnt`]: '7\n',
    [`${own}/hugetlb.2MB.rsvd.limit_in_bytes`]: '9223372036854771712\n',
    '/sys/fs/cgroup/memory/job/memory.limit_in_bytes': '9223372036854771712\n',
    '/sys/fs/cgroup/memory/job/memory.usage_in_bytes': '4096\n',
  });
  assert.equal(readCgroupMode(root), 'hybrid');
  assert.deepEqual(
    readCgroupHugetlb(root).map((l) => [l.page_kb, l.kind, l.bytes, l.refused]),
    [
      [2048, 'max', 4194304, 7],
      [2048, 'rsvd.max', null, null],
    ],
  );
  assert.equal(readCgroupMemory(root)?.max_bytes, null);
});

test('a container that mounts only its own group finds its limits at the top of the mount', (t) => {
  const root = tree(t, {
    '/proc/self/mountinfo':
      '900 800 0:26 /docker/abc /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw\n',
    '/proc/self/cgroup': '0::/docker/abc\n',
    '/sys/fs/cgroup/cgroup.controllers': 'memory\n',
    '/sys/fs/cgroup/memory.max': '1048576\n',
  });
  assert.equal(readCgroupMemory(root)?.max_bytes, 1048576);
});
