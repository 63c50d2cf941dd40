import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadedModules, MAIN, warpgauge } from './run.js';

test('--version and --help', () => {
  const { version } = JSON.parse(
    readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'),
  ) as { version: string };
  assert.deepEqual(warpgauge(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  for (const args of [['--help'], [], ['help']]) {
    const { code, stdout, stderr } = warpgauge(args);
    assert.equal(code, 0, args.join(' '));
    assert.equal(stderr, '');
    assert.match(stdout, /^ {2}doctor /m);
    assert.match(stdout, /^ {2}environment /m);
  }
  const { code, stdout } = warpgauge(['doctor', '--help']);
  assert.equal(code, 0);
  assert.match(stdout, /--json/);
});

test('a bad argument gets one line on standard error and exit code 2', () => {
  for (const args of [
    ['docto'],
    ['doctor', '--jsonn'],
    ['doctor', 'extra'],
    ['--unknown'],
    ['environment', 'diff', 'only-one'],
    ['environment', 'diff', '/nonexistent/a.json', '/nonexistent/b.json'],
  ]) {
    const { code, stdout, stderr } = warpgauge(args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(stdout, '', args.join(' '));
    assert.match(stderr, /^warpgauge: [^\n]+\n$/, args.join(' '));
  }
});

test('help, doctor and bad arguments load no apache-arrow; help loads no room at all', () => {
  const arrow = (modules: readonly string[]) => modules.filter((file) => /apache-arrow/.test(file));
  // The list does see modules that are loaded.
  assert.notEqual(
    arrow(loadedModules(['--input-type=module', '-e', "await import('apache-arrow')"])).length,
    0,
  );
  for (const args of [['--help'], ['doctor'], ['doctor', '--json'], ['doctor', '--bad'], ['bad']]) {
    const modules = loadedModules([MAIN, ...args]);
    assert.ok(modules.includes(MAIN), args.join(' '));
    assert.deepEqual(arrow(modules), [], args.join(' '));
    assert.deepEqual(
      modules.filter((file) => /dist\/(measure|mitigate|monitor)\//.test(file)),
      [],
      args.join(' '),
    );
  }
  const rooms = loadedModules([MAIN, '--help']).filter((file) => /dist\/(host|view)\//.test(file));
  assert.deepEqual(rooms, []);
  assert.ok(loadedModules([MAIN, 'doctor']).some((file) => /dist\/host\/doctor/.test(file)));
});

test('importing warpgauge loads no apache-arrow and calls nothing of the host', () => {
  const modules = loadedModules(['--input-type=module', '-e', "await import('warpgauge')"]);
  assert.ok(modules.some((file) => file.endsWith('dist/index.js')));
  assert.deepEqual(
    modules.filter((file) => /apache-arrow|dist\/host\/doctor\.js|\.node$/.test(file)),
    [],
  );
});

test('a reader that goes away is no failure', async () => {
  const child = spawn(process.execPath, [MAIN, 'doctor', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.equal(signal, null);
  assert.equal(code, 0);
  assert.equal(stderr, '');
});

test('environment: JSON; diff of records and of results that hold one', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { code, stdout } = warpgauge(['environment', '--json']);
  assert.equal(code, 0);
  const record = JSON.parse(stdout) as {
    schema: string;
    identity: { kernel: { release: string } };
  };
  const { release } = record.identity.kernel;
  assert.equal(record.schema, 'warpgauge/environment/2');
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, `${name}.json`)) as [
    string,
    string,
    string,
  ];
  writeFileSync(a, stdout);
  writeFileSync(b, JSON.stringify({ schema: 'warpgauge/memcpy/1', env: record }));
  const changed = { ...record.identity, kernel: { ...record.identity.kernel, release: '0.0' } };
  writeFileSync(c, JSON.stringify({ ...record, identity: changed }));
  assert.deepEqual(warpgauge(['environment', 'diff', a, b]), {
    code: 0,
    stdout: 'no difference\n',
    stderr: '',
  });
  const text = warpgauge(['environment', 'diff', a, c]);
  assert.equal(text.code, 0);
  assert.match(
    text.stdout,
    new RegExp(`^! identity\\.kernel\\.release: ${release} -> 0\\.0$`, 'm'),
  );
  const json = warpgauge(['environment', 'diff', a, c, '--json']);
  assert.deepEqual(JSON.parse(json.stdout), {
    schema: 'warpgauge/environment-diff/1',
    a,
    b: c,
    differences: [{ field: 'identity.kernel.release', a: release, b: '0.0', decides: true }],
  });
  writeFileSync(c, '{"schema":"other/1"}');
  assert.equal(warpgauge(['environment', 'diff', a, c]).code, 2);
});
