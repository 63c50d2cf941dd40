import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { planReserve } from '#lib/mitigate/pool-plan';
import { readPool, readPoolStatus } from '#lib/mitigate/pool-status';

// Recorded by scripts/record-tree.mjs in the cgroup /batch/job (limit 2 pages of 2 MiB, its parent 32), with a
// pool of 6 pages, 4 more by overcommit, of which one process had touched 2 and mapped 2 more.
const root = fileURLToPath(
  new URL('../../../../test/fixtures/proc/debian-12-kvm-linux-6.18.44', import.meta.url),
);

test('the recorded machine: pools', () => {
  const { pools } = readPoolStatus(root);
  assert.deepEqual(
    pools.map((pool) => [pool.node, pool.page_kb, pool.nr, pool.free, pool.resv, pool.demote_kb]),
    [
      [null, 2048, 6, 4, 2, null],
      [null, 1048576, 0, 0, 0, 2048],
      [0, 2048, 6, 4, null, null],
      [0, 1048576, 0, 0, null, 2048],
    ],
  );
  const [machine, , node] = pools;
  assert.deepEqual([machine?.guaranteed, machine?.available, machine?.persistent], [2, 6, 6]);
  assert.deepEqual([node?.guaranteed, node?.available, node?.persistent], [null, null, 6]);
  assert.deepEqual(readPool(2 ** 21, root)?.nodes, [{ node: 0, total: 6, free: 4, surplus: 0 }]);
  assert.equal(readPool(2 ** 24, root), null);
});

test('the recorded machine: limits of our cgroup and its parent, refusals, THP, memory', () => {
  const status = readPoolStatus(root);
  const of = (group: string, kind: string) =>
    status.cgroup_hugetlb
      .filter((limit) => limit.page_kb === 2048 && limit.kind === kind)
      .filter((limit) => limit.file.includes(`/${group}/hugetlb`))
      .map((limit) => [limit.bytes, limit.current_bytes, limit.refused]);
  assert.deepEqual(of('job', 'max'), [[2 ** 22, 2 ** 22, 1]]);
  assert.deepEqual(of('batch', 'max'), [[2 ** 26, 2 ** 22, 1]]);
  // This kernel writes the largest multiple of the page size where there is no limit.
  assert.deepEqual(of('job', 'rsvd.max'), [[null, 2 ** 23, 1]]);
  assert.equal(status.cgroup_hugetlb_why, null);
  assert.deepEqual([status.thp.enabled, status.thp.shmem_enabled], ['madvise', 'never']);
  assert.equal(status.thp.sizes['2048'], 'inherit');
  assert.equal(status.memory.available_bytes, 7449016 * 1024);
});

test('the recorded machine: the tightest limit refuses, however large the pool would be', () => {
  const refusal = planReserve({ root, pages: [{ pageBytes: 2 ** 21, count: 4 }] }).refusal;
  assert.equal(refusal?.code, 'ERR_CGROUP_HUGETLB_MAX');
  assert.match(refusal?.source ?? '', /\/batch\/job\/hugetlb\.2MB\.max$/);
});

test('a machine that tells nothing: empty with the reason, null and never 0', () => {
  const status = readPoolStatus('/nonexistent');
  assert.deepEqual([status.pools, status.cgroup_hugetlb], [[], []]);
  assert.match(status.cgroup_hugetlb_why ?? '', /no cgroup hierarchy/);
  assert.equal(status.memory.available_bytes, null);
  assert.equal(status.thp.enabled, null);
});
