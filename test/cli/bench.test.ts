import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MemcpyDocument } from '#lib/measure/memcpy/types';

const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups'];
const CLI = fileURLToPath(import.meta.resolve('#lib/cli/main'));
const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function bench(...args: string[]) {
  return spawnSync(process.execPath, [CLI, 'bench', 'memcpy', ...args], { encoding: 'utf8' });
}

test('a bad argument gets one line with what was expected and given, and exit code 2', () => {
  writeFileSync(join(folder, 'taken'), '');
  const bad: readonly [string[], RegExp][] = [
    [['--pages', '8k'], /one of 4k, thp, 2m, 1g for pages but received "8k"/],
    [['--pages', '4k,4k'], /each value once for pages/],
    [['--sizes', '0'], /size from 4 KiB to 8 TiB for sizes but received 0/],
    [['--sizes', '17TiB'], /size from 4 KiB to 8 TiB/],
    [['--sizes', '1MiB,1024KiB'], /each size once/],
    [['--sizes', 'large'], /a size such as 64KiB or 1GiB for --sizes but received "large"/],
    [['--blocks', '-1'], /number of blocks from 1/],
    [['--blocks', 'many'], /an integer for --blocks but received "many"/],
    [['--blocks', '10', '--budget', '5s'], /one of the two for blocks and budget/],
    [['--budget', '5x'], /a duration such as .* for --budget but received "5x"/],
    [['--states', 'lukewarm'], /one of cold, warm/],
    [['--pins', 'nailed'], /one of none, register, hostalloc/],
    [['--directions', 'DtoD'], /one of HtoD, DtoH, vectorAdd/],
    [['--blocks', '1e1'], /an integer for --blocks/],
    [['--cpu', '1023'], /a processor this process may use \(.*\) for cpu but received 1023/],
    [['--out', ''], /a folder for --out/],
    [['--backend', 'opencl'], /'--backend <name>' argument 'opencl' is invalid/],
    [['--out', folder], /empty or absent folder for --out/],
    [['--out', '/proc/warpgauge'], /Cannot write \/proc\/warpgauge/],
    [['extra'], /too many arguments/],
    [['--no-such-option'], /unknown option/],
  ];
  for (const [args, message] of bad) {
    const run = bench(...args);
    assert.equal(run.status, 2, `${args.join(' ')}: ${run.stderr}`);
    assert.equal(run.stdout, '', args.join(' '));
    assert.match(run.stderr, message, args.join(' '));
    assert.equal(run.stderr.trim().split('\n').length, 1, run.stderr);
  }
});

test('output that cannot be written is one line and exit code 1; a reader that leaves is neither', () => {
  const quick =
    '--backend host --pages 4k --sizes 64KiB --states warm --directions DtoH --blocks 1';
  const run = (redirect: string) =>
    spawnSync(
      'sh',
      ['-c', `"$0" "$@" ${redirect}`, process.execPath, CLI, 'bench', 'memcpy'].concat(
        quick.split(' '),
        '--json',
        '--quiet',
      ),
      { encoding: 'utf8' },
    );
  const full = run('>/dev/full');
  assert.equal(full.status, 1, full.stderr);
  assert.match(full.stderr, /^warpgauge: cannot write to standard output: .*\n$/);
  const left = run('| true');
  assert.equal(left.stderr, '');
});

test('a working folder that is gone is no crash', () => {
  const gone = mkdtempSync(join(tmpdir(), 'warpgauge-gone-'));
  const run = spawnSync(
    'sh',
    ['-c', 'rmdir "$2"; exec "$0" "$1" bench memcpy --out here', process.execPath, CLI, gone],
    { encoding: 'utf8', cwd: gone },
  );
  assert.equal(run.status, 2, run.stderr);
  assert.match(run.stderr, /^warpgauge: Cannot write here: .*\n$/);
});

test('--dry-run prints plan, cells, memory and estimate, and measures nothing', () => {
  const run = bench('--dry-run', '--backend', 'host', '--sizes', '1MiB,64MiB');
  assert.equal(run.status, 0, run.stderr);
  for (const words of [/DtoH\s+none\s+cold/, /Memory/, /Pool/, /Estimate/, /no meaning/]) {
    assert.match(run.stdout, words);
  }
  const json = JSON.parse(bench('--dry-run', '--backend', 'host', '--json').stdout);
  assert.equal(json.schema, 'warpgauge/memcpy-plan/1');
  assert.ok(json.estimate_total_ns > 0);
  assert.ok(json.cells.length > 80);
});

test('--out writes the result, the samples, the plots and the page into a new folder', () => {
  const out = join(folder, 'result');
  const run = bench(
    '--backend',
    'host',
    '--sizes',
    '1MiB',
    '--pages',
    '4k,thp',
    '--pins',
    'none',
    '--blocks',
    '2',
    '--quiet',
    '--out',
    out,
  );
  assert.equal(run.status, 0, run.stderr);
  const files = readdirSync(out);
  for (const name of ['result.json', 'samples.arrows', 'report.html', 'plots'])
    assert.ok(files.includes(name), files.join());
  assert.ok(readdirSync(join(out, 'plots')).filter((name) => name.endsWith('.svg')).length >= 5);
  // Standard output has the tables, whatever goes to files.
  assert.match(run.stdout, /Reproduce: warpgauge bench memcpy --backend host/);
  assert.match(run.stdout, /host proxy/);
});

test('an ordinary user without pools gets rows with the exact command, and exit code 0', (t) => {
  const readable = spawnSync('setpriv', [...NOBODY, process.execPath, CLI, '--version']);
  if (readable.status !== 0) return t.skip('needs root, and a checkout that others may read');
  const run = spawnSync(
    'setpriv',
    [
      ...NOBODY,
      process.execPath,
      CLI,
      'bench',
      'memcpy',
      '--backend',
      'host',
      '--sizes',
      '1MiB',
    ].concat('--blocks', '1', '--reserve', '--json', '--quiet'),
    { encoding: 'utf8', env: { ...process.env, HOME: '/nonexistent' } },
  );
  assert.equal(run.status, 0, run.stderr);
  const result = JSON.parse(run.stdout) as Pick<MemcpyDocument, 'cells'>;
  const huge = result.cells.filter(
    (cell) => (cell.kind === '2m' || cell.kind === '1g') && cell.legal,
  );
  assert.ok(huge.length > 0);
  if (huge.some((cell) => cell.status === 'ok')) return t.skip('somebody left huge pages free');
  for (const cell of huge) {
    assert.equal(cell.status, 'unavailable');
    // Not every processor that a guest is given has pages of 1 GB.
    const pool = `/sys/kernel/mm/hugepages/hugepages-${cell.kind === '2m' ? 2048 : 1048576}kB`;
    assert.match(cell.fix ?? '', existsSync(pool) ? /nr_hugepages/ : /sys\/kernel\/mm\/hugepages/);
  }
  assert.ok(result.cells.some((cell) => cell.kind === '4k' && cell.status === 'ok'));
});
