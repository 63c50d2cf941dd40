// node scripts/record-tree.mjs FOLDER: copies the files of this machine that tell of huge pages, THP, memory and
// cgroup limits into FOLDER, for tests that read a recorded machine. Name the folder after machine and kernel.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/record-tree.mjs FOLDER');
  process.exit(2);
}

function record(path, keep = (text) => text) {
  let text;
  try {
    text = keep(readFileSync(path, 'utf8'));
  } catch {
    return; // write-only, or gone
  }
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function names(path) {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

const lines = (wanted) => (text) =>
  text
    .split('\n')
    .filter((line) => wanted.test(line))
    .map((line) => `${line}\n`)
    .join('');

// Whole files would also tell paths and programs of the machine that are nobody's business.
record('/proc/self/mountinfo', lines(/ - cgroup/));
record('/proc/self/cgroup', lines(/^\d+:(.*hugetlb.*)?:/));
record('/proc/meminfo', lines(/^(Mem|Huge|Anon)/));

const nodes = '/sys/devices/system/node';
const pools = [
  '/sys/kernel/mm/hugepages',
  ...names(nodes)
    .filter((name) => /^node\d+$/.test(name))
    .map((name) => join(nodes, name, 'hugepages')),
];
for (const pool of pools) {
  for (const size of names(pool)) {
    for (const name of names(join(pool, size))) record(join(pool, size, name));
  }
}

const thp = '/sys/kernel/mm/transparent_hugepage';
for (const name of [
  'enabled',
  'defrag',
  'shmem_enabled',
  'use_zero_page',
  'hpage_pmd_size',
  'khugepaged/defrag',
]) {
  record(join(thp, name));
}
for (const name of names(thp).filter((each) => each.startsWith('hugepages-'))) {
  record(join(thp, name, 'enabled'));
}

const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
  const [left = '', right = ''] = line.split(' - ');
  if (!right.startsWith('cgroup2 ')) continue;
  const mountPoint = left.split(' ')[4];
  record(join(mountPoint, 'cgroup.controllers'));
  for (let at = own; ; at = dirname(at)) {
    for (const name of names(join(mountPoint, at))) {
      if (name.startsWith('hugetlb.') && !name.includes('numa_stat'))
        record(join(mountPoint, at, name));
    }
    if (at === '/') break;
  }
}
