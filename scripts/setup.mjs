// node scripts/setup.mjs [--tests] [install|native|ts|tests|fakes ...]
//
// Everything between a fresh clone and a working tree: dependencies, native addon, TypeScript, and with
// --tests the compiled tests and the fake driver libraries. Built-ins only, because it runs before anything
// is installed. Each step keeps the fingerprint of what it was made from and does nothing while that holds;
// a second run costs one walk over the sources. Parts named by the caller run alone.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

/** A failure the user can mend: one line, no stack. */
class SetupError extends Error {}

const say = (text) => process.stderr.write(`setup: ${text}\n`);

/** Paths of the files below `folders` (or files themselves) that `wanted` accepts, in a stable order. */
function filesBelow(paths, wanted = () => true) {
  const found = [];
  for (const path of paths) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      found.push(path);
      continue;
    }
    for (const name of readdirSync(path)) found.push(...filesBelow([join(path, name)], wanted));
  }
  return found.filter(wanted).sort();
}

/** Name, size and time of each file, so that `touch` counts as a change exactly as it does for make. */
function fingerprint(files, ...more) {
  const hash = createHash('sha256');
  for (const file of files) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file}\0${size}\0${mtimeMs}\n`);
  }
  return hash.update(more.join('\0')).digest('hex');
}

const contentOf = (files) => {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
};

const stamp = (name) => join('out', 'setup', name);
const readStamp = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
function writeStamp(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Runs a tool quietly; its output (or the first `lines` of it) is shown only when it fails. */
function run(what, command, args, lines = Number.POSITIVE_INFINITY) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error !== undefined)
    throw new SetupError(`${what}: ${command}: ${result.error.message}`);
  if (result.status !== 0) {
    const output = (result.stdout + result.stderr).trimEnd().split('\n');
    process.stderr.write(`${output.slice(0, lines).join('\n')}\n`);
    const end = result.status === null ? `ended by ${result.signal}` : `exit code ${result.status}`;
    throw new SetupError(`${what} failed (${command}, ${end}), see above`);
  }
  return result;
}

const works = (command, args = ['--version']) =>
  spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** Names everything that is missing at once, with one command that installs it all. */
function requireTools(purpose, tools) {
  const missing = tools.filter(([command]) => !works(command));
  if (missing.length === 0) return;
  const names = missing.map(([command]) => command).join(', ');
  const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
  throw new SetupError(`${purpose} needs ${names}: apt-get install -y ${packages}`);
}

const compiler = process.env.CXX ?? 'g++';

/** System headers that a compiler alone does not bring; asked of the preprocessor, as the build would. */
function requireHeaders() {
  const headers = ['cstdint', 'unistd.h', 'linux/perf_event.h', 'linux/io_uring.h'];
  const result = spawnSync(compiler, ['-E', '-x', 'c++', '-', '-o', '/dev/null'], {
    input: headers.map((name) => `#include <${name}>\n`).join(''),
    encoding: 'utf8',
  });
  if (result.status === 0) return;
  const missing = /error: ([^:\s]+): No such file/.exec(result.stderr)?.[1];
  if (missing === undefined)
    throw new SetupError(`${compiler} does not work: ${result.stderr.split('\n', 1)[0]}`);
  const name = missing.startsWith('linux/')
    ? 'linux-libc-dev'
    : missing.endsWith('.h')
      ? 'libc6-dev'
      : 'g++';
  throw new SetupError(
    `the native build needs the header <${missing}>: apt-get install -y ${name}`,
  );
}

function install() {
  // Inside node_modules: whoever deletes or replaces that folder takes the stamp along.
  const mark = 'node_modules/.warpgauge-lock';
  const wanted = contentOf(['package-lock.json']);
  if (readStamp(mark) === wanted) return;
  say('installing the dependencies that package-lock.json names (npm ci)');
  requireTools('the installation', [['npm', 'npm']]);
  // npm follows the reason of a failure with a page of usage.
  run(
    'npm ci',
    'npm',
    ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    12,
  );
  writeStamp(mark, wanted);
}

