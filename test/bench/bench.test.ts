import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { describeMachine } from '#lib/host/environment';
import { runChild } from '../../bench/child.ts';
import { ratioOf } from '../../bench/pairs.ts';
import { type BenchDocument, Skip } from '../../bench/result.ts';

const folder = mkdtempSync(join(tmpdir(), 'warpgauge-bench-'));
after(() => rmSync(folder, { recursive: true }));

function node(script: string, ...args: string[]) {
  const child = spawnSync(process.execPath, [`out/js/bench/${script}.js`, ...args], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

describe('npm run bench', () => {
  const file = join(folder, 'import.json');

  it('writes a document that holds every pair, and exits with 0 while limits are kept', () => {
    const generous = ['import/warpgauge=1000', 'import/warpgauge/arrow=1000'];
    const limits = generous.flatMap((text) => ['--limit', text]);
    const args = ['import', '--repetitions', '2', '--json', file, '--check', ...limits];
    const { code, stdout, stderr } = node('main', ...args);
    assert.equal(code, 0, stderr);

    const document = JSON.parse(readFileSync(file, 'utf8')) as BenchDocument;
    assert.equal(document.schema, 'warpgauge/bench/1');
    assert.ok(document.duration_ns > 0 && !Number.isNaN(Date.parse(document.started)));
    assert.deepEqual(document.arguments, args);
    const { load_average } = document.env;
    const machine = describeMachine(document.env);
    assert.match(machine, /^Linux \d+\.\d+.*, [1-9]\d* CPUs, /);
    assert.ok(machine.endsWith(`Node ${process.version}`), machine);
    assert.deepEqual([load_average.before.length, load_average.after.length], [3, 3]);

    const names = document.results.map(({ name }) => name);
    assert.deepEqual(names, ['import/warpgauge', 'import/warpgauge/arrow']);
    for (const result of document.results) {
      assert.ok(stdout.includes(result.name));
      if (result.verdict === 'skipped') {
        assert.equal(existsSync('dist/arrow.js'), false, result.reason ?? '');
        continue;
      }
      assert.equal(result.verdict, 'OK');
      assert.deepEqual([result.pairs, result.samples.length], [2, 2]);
      assert.deepEqual(result.ratio, ratioOf(result.samples));
      assert.deepEqual(result.limit, { at_most: 1000 });
      assert.ok((result.subject_spread?.min ?? 0) > 1e4 && (result.floor_spread?.min ?? 0) > 1e6);
    }
  });

  it('reports a ratio past its limit, and fails for it only when asked to check', () => {
    const args = ['import', '--repetitions', '1', '--limit', 'import/warpgauge=0.000001'];
    const reported = node('main', ...args);
    assert.equal(reported.code, 0);
    assert.match(reported.stdout, /import\/warpgauge .*ABOVE LIMIT/);
    const checked = node('main', ...args, '--check');
    assert.equal(checked.code, 1);
    assert.match(checked.stderr, /import\/warpgauge: ABOVE LIMIT/);
  });

  it('says in one line what was expected, with exit code 2', () => {
    for (const args of [
      ['imports'],
      ['--repetitions', '0'],
      ['--repetitions', '1.5'],
      ['--limit', 'import/warpgauge'],
      ['--limit', 'import/warpgauge=fast'],
      ['--fast'],
    ]) {
      const { code, stdout, stderr } = node('main', ...args);
      assert.deepEqual([code, stdout], [2, ''], args.join(' '));
      assert.match(stderr, /^bench: .+\n$/);
    }
  });

  it('compares two documents, and refuses what is none', () => {
    const same = node('compare', file, file);
    assert.equal(same.code, 0, same.stderr);
    assert.match(same.stdout, /import\/warpgauge .* 1\.000 +undecided/);
    assert.match(same.stdout, /same environment/);
    assert.equal(node('compare', file).code, 2);
    assert.equal(node('compare', file, 'package.json').code, 1);
  });
});

it('figures of a document go to their place in a page, and replace the ones before', () => {
  const document = join(folder, 'import.json');
  const page = join(folder, 'page.md');
  const printed = node('figures', document).stdout;
  assert.match(printed, /^\| import\/warpgauge \| [\d.]+ \| - \| <= 1000 \| /m);
  writeFileSync(page, readFileSync('docs/benchmarks.md'));
  for (let i = 0; i < 2; i++) assert.equal(node('figures', document, '--write', page).code, 0);
  const text = readFileSync(page, 'utf8');
  assert.equal(text.split(printed).length, 2);
  assert.equal(text.split('<!-- figures: end -->').length, 2);
  writeFileSync(page, '# no place\n');
  assert.equal(node('figures', document, '--write', page).code, 1);
  assert.equal(node('figures').code, 2);
});

describe('a child of a benchmark', () => {
  const { signal } = new AbortController();
  const run = (code: string) => runChild(process.execPath, ['-e', code], signal);

  it('that ends with 3 says that the machine cannot; any other failure is one', async () => {
    const unavailable = "process.stderr.write('no pool'); process.exitCode = 3";
    await assert.rejects(run(unavailable), (error) => {
      assert.ok(error instanceof Skip);
      assert.equal(error.message, 'no pool');
      return true;
    });
    await assert.rejects(run('process.exitCode = 1'), (error) => !(error instanceof Skip));
    await assert.rejects(run("process.kill(process.pid, 'SIGKILL')"), /SIGKILL|null/);
  });

  it('is a plain node: options of this process do not reach it', async () => {
    process.env['NODE_OPTIONS'] = '--no-deprecation';
    process.env['WARPGAUGE_ROOT'] = folder;
    try {
      const { stdout, wallNs } = await run('console.log(process.env)');
      assert.doesNotMatch(stdout, /NODE_|WARPGAUGE_/);
      assert.match(stdout, /PATH/);
      assert.ok(wallNs > 1e6);
    } finally {
      delete process.env['NODE_OPTIONS'];
      delete process.env['WARPGAUGE_ROOT'];
    }
  });
});
