// node scripts/test-native.mjs [debug|asan|tsan] [part of a test name]: builds and runs test/native/*_test.cc.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const [preset = 'debug', part] = process.argv.slice(2);

function fail(text) {
  console.error(text);
  process.exit(1);
}
function run(command, args) {
  const result = spawnSync(command, args, { stdio: 'inherit' });
  if (result.error?.code === 'ENOENT') {
    fail(
      `native tests need ${command}: apt-get install -y ${command === 'ctest' ? 'cmake' : command}`,
    );
  }
  return result.status ?? 1;
}

if (!['debug', 'asan', 'tsan'].includes(preset)) {
  fail(`Expected debug, asan or tsan but received ${preset}`);
}
if (run('cmake', ['--preset', preset]) !== 0) process.exit(1);
// Asked before the build: otherwise the one line that matters drowns in compiler output.
if (
  /^DOCTEST_INCLUDE:PATH=.*NOTFOUND$/m.test(readFileSync(`out/${preset}/CMakeCache.txt`, 'utf8'))
) {
  fail('native tests need doctest: apt-get install -y doctest-dev');
}
if (run('cmake', ['--build', '--preset', preset]) !== 0) process.exit(1);

const report = join(process.cwd(), 'out', preset, 'ctest.xml');
const chosen = part === undefined ? [] : ['-R', part];
run('ctest', ['--preset', preset, '--output-junit', report, ...chosen]);

// Counts come from the report, not from the exit code: a build without a single test must not look green.
const suite = existsSync(report) ? readFileSync(report, 'utf8') : '';
const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
const failed = count('failures');
const notRun = count('skipped') + count('disabled');
const passed = count('tests') - failed - notRun;

// Parts of a test that could not run here say `name: skipped: reason`; ctest shows output of failures only.
const log = `out/${preset}/Testing/Temporary/LastTest.log`;
const notes = existsSync(log) ? readFileSync(log, 'utf8').match(/^.*\bskipped\b.*$/gm) : null;
const lines = (notes ?? []).filter((line) => !line.includes('[doctest]'));
for (const line of lines) console.log(line);
const skipped = notRun + lines.filter((line) => line.includes(': skipped: ')).length;
const expected = readdirSync('test/native').filter((file) => file.endsWith('_test.cc')).length;
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
if (part === undefined && count('tests') !== expected) {
  fail(`test/native holds ${expected} tests but ${count('tests')} were run`);
}
process.exit(failed > 0 || passed + skipped === 0 ? 1 : 0);
