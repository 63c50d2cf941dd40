// node scripts/record-guest.mjs KERNEL.deb FOLDER: boots a Debian kernel in qemu (software emulation, no KVM, no
// network) with two NUMA nodes, cgroup v2, a disk, a NIC and huge pages, and copies the files that
// scripts/record-tree.mjs names into FOLDER, for tests that read a recorded machine. Needs the packages
// qemu-system-x86, busybox-static, kmod, cpio, xz-utils and a linux-image-*.deb; takes one to three minutes.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boot, makeRoot, run, unpackKernel } from './guest.mjs';

const [deb, folder] = process.argv.slice(2);
if (deb === undefined || folder === undefined) {
  console.error('usage: node scripts/record-guest.mjs KERNEL.deb FOLDER');
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'warpgauge-guest-'));

/** The modules of these names and all that they need, in the order in which they must be loaded. */
function modules(tree, version, wanted) {
  run('depmod', ['-b', tree, version]);
  const dependencies = new Map();
  const folderOfModules = join(tree, 'lib/modules', version);
  for (const line of readFileSync(join(folderOfModules, 'modules.dep'), 'utf8').split('\n')) {
    const [path, needs] = line.split(':');
    if (needs !== undefined) dependencies.set(path, needs.trim().split(' ').filter(Boolean));
  }
  const order = [];
  for (const name of wanted) {
    const path = [...dependencies.keys()].find((each) => basename(each).startsWith(`${name}.ko`));
    if (path === undefined) continue; // built in
    for (const each of [...dependencies.get(path).toReversed(), path]) {
      if (!order.includes(each)) order.push(each);
    }
  }
  return order.map((path) => join(folderOfModules, path));
}

// Busybox reads the files with cat: tar would trust their sizes, which /proc and /sys report as 0 or 4096.
const INIT = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
for m in $(cat /modules/order); do insmod /modules/$m; done
ip link set lo up; ip link set eth0 up; sleep 1
echo 8 > /proc/sys/vm/nr_hugepages; echo madvise > /sys/kernel/mm/transparent_hugepage/enabled
C=/sys/fs/cgroup
for c in cpu memory io hugetlb pids cpuset; do echo +$c > $C/cgroup.subtree_control; done
mkdir -p $C/serve; for c in cpu memory io hugetlb pids; do echo +$c > $C/serve/cgroup.subtree_control; done
mkdir -p $C/serve/worker; echo "50000 100000" > $C/serve/worker/cpu.max; echo 64M > $C/serve/worker/memory.high
sh -c 'echo $$ > '$C'/serve/worker/cgroup.procs; dd if=/dev/nvme0n1 of=/dev/null bs=64k count=256 2>/dev/null;
  dd if=/dev/zero of=/dev/nvme0n1 bs=64k count=64 conv=fsync 2>/dev/null; dd if=/dev/zero of=/tmp/fill bs=1M count=96 2>/dev/null;
  i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 600' &
sleep 12
P=$(grep -h . $C/serve/worker/cgroup.procs | head -1)
{ find -L /sys/bus/event_source/devices /sys/devices/system/node -maxdepth 4 -type f
  find -L /sys/devices/system/cpu -maxdepth 3 -type f
  find -L /sys/class/thermal /sys/class/hwmon /sys/bus/pci/devices /sys/class/net -maxdepth 2 -type f
  find /sys/kernel/mm /sys/fs/cgroup /proc/pressure /proc/$P /proc/1 -type f 2>/dev/null
  ls /proc/vmstat /proc/meminfo /proc/stat /proc/diskstats /proc/net/dev /proc/cpuinfo /proc/cmdline /proc/version /proc/loadavg \\
    /proc/swaps /proc/buddyinfo /proc/sys/vm/* /proc/sys/kernel/* /proc/self/mountinfo /proc/self/cgroup
  find /sys/kernel/tracing/events/exceptions /sys/kernel/tracing/events/sched/sched_switch /sys/kernel/tracing/events/kmem -name id
} 2>/dev/null | grep -v -E '/(rom|config|resource[0-9].*|rescan|remove|reset|pagemap|mem|clear_refs|kmsg|autogroup|uevent|kpage.*|vpd|enable|auxv|environ)$|/proc/[0-9]+/(map_files|fdinfo|net|attr|ns|timens_offsets)|/slaballoc' > /tmp/list
while read f; do [ -f "$f" ] || continue; o=/tmp/tree$f; d="\${o%/*}"; [ -d "$d" ] || mkdir -p "$d"; cat "$f" > "$o" 2>/dev/null || rm -f "$o"; done < /tmp/list
echo $P > /tmp/tree/worker.pid
cd /tmp/tree && tar cz . | base64 > /dev/ttyS1; echo; echo RECORDED; sync; sleep 1; poweroff -f
`;

try {
  const { image, tree, version } = unpackKernel(deb, work);
  if (tree === null) throw new Error(`Expected a linux-image-*.deb but received ${deb}`);
  const root = makeRoot(work, INIT);
  mkdirSync(join(root, 'modules'));
  const order = modules(tree, version, ['nvme', 'e1000e']);
  for (const path of order) {
    const name = basename(path).replace(/\.xz$/, '');
    if (path.endsWith('.xz')) {
      writeFileSync(join(root, 'modules', name), run('xz', ['-dc', path], { encoding: 'buffer' }));
    } else {
      copyFileSync(path, join(root, 'modules', name));
    }
  }
  const loaded = order.map((path) => basename(path).replace(/\.xz$/, ''));
  writeFileSync(join(root, 'modules/order'), `${loaded.join('\n')}\n`);
  run('truncate', ['-s', '64M', join(work, 'disk')]);
  await boot({
    image,
    root,
    memoryMib: 1280,
    devices: [
      ...['-device', 'pcie-root-port,id=p1,chassis=1', '-device', 'pcie-root-port,id=p2,chassis=2'],
      ...['-drive', `file=${join(work, 'disk')},if=none,id=d,format=raw`],
      ...['-device', 'nvme,drive=d,serial=w1,bus=p1', '-device', 'e1000e,bus=p2,netdev=n'],
      ...['-netdev', 'user,id=n,restrict=on'],
      ...['-serial', 'stdio', '-serial', `file:${join(work, 'out')}`],
    ],
    append: 'hugepagesz=1G hugepages=0 hugepagesz=2M transparent_hugepage=madvise',
  });
  const raw = join(work, 'raw');
  mkdirSync(raw);
  writeFileSync(
    join(work, 'out.tgz'),
    Buffer.from(readFileSync(join(work, 'out'), 'latin1'), 'base64'),
  );
  run('tar', ['xzf', join(work, 'out.tgz'), '-C', raw]);
  const args = [join(here, 'record-tree.mjs'), resolve(folder), '--root', raw];
  const worker = readFileSync(join(raw, 'worker.pid'), 'utf8').trim();
  process.stdout.write(
    run(process.execPath, [...args, '--pid', worker, '--cgroup', '/serve/worker']),
  );
} finally {
  if (process.env.KEEP_GUEST === '1') console.error(`kept ${work}`);
  else rmSync(work, { recursive: true, force: true });
}
