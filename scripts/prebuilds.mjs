// node scripts/prebuilds.mjs: what the published package carries in prebuilds/, stripped: the addon and, beside it, the
// library for traced programs and the guardian.
//
// prebuildify moves the file out of build/Release and rebuilds everything there, so it gets a copy of the sources:
// the working build stays as it is.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const copy = join(root, 'out/prebuilds');

rmSync(copy, { recursive: true, force: true });
rmSync('prebuilds', { recursive: true, force: true });
mkdirSync(copy, { recursive: true });
for (const name of ['package.json', 'binding.gyp', 'native']) {
  cpSync(name, join(copy, name), { recursive: true });
}
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));

const env = { ...process.env, npm_config_jobs: 'max' };
// prebuildify puts the folder of node first in PATH: a compiler cache would stand behind the compiler.
const find = (name) =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));
env.CC ??= find('gcc') ?? 'gcc';
env.CXX ??= find('g++') ?? 'g++';
const prefix = dirname(dirname(process.execPath));
if (existsSync(join(prefix, 'include/node/node_api.h'))) env.npm_config_nodedir = prefix;
// With --napi the target only names headers, and those of the nodedir win.
const args = ['--napi', '--strip', '--tag-libc', '-t', '20.19.0', '--cwd', copy, '--out', root];
const built = spawnSync(process.execPath, ['node_modules/prebuildify/bin.js', ...args], {
  env,
  stdio: 'inherit',
});
if (built.status !== 0) process.exit(built.status ?? 1);

const addons = readdirSync('prebuilds', { recursive: true })
  .filter((name) => name.endsWith('.node'))
  .map((name) => join('prebuilds', name));
const files = [...addons];
for (const addon of addons) {
  const injected = addon.replace(/warpgauge\.(\w+)\.node$/, 'libwarpgauge_inject.$1.so');
  const source = join(copy, 'build/Release/libwarpgauge_inject.so');
  const stripped = spawnSync('strip', ['-o', injected, source], { stdio: 'inherit' });
  if (stripped.status !== 0) process.exit(stripped.status ?? 1);
  // prebuildify takes every shared library of the build along, without the name of the libc.
  rmSync(join(dirname(addon), 'libwarpgauge_inject.so'), { force: true });
  files.push(injected);
}
const guardian = join(dirname(addons[0]), 'warpgauge-guardian');
const linked = spawnSync(process.execPath, ['scripts/static-guardian.mjs', guardian], {
  stdio: 'inherit',
});
if (linked.status !== 0) process.exit(linked.status ?? 1);
const check = spawnSync(process.execPath, ['scripts/check-prebuild.mjs', ...files], {
  stdio: 'inherit',
});
if (check.status === 0) console.log([...files, guardian].join('\n'));
process.exit(check.status ?? 1);
