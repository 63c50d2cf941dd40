// A Debian kernel in qemu (software emulation, no KVM, no network) with two NUMA nodes and all controllers of cgroup v2, and
// a root of busybox that lives in memory: for machines that the one at hand is not. Needs the packages qemu-system-x86,
// busybox-static, cpio and, for a kernel package, dpkg.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const QEMU = 'qemu-system-x86_64';
const LIMIT_MS = 600_000;

export function run(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28, ...options });
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: ${done.error?.message ?? done.stderr}`);
  }
  return done.stdout;
}

/** Why no guest can be started here, or null. */
export function whyNoGuest() {
  const here = (command, argument) => spawnSync(command, [argument]).error === undefined;
  if (!here(QEMU, '--version')) return `${QEMU} is missing: apt-get install -y qemu-system-x86`;
  if (!existsSync('/bin/busybox')) return 'busybox is missing: apt-get install -y busybox-static';
  return here('cpio', '--version') ? null : 'cpio is missing: apt-get install -y cpio';
}

/** The kernel of a linux-image-*.deb, unpacked into `work`, or a vmlinuz as it is; `tree` (of its modules) of the first alone. */
export function unpackKernel(path, work) {
  if (!path.endsWith('.deb')) return { image: resolve(path), tree: null, version: null };
  const tree = join(work, 'kernel');
  run('dpkg-deb', ['-x', resolve(path), tree]);
  const version = readdirSync(join(tree, 'lib/modules'))[0];
  return { image: join(tree, 'boot', `vmlinuz-${version}`), tree, version };
}

/** A root folder with busybox and the program that the kernel starts. */
export function makeRoot(work, init) {
  const root = join(work, 'root');
  for (const each of ['bin', 'proc', 'sys', 'dev', 'tmp']) {
    mkdirSync(join(root, each), { recursive: true });
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const each of run('/bin/busybox', ['--list']).trim().split('\n')) {
    if (!existsSync(join(root, 'bin', each))) run('ln', ['-s', 'busybox', join(root, 'bin', each)]);
  }
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  return root;
}

/** A program of this machine with the libraries that it is linked with, at the same places. */
export function addProgram(root, path) {
  const libraries = [...run('ldd', [path]).matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library);
  for (const file of [path, ...libraries]) {
    mkdirSync(join(root, dirname(file)), { recursive: true });
    copyFileSync(file, join(root, file));
  }
}

/**
 * Boots `root` with `memoryMib` of memory, half on each node, two CPUs on each; its console is our standard output, and each
 * line of it goes to `onLine`. Resolves when the guest has powered off.
 */
export async function boot({ image, root, memoryMib, devices = [], append = '', onLine }) {
  const initrd = join(dirname(root), 'initrd');
  run('sh', ['-c', `find . | cpio -o -H newc --quiet | gzip -1 > ${initrd}`], { cwd: root });
  const half = `${memoryMib / 2}M`;
  const memory = (id) => ['-object', `memory-backend-ram,id=${id},size=${half}`];
  const cpus = ['-cpu', 'max', '-smp', '4,sockets=2', '-m', `${memoryMib}M`];
  const qemu = spawn(
    QEMU,
    [
      ...['-machine', 'q35,accel=tcg', ...cpus],
      ...memory('m0'),
      ...memory('m1'),
      ...['-numa', 'node,memdev=m0,cpus=0-1', '-numa', 'node,memdev=m1,cpus=2-3'],
      ...devices,
      ...['-display', 'none', '-no-reboot', '-monitor', 'none'],
      ...['-kernel', image, '-initrd', initrd],
      '-append',
      `console=ttyS0 quiet psi=1 cgroup_no_v1=all panic=-1 ${append}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let rest = '';
  qemu.stdout.setEncoding('utf8').on('data', (text) => {
    process.stdout.write(text);
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) onLine?.(line);
  });
  const limit = setTimeout(() => qemu.kill('SIGKILL'), LIMIT_MS);
  await new Promise((done, fail) => {
    qemu.once('exit', done);
    qemu.once('error', fail);
  });
  clearTimeout(limit);
}
