// node scripts/test-guest.mjs [KERNEL]: runs test/guest on a machine with two NUMA nodes and the whole of cgroup v2, a Debian
// kernel in qemu (scripts/guest.mjs), with this Node and this build. KERNEL is a linux-image-*.deb or a vmlinuz; without it
// the newest /boot/vmlinuz-* is taken. Takes one to five minutes, so it is no part of `npm test`. Without qemu or a kernel
// it says why it skips.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addProgram, boot, makeRoot, unpackKernel, whyNoGuest } from './guest.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const require = createRequire(import.meta.url);
const TEST = 'out/js/test/guest/two-nodes.js';

const installed = existsSync('/boot')
  ? readdirSync('/boot')
      .filter((name) => name.startsWith('vmlinuz-'))
      .sort()
      .map((name) => join('/boot', name))
  : [];
const kernel = process.argv[2] ?? installed.at(-1);
const why =
  whyNoGuest() ??
  (kernel === undefined ? 'no kernel: name a linux-image-*.deb (apt-get download it)' : null) ??
  (existsSync(TEST) ? null : 'not compiled: node scripts/setup.mjs --tests');
if (why !== null) {
  console.log(`skipped: ${why}`);
  process.exit(0);
}

/** Everything that runs is in the root that is in memory; what a test prints comes back over the serial line. */
const INIT = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for c in cpu memory io hugetlb pids cpuset; do echo +$c > /sys/fs/cgroup/cgroup.subtree_control; done
export PATH=/bin HOME=/tmp
cd /app && ${process.execPath} --test-reporter=spec ${TEST}
echo "GUEST ENDED $?"; poweroff -f
`;

/** A package and all that it needs, as npm laid them out (hoisted). */
function addPackage(root, name, done) {
  if (done.has(name)) return;
  done.add(name);
  const folder = join('node_modules', name);
  cpSync(folder, join(root, 'app', folder), { recursive: true });
  const { dependencies = {} } = require(`../${folder}/package.json`);
  for (const each of Object.keys(dependencies)) {
    if (existsSync(join('node_modules', each))) addPackage(root, each, done);
  }
}

const work = mkdtempSync(join(tmpdir(), 'warpgauge-guest-'));
let code = null;
try {
  const { image } = unpackKernel(kernel, work);
  const root = makeRoot(work, INIT);
  addProgram(root, process.execPath);
  mkdirSync(join(root, 'app/build/Release'), { recursive: true });
  for (const path of ['package.json', 'dist', 'out/js/test', 'out/js/package.json']) {
    if (existsSync(path)) cpSync(path, join(root, 'app', path), { recursive: true });
  }
  for (const name of readdirSync('build/Release')) {
    if (!/^(warpgauge\.node|warpgauge-guardian|libwarpgauge_inject\.so)$/.test(name)) continue;
    cpSync(join('build/Release', name), join(root, 'app/build/Release', name));
  }
  const done = new Set();
  for (const name of Object.keys(require('../package.json').dependencies)) {
    addPackage(root, name, done);
  }
  await boot({
    image,
    root,
    memoryMib: 2560,
    devices: ['-nic', 'none', '-serial', 'stdio'],
    append: 'transparent_hugepage=madvise',
    onLine(line) {
      const ended = /^GUEST ENDED (\d+)/.exec(line)?.[1];
      if (ended !== undefined) code = Number(ended);
    },
  });
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (code === null) console.error('the guest ended before its tests did');
process.exit(code ?? 1);
