// node scripts/pack-offline.mjs [FOLDER]: one .tar.gz for a machine without Node, npm and network.
//
// Holds this Node (stripped) with its licence, the built library and addon, and what they need at run time.
// Unpacked anywhere, bin/warpgauge runs with nothing but /bin/sh and the C and C++ library.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = resolve(process.argv[2] ?? root);
process.chdir(root);
const maxBytes = 60e6;

function stop(text) {
  console.error(`pack-offline: ${text}`);
  process.exit(1);
}
function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (result.error?.code === 'ENOENT')
    stop(`${command} is missing: apt-get install -y ${command === 'strip' ? 'binutils' : command}`);
  if (result.status !== 0) stop(`${command} ${args.join(' ')}: ${result.stderr.trim()}`);
}

const addon = 'build/Release/warpgauge.node';
if (!existsSync(addon) || !existsSync('dist/index.js')) stop('nothing is built: npm run build');
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const tuple = `${process.platform}-${process.arch}`;
const libc = process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';
const name = `warpgauge-${version}-${tuple}`;
const bundle = join(root, 'out/offline', name);
rmSync(dirname(bundle), { recursive: true, force: true });

// Where the licence of Node lies: official archives, Debian packages, nvm-like prefixes.
const prefix = dirname(dirname(process.execPath));
const licence = [
  join(prefix, 'LICENSE'),
  join(prefix, 'share/doc/nodejs/LICENSE'),
  '/usr/share/doc/nodejs/LICENSE',
].find(existsSync);
if (licence === undefined)
  stop(`no licence text beside ${process.execPath}: Node must not be passed on without it`);
mkdirSync(join(bundle, 'node/bin'), { recursive: true });
copyFileSync(licence, join(bundle, 'node/LICENSE'));
run('strip', ['-o', join(bundle, 'node/bin/node'), process.execPath]);
chmodSync(join(bundle, 'node/bin/node'), 0o755);

// Declarations, maps and bundles for browsers are half of node_modules and never read at run time.
const isNeeded = (path) => !/\.(map|ts|mts|cts)$|\.min\.js$|\/\.bin$/.test(path);
const part = join(bundle, 'package');
mkdirSync(join(part, 'prebuilds', tuple), { recursive: true });
for (const path of ['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'dist', 'schemas']) {
  if (existsSync(path)) cpSync(path, join(part, path), { recursive: true, filter: isNeeded });
}
const prebuilt = join(part, 'prebuilds', tuple, `warpgauge.${libc}.node`);
run('strip', ['-o', prebuilt, addon]);
const injected = join(part, 'prebuilds', tuple, `libwarpgauge_inject.${libc}.so`);
run('strip', ['-o', injected, 'build/Release/libwarpgauge_inject.so']);
const guardian = join(part, 'prebuilds', tuple, 'warpgauge-guardian');
run(process.execPath, ['scripts/static-guardian.mjs', guardian]);

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
for (const [path, { dev }] of Object.entries(packages)) {
  const isTypes = /\/@types\/|\/undici-types$/.test(path);
  if (path === '' || dev === true || isTypes) continue;
  cpSync(path, join(part, path), {
    recursive: true,
    // Nested packages have entries of their own.
    filter: (file) => isNeeded(file) && !file.slice(path.length).includes('node_modules'),
  });
}

const launcher = `#!/bin/sh
# Shell built-ins only: works with an empty PATH. A link to this file needs readlink.
unset CDPATH
dir=\${0%/*}
[ "$dir" = "$0" ] && dir=.
[ -x "$dir/../node/bin/node" ] || { real=$(readlink -f "$0") && dir=\${real%/*}; }
dir=$(cd "$dir/.." && pwd -P) || exit 125
exec "$dir/node/bin/node" "$dir/package/dist/cli/main.js" "$@"
`;
mkdirSync(join(bundle, 'bin'));
writeFileSync(join(bundle, 'bin/warpgauge'), launcher, { mode: 0o755 });

mkdirSync(target, { recursive: true });
const archive = join(target, `${name}.tar.gz`);
run('tar', [
  '--sort=name',
  '--owner=0',
  '--group=0',
  '--numeric-owner',
  '-I',
  'gzip -9',
  '-cf',
  archive,
  '-C',
  dirname(bundle),
  name,
]);
rmSync(dirname(bundle), { recursive: true, force: true });
const { size } = statSync(archive);
if (size > maxBytes) stop(`${archive} has ${size} bytes, at most ${maxBytes} are allowed`);
console.log(`${archive} (${(size / 1e6).toFixed(1)} MB)`);
