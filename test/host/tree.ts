import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

/** A recorded machine: files by their path on it. The folder is gone at the end of the test. */
export function tree(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-host-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

/** The files of one hugetlb pool. */
export function pool(
  pageKb: number,
  counts: { nr: number; free: number; resv?: number; surplus?: number; overcommit?: number },
): Record<string, string> {
  const base = `/sys/kernel/mm/hugepages/hugepages-${pageKb}kB`;
  return {
    [`${base}/nr_hugepages`]: `${counts.nr}\n`,
    [`${base}/free_hugepages`]: `${counts.free}\n`,
    [`${base}/resv_hugepages`]: `${counts.resv ?? 0}\n`,
    [`${base}/surplus_hugepages`]: `${counts.surplus ?? 0}\n`,
    [`${base}/nr_overcommit_hugepages`]: `${counts.overcommit ?? 0}\n`,
  };
}

/** mountinfo of a machine with only control groups version 2, as systemd mounts them. */
export const MOUNTINFO_V2 =
  '30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw\n';

/** mountinfo of a Debian 12 guest (Linux 6.18) with both versions. */
export const MOUNTINFO_HYBRID = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/huge\\040tlb rw,relatime - cgroup cgroup rw,hugetlb
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;
