// node scripts/record-tree.mjs FOLDER: copies the files of this machine that tell of huge pages, THP, memory, cgroup
// limits, and all that the system sources of Monitor read, into FOLDER, for tests that read a recorded machine. Name the
// folder after machine and kernel. --root RAW: from the copied files of another machine (scripts/record-guest.mjs);
// --pid N: also that process; --cgroup PATH: that cgroup v2 and its parents instead of our own.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { root: { type: 'string' }, pid: { type: 'string' }, cgroup: { type: 'string' } },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error(
    'usage: node scripts/record-tree.mjs FOLDER [--root RAW] [--pid N] [--cgroup PATH]',
  );
  process.exit(2);
}
const here = (path) => join(values.root ?? '/', path);

function record(path, keep = (text) => text) {
  let text;
  try {
    text = keep(readFileSync(here(path), 'utf8'));
  } catch {
    return; // write-only, or gone
  }
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function names(path) {
  try {
    return readdirSync(here(path));
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
for (const name of ['vmstat', 'meminfo', 'stat', 'diskstats', 'net/dev']) {
  record(join('/proc', name));
}
for (const name of names('/proc/pressure')) record(join('/proc/pressure', name));

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

for (const node of names(nodes).filter((name) => /^node\d+$/.test(name))) {
  for (const name of ['numastat', 'meminfo']) record(join(nodes, node, name));
}
const devices = '/sys/bus/pci/devices';
for (const device of names(devices)) {
  const files = names(join(devices, device)).filter((name) =>
    /^(current|max)_link_(speed|width)$|^aer_dev_/.test(name),
  );
  for (const name of [...files, 'class', 'vendor', 'device', 'power/runtime_status']) {
    record(join(devices, device, name));
  }
}
const zones = '/sys/class/thermal';
for (const zone of names(zones).filter((name) => name.startsWith('thermal_zone'))) {
  for (const name of ['type', 'temp']) record(join(zones, zone, name));
}
const cpus = '/sys/devices/system/cpu';
for (const cpu of names(cpus).filter((name) => /^cpu\d+$/.test(name))) {
  record(join(cpus, cpu, 'cpufreq/scaling_cur_freq'));
  for (const name of names(join(cpus, cpu, 'thermal_throttle'))) {
    record(join(cpus, cpu, 'thermal_throttle', name));
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

// How perf names events; ids of tracepoints are another machine's own.
const pmus = '/sys/bus/event_source/devices';
for (const pmu of names(pmus)) {
  for (const name of names(join(pmus, pmu))) record(join(pmus, pmu, name));
  for (const part of ['events', 'format', 'caps']) {
    for (const name of names(join(pmus, pmu, part))) record(join(pmus, pmu, part, name));
  }
}
if (values.pid !== undefined) {
  for (const name of ['stat', 'status', 'io', 'smaps_rollup', 'limits', 'comm', 'cgroup']) {
    record(join('/proc', values.pid, name));
  }
}

const own =
  values.cgroup ?? /^0::(.*)$/m.exec(readFileSync(here('/proc/self/cgroup'), 'utf8'))?.[1] ?? '/';
for (const line of readFileSync(here('/proc/self/mountinfo'), 'utf8').split('\n')) {
  const [left = '', right = ''] = line.split(' - ');
  if (!right.startsWith('cgroup2 ')) continue;
  const mountPoint = left.split(' ')[4];
  for (let at = own; ; at = dirname(at)) {
    for (const name of names(join(mountPoint, at))) {
      // Those two list processes; a per-node copy of each count of memory.stat would be most of the tree.
      if (!/^cgroup\.(procs|threads)$|numa_stat$/.test(name)) record(join(mountPoint, at, name));
    }
    if (at === '/') break;
  }
}
