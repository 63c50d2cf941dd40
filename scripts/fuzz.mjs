// node scripts/fuzz.mjs [--seconds N] [target ...]: every text parser under libFuzzer with ASan and UBSan.
//
// N seconds in total (default 30) are shared by the targets (default all of test/fuzz/*_targets.cc), after the inputs
// of test/fuzz/corpus/<target> have been run. New inputs are collected in out/fuzz/corpus; one that crashes is written to
// out/fuzz/findings: mend the parser and commit that file into test/fuzz/corpus/<target>.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '30' } },
});

function fail(text) {
  console.error(text);
  process.exit(1);
}

const seconds = Number(values.seconds);
if (!(seconds > 0))
  fail(`Expected a number of seconds for --seconds but received ${values.seconds}`);

function build(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error !== undefined) fail(`fuzzing needs ${command}: apt-get install -y ${command}`);
  if (result.status !== 0) fail(result.stdout + result.stderr);
  return result.stdout;
}
// Both parts are asked for before CMake keeps a compiler that cannot link.
const runtime = build('clang-14', ['-print-file-name=libclang_rt.fuzzer-x86_64.a']).trim();
const needsRuntime = 'fuzzing needs libFuzzer: apt-get install -y libclang-rt-14-dev';
if (process.arch === 'x64' && !existsSync(runtime)) {
  // The other layout of the folder of compiler-rt has no architecture in the name.
  const other = build('clang-14', ['-print-file-name=libclang_rt.fuzzer.a']).trim();
  if (!existsSync(other)) fail(needsRuntime);
}
build('cmake', ['--preset', 'fuzz']);
build('cmake', ['--build', '--preset', 'fuzz', '--target', 'fuzz']);

const program = 'out/fuzz/test/fuzz/fuzz';
const all = build(program, ['--targets']).trim().split('\n').sort();
const unknown = positionals.filter((name) => !all.includes(name));
if (unknown.length > 0) fail(`Expected ${all.join(', ')} but received ${unknown.join(', ')}`);
const targets = positionals.length > 0 ? positionals : all;
for (const name of all) {
  const folder = join('test/fuzz/corpus', name);
  if (!existsSync(folder) || readdirSync(folder).length === 0) {
    fail(`${folder}: a target needs at least one recorded input`);
  }
}

const workers = Math.min(availableParallelism(), targets.length);
const share = Math.max(1, Math.round((seconds * workers) / targets.length));
const findings = 'out/fuzz/findings';
mkdirSync(findings, { recursive: true });

/** Runs one target; its executions, and its output where it failed. */
function run(name) {
  const grown = join('out/fuzz/corpus', name);
  mkdirSync(grown, { recursive: true });
  const args = [
    grown,
    join('test/fuzz/corpus', name),
    `-max_total_time=${share}`,
    `-artifact_prefix=${findings}/${name}-`,
    '-timeout=10',
    '-rss_limit_mb=2048',
    '-max_len=16384',
    '-print_final_stats=1',
  ];
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env: { ...process.env, WARPGAUGE_FUZZ_TARGET: name },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
    }
    child.on('close', (code) => {
      const executions = Number(/number_of_executed_units: (\d+)/.exec(text)?.[1] ?? 0);
      resolve({ name, executions, failed: code !== 0 || executions === 0, text });
    });
  });
}

const counts = { passed: 0, failed: 0 };
let executions = 0;
const queue = [...targets];
await Promise.all(
  Array.from({ length: workers }, async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const result = await run(name);
      executions += result.executions;
      if (result.failed) {
        counts.failed++;
        console.log(`${name} FAILED:\n${result.text.trimEnd().slice(-8000)}`);
      } else {
        counts.passed++;
        console.log(`${name}: ${result.executions} executions in ${share} s`);
      }
    }
  }),
);
console.log(`${executions} executions of ${targets.length} targets, ${counts.failed} findings`);
console.log(`${counts.passed} passed, ${counts.failed} failed, 0 skipped`);
process.exitCode = counts.failed > 0 ? 1 : 0;