function native() {
  const built = ['warpgauge.node', 'libwarpgauge_inject.so', 'warpgauge-guardian'].map((name) =>
    join('build/Release', name),
  );
  // Headers of npm packages carry no useful times, so make cannot see that they changed: the version tells.
  const { version } = JSON.parse(readFileSync('node_modules/node-addon-api/package.json', 'utf8'));
  const link = contentOf(['native/addon/exports.map']);
  const node = `${process.execPath} ${process.version} ${process.arch} node-addon-api ${version} ${link}`;
  const configuration = contentOf(['binding.gyp', 'native/sources.gypi']);
  const sources = fingerprint(filesBelow(['native'], (name) => /\.(cc|c|h)$/.test(name)));
  const wanted = [node, configuration, sources].join('\n');
  const before = readStamp(stamp('native'));
  if (before === wanted && built.every(existsSync)) return;

  requireTools('the native build', [
    [compiler, 'g++'],
    ['make', 'make'],
    ['python3', 'python3'],
  ]);
  requireHeaders();
  const [nodeBefore, configurationBefore] = before.split('\n');
  // A build for another Node is thrown away whole: object files do not record which headers they saw.
  const fresh = nodeBefore !== node || !existsSync('build/Makefile');
  const steps = fresh || configurationBefore !== configuration ? ['configure', 'build'] : ['build'];
  say(
    fresh ? 'building the native addon (all of it)' : 'building what changed of the native addon',
  );
  // node-gyp downloads headers unless it is told that they stand beside this very Node.
  const prefix = dirname(dirname(process.execPath));
  const nodedir = existsSync(join(prefix, 'include/node/node_api.h'))
    ? [`--nodedir=${prefix}`]
    : [];
  const jobs = ['--jobs', String(availableParallelism())];
  if (fresh) rmSync('build', { recursive: true, force: true });
  for (const step of steps) {
    const script = 'node_modules/node-gyp/bin/node-gyp.js';
    // Not a clean slate on failure: after a compile error the next run goes on where this one stopped.
    if (step !== 'configure') writeStamp(stamp('native'), `${node}\n${configuration}\nunfinished`);
    run('the native build', process.execPath, [script, step, ...nodedir, ...jobs]);
  }
  writeStamp(stamp('native'), wanted);
}

/** The script of the report page runs in a browser: it is compiled with other libraries, into the same folder. */
const VIEWER = 'lib/view/report/viewer/tsconfig.json';

/** Compiles `projects` when one of their inputs is newer than the last success. */
function compile(name, projects, inputs, output, more = '') {
  // npm's own record of what is installed: types come from there.
  const installed = 'node_modules/.package-lock.json';
  const configurations = ['tsconfig.json', ...projects, 'package.json', installed];
  const isSource = (file) => file.endsWith('.ts');
  const sources = filesBelow(inputs, isSource);
  if (sources.length === 0) return false;
  const wanted = fingerprint(
    sources,
    contentOf([...new Set(configurations)].filter(existsSync)),
    more,
  );
  if (readStamp(stamp(name)) === wanted && existsSync(output)) return false;
  say(`compiling ${inputs.join(', ')}`);
  rmSync(stamp(name), { force: true });
  // A file that was renamed or removed must not live on as its old output.
  rmSync(output, { recursive: true, force: true });
  // A tree without the page (tests of this script) has no project for it.
  for (const project of projects.filter(existsSync)) {
    run('tsc', process.execPath, ['node_modules/typescript/bin/tsc', '-p', project]);
  }
  writeStamp(stamp(name), wanted);
  return true;
}

function ts() {
  compile('ts', ['tsconfig.json', VIEWER], ['lib'], 'dist');
  const bin = 'dist/cli/main.js';
  if (existsSync(bin)) chmodSync(bin, 0o755);
}

function tests() {
  compile(
    'tests',
    ['tsconfig.test.json'],
    ['test', 'bench', 'examples'],
    'out/js',
    readStamp(stamp('ts')),
  );
}

function fakes() {
  const isSource = (file) => /\.(c|h|txt)$/.test(file);
  const sources = filesBelow(
    ['test/native', 'test/programs', 'CMakeLists.txt', 'CMakePresets.json'],
    isSource,
  );
  if (!sources.some((file) => file.startsWith('test/native/fake/') && file.endsWith('.c'))) return;
  const wanted = fingerprint(sources, contentOf(['native/sources.gypi']));
  if (readStamp(stamp('fakes')) === wanted && existsSync('out/debug/fake')) return;
  requireTools('building the fake drivers', [
    ['cmake', 'cmake'],
    [compiler, 'g++'],
    ['make', 'make'],
  ]);
  say('building the fake driver libraries and the programs of the tests');
  run('cmake', 'cmake', ['--preset', 'debug']);
  run('cmake', 'cmake', ['--build', '--preset', 'debug', '--target', 'fakes']);
  writeStamp(stamp('fakes'), wanted);
}

const parts = { install, native, ts, tests, fakes };
const args = process.argv.slice(2);
const named = args.filter((arg) => arg !== '--tests');
const unknown = named.find((name) => !Object.hasOwn(parts, name));
try {
  if (unknown !== undefined) {
    throw new SetupError(
      `Expected ${Object.keys(parts).join(', ')} or --tests but received ${unknown}`,
    );
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new SetupError(
      `Node ${process.versions.node} is too old, 20.19 is the oldest that works: https://nodejs.org`,
    );
  }
  const ordinary = args.includes('--tests') ? Object.keys(parts) : ['install', 'native', 'ts'];
  for (const name of named.length > 0 ? ['install', ...named] : ordinary) parts[name]();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
