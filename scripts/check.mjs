// node scripts/check.mjs [group ...]: everything CI runs, in the same order, by hand.
//
// Groups: setup lint types test asan tsan fuzz package; without names all of them. Each prints how many checks ran and
// how many were skipped, and a group in which nothing ran has failed: a check that silently does not happen is
// worse than one that fails. `format` (only by name) rewrites the sources instead of judging them.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clangTidy as tidyBatches } from './clang-tidy.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const bin = (name) => join('node_modules/.bin', name);

/** Runs a command with its output shown, and returns exit code and text; code null when it does not exist. */
function run(command, args, { env = {}, quiet = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
        if (!quiet) process.stdout.write(chunk);
      });
    }
    child.on('error', (error) => resolve({ code: null, text: error.message }));
    child.on('close', (code, signal) =>
      resolve({ code: code ?? 1, text: signal ? `${text}\n${signal}` : text }),
    );
  });
}

const counts = { passed: 0, failed: 0, skipped: 0 };

/** One check: passed when the command ends with 0. */
function single(name, command, args, options) {
  return async () => {
    const { code, text } = await run(command, args, { ...options, quiet: true });
    if (code === 0) return { passed: 1, failed: 0, skipped: 0 };
    console.log(`${name} failed:\n${text.trimEnd()}`);
    return { passed: 0, failed: 1, skipped: 0 };
  };
}

/** A test runner of ours: its last line counts. */
function suite(command, args, options = {}) {
  return async () => {
    const { code, text } = await run(command, args, options);
    const found = [...text.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1);
    const [passed, failed, skipped] = (found ?? [0, 0, 0, 0]).slice(1).map(Number);
    // A runner that ends badly without having counted a failure has itself failed.
    return { passed, failed: Math.max(failed, code === 0 ? 0 : 1), skipped };
  };
}

function cppFiles() {
  return ['native', 'test/native', 'test/programs', 'bench']
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((file) => join(folder, file)))
    .filter((file) => /\.(cc|c|h)$/.test(file))
    .sort();
}

async function clangTidy() {
  const versions = await Promise.all(
    ['clang-tidy-14', 'clang-tidy'].map(async (name) => [
      name,
      await run(name, ['--version'], { quiet: true }),
    ]),
  );
  const tool = versions.find(([, { code, text }]) => code === 0 && /version 14\./.test(text))?.[0];
  if (tool === undefined) {
    console.log('clang-tidy 14 is missing: apt-get install -y clang-tidy-14');
    return { passed: 0, failed: 0, skipped: 1 };
  }
  // Through cmake-js, so that the addon with its Node headers is in the list of commands too.
  const folder = 'out/addon/build';
  const configured = await run(bin('cmake-js'), ['configure', '-O', folder], { quiet: true });
  if (configured.code !== 0) {
    console.log(configured.text);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const isOurs = (file) => file.startsWith(join(root, 'native/'));
  return tidyBatches(tool, folder, isOurs, (command, args) => run(command, args, { quiet: true }));
}

const node = process.execPath;
const groups = {
  setup: [single('setup', node, ['scripts/setup.mjs', '--tests'])],
  lint: [
    single('biome', bin('biome'), ['check', '--error-on-warnings']),
    single('clang-format', bin('clang-format'), ['-n', '-Werror', ...cppFiles()]),
    clangTidy,
    single('check-signatures', node, ['scripts/check-signatures.mjs']),
    single('publint', bin('publint'), ['--strict']),
    single('attw', bin('attw'), [
      '--pack',
      '--profile',
      'esm-only',
      '--exclude-entrypoints',
      './schemas/*',
    ]),
  ],
  types: [
    single('tsc', bin('tsc'), ['-p', 'tsconfig.json', '--noEmit']),
    single('tsc of the report page', bin('tsc'), [
      '-p',
      'lib/view/report/viewer/tsconfig.json',
      '--noEmit',
    ]),
    single('tsc of tests', bin('tsc'), ['-p', 'tsconfig.test.json', '--noEmit']),
  ],
  test: [suite('npm', ['test'])],
  asan: [suite(node, ['scripts/test-native.mjs', 'asan'])],
  tsan: [suite(node, ['scripts/test-native.mjs', 'tsan'])],
  fuzz: [suite(node, ['scripts/fuzz.mjs', '--seconds', '30'])],
  package: [
    single('prebuilds', node, ['scripts/prebuilds.mjs']),
    suite(node, ['scripts/test.mjs', 'package/install', 'package/manifest'], {
      env: { PREBUILDS_ONLY: '1' },
    }),
  ],
};

const named = process.argv.slice(2);
if (named.join() === 'format') {
  const written = await run(bin('biome'), ['check', '--write']);
  const formatted = await run(bin('clang-format'), ['-i', ...cppFiles()]);
  process.exit(written.code || formatted.code);
}
const unknown = named.filter((name) => !Object.hasOwn(groups, name));
if (unknown.length > 0) {
  console.error(
    `Expected ${Object.keys(groups).join(', ')} or format but received ${unknown.join(', ')}`,
  );
  process.exit(1);
}

const summary = [];
for (const name of named.length > 0 ? named : Object.keys(groups)) {
  console.log(`\n=== ${name}`);
  const start = performance.now();
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const check of groups[name]) {
    const result = await check();
    for (const key of Object.keys(total)) total[key] += result[key];
  }
  if (total.passed + total.failed === 0) {
    total.failed = 1;
    console.log(`${name}: nothing ran`);
  }
  for (const key of Object.keys(total)) counts[key] += total[key];
  const seconds = Math.round((performance.now() - start) / 1000);
  const failures = total.failed > 0 ? `, ${total.failed} FAILED` : '';
  summary.push(
    `${name}: ${total.passed + total.failed} run, ${total.skipped} skipped${failures} (${seconds} s)`,
  );
  console.log(summary.at(-1));
}
console.log(`\n${summary.join('\n')}`);
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 ? 1 : 0;
