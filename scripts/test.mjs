// node scripts/test.mjs [part of a path ...]: runs the compiled tests, on every Node version in the same way.
//
// Files named *.machine.test.js change or time the whole machine (pools, THP, cgroups, clocks). They run after
// all others and one at a time: two of them at once would see each other's pages.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const folder = 'out/js/test';
const wanted = process.argv.slice(2);
const files = (existsSync(folder) ? readdirSync(folder, { recursive: true }) : [])
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => join(folder, file))
  .sort();
if (files.length === 0) {
  console.error(
    `no test matches ${wanted.join(' ') || folder} (compile them with: node scripts/setup.mjs --tests)`,
  );
  process.exit(1);
}

// `timeout` alone does not end a file whose JavaScript thread is blocked in native code (Node 24, 26); the
// signal kills it.
const interrupted = new AbortController();
const signal = AbortSignal.any([AbortSignal.timeout(25 * 60_000), interrupted.signal]);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(name, () => interrupted.abort(new Error(`${name} was received`)));
}
const counts = { passed: 0, failed: 0, skipped: 0 };
/** Seconds of each file, by path. */
const seconds = new Map();
const isMachineWide = (file) => file.endsWith('.machine.test.js');

async function runFiles(selected, concurrency, timeout) {
  if (selected.length === 0 || signal.aborted) return;
  const stream = run({ files: selected, concurrency, timeout, signal });
  const addTime = ({ file, nesting, details }) => {
    if (nesting === 0) seconds.set(file, (seconds.get(file) ?? 0) + details.duration_ms / 1000);
  };
  stream.on('test:pass', addTime);
  stream.on('test:fail', addTime);
  stream.on('test:pass', ({ details, skip }) => {
    if (details.type === 'suite') return;
    if (skip !== undefined && skip !== false) counts.skipped++;
    else counts.passed++;
  });
  stream.on('test:fail', ({ details, todo }) => {
    if (details.type === 'suite' || (todo !== undefined && todo !== false)) return;
    counts.failed++;
  });
  for await (const chunk of stream.compose(new spec())) process.stdout.write(chunk);
}

await runFiles(
  files.filter((file) => !isMachineWide(file)),
  // They wait more than they compute; the default would leave one of two processors to the runner.
  Math.max(2, availableParallelism()),
  5 * 60_000,
);
await runFiles(files.filter(isMachineWide), 1, 15 * 60_000);

if (signal.aborted) {
  counts.failed++;
  const isLate = signal.reason?.name === 'TimeoutError';
  console.log(
    `stopped: ${isLate ? 'the whole run took more than 25 minutes' : signal.reason.message}`,
  );
  // A test that was killed while it held huge pages could not give them back itself.
  const main = 'dist/cli/main.js';
  if (existsSync(main))
    spawnSync(process.execPath, [main, 'pages', 'recover'], { stdio: 'inherit' });
}
if (files.length > 1) {
  const slowest = [...seconds].sort((a, b) => b[1] - a[1]).slice(0, 10);
  console.log('slowest files:');
  for (const [file, time] of slowest)
    console.log(`${time.toFixed(1).padStart(7)} s  ${relative('.', file)}`);
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 || counts.passed + counts.skipped === 0 ? 1 : 0;
