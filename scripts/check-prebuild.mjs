// node scripts/check-prebuild.mjs FILE.node|FILE.so ...: what a built library asks of the system it is loaded on.
//
// The addon: symbol versions at most those of the oldest system that runs Node 20, exactly the two symbols Node looks
// for, never unloaded, and small. The library that is injected into traced programs (.so) is a guest in any program that
// runs CUDA: older systems still, its one symbol, no other library than the C library, no thread-local storage.
// Exit code 1 with one line per violation.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';

// Stripped at -O3: 2.1 MB on x64 (2026-11), most of it set-up code that inlines std::string. -Os makes 0.7 MB of it and puts
// Sample() of meminfo, disk, net and process past the limits of `npm run bench -- sample` (1.33 to 1.48 of the bare
// calls instead of 1.15 to 1.20). The limit is there to notice what nobody meant to add: debug info, another runtime.
const addon = {
  // Node 20-26 themselves need GLIBC_2.28; systems with that glibc carry the libstdc++ of GCC 8.
  ceilings: { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11' },
  exported: ['napi_register_module_v1', 'node_api_module_get_api_version_v1'],
  maxBytes: 3.5 * 1024 * 1024,
};
// 2.17 is where clock_gettime came into libc, and the first version on arm64: CentOS 7. Nothing of C++ at all (a ceiling
// of 0). Stripped 47 KB on x64 (2026-11).
const injected = {
  ceilings: { GLIBC: '2.17', GLIBCXX: '0', CXXABI: '0' },
  exported: ['InitializeInjection'],
  needed: /^(libc|libpthread|libdl)\.so\.\d+$|^ld-linux/,
  maxBytes: 128 * 1024,
};

function isNewer(version, ceiling) {
  const [left, right] = [version, ceiling].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

function read(command, ...args) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.error?.code === 'ENOENT') {
    console.error(`${command} is missing: apt-get install -y binutils`);
    process.exit(1);
  }
  if (result.status !== 0) {
    console.error(result.stderr.trim());
    process.exit(1);
  }
  return result.stdout;
}

let failed = false;
function fail(text) {
  failed = true;
  console.error(text);
}

const files = process.argv.slice(2);
if (files.length === 0) fail('Expected the path of at least one .node or .so file');
for (const file of files) {
  if (!existsSync(file)) {
    fail(`${file}: no such file`);
    continue;
  }
  const { ceilings, exported, needed: allowed, maxBytes } = file.endsWith('.so') ? injected : addon;
  const symbols = read('objdump', '-T', file);
  const needed = [...symbols.matchAll(/\(?\b(GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)?\s+(\S+)$/gm)];
  // An addon of C++ always needs some; none at all would mean that the output was not understood.
  if (needed.length === 0) fail(`${file}: no versioned symbols found`);
  for (const [, family, version, name] of needed) {
    const ceiling = ceilings[family];
    if (isNewer(version, ceiling)) {
      fail(`${file}: ${name} needs ${family}_${version}, at most ${ceiling} is allowed`);
    }
  }
  const defined = read('nm', '-D', '--defined-only', '--format=posix', file)
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0])
    .sort();
  if (defined.join() !== exported.join()) fail(`${file}: exports ${defined.join(', ')}`);
  const dynamic = read('readelf', '-dW', file);
  for (const [, library] of dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)) {
    if (allowed !== undefined && !allowed.test(library)) fail(`${file}: needs ${library}`);
  }
  if (allowed !== undefined && /^\s*TLS\b/m.test(read('readelf', '-lW', file))) {
    fail(`${file}: has thread-local storage`);
  }
  if (!/\(FLAGS_1\).*\bNODELETE\b/.test(dynamic)) {
    fail(`${file}: can be unloaded while its threads run; link with -Wl,-z,nodelete`);
  }
  const { size } = statSync(file);
  if (size > maxBytes) fail(`${file}: ${size} bytes, at most ${maxBytes} are allowed`);
}
process.exitCode = failed ? 1 : 0;
