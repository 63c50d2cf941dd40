import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

let tree = '';
before(() => {
  tree = mkdtempSync(join(tmpdir(), 'warpgauge-runner-'));
  cpSync('scripts', join(tree, 'scripts'), { recursive: true });
  // The group `test` is `npm test`; nothing to set up in a tree of prepared tests.
  const manifest = { type: 'commonjs', scripts: { test: 'node scripts/test.mjs' } };
  writeFileSync(join(tree, 'package.json'), JSON.stringify(manifest));
});
beforeEach(() => {
  rmSync(join(tree, 'out'), { recursive: true, force: true });
  mkdirSync(join(tree, 'out/js/test'), { recursive: true });
});
after(() => rmSync(tree, { recursive: true, force: true }));

function addTest(name: string, body: string): void {
  const head = "const { test } = require('node:test'); const fs = require('node:fs');\n";
  writeFileSync(join(tree, 'out/js/test', name), `${head}${body}\n`);
}

/** The environment of a test process makes a runner below it report to the runner above it. */
function script(name: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync(process.execPath, [`scripts/${name}.mjs`, ...args], {
    cwd: tree,
    env,
    encoding: 'utf8',
  });
}

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? '';

describe('scripts/test.mjs', () => {
  it('counts what passed and what was skipped', () => {
    addTest('a.test.js', "test('works', () => {}); test('later', { skip: 'no GPU' }, () => {});");
    addTest('b.test.js', "test('outer', async (t) => { await t.test('inner', () => {}); });");
    const result = script('test');
    assert.equal(result.status, 0, result.stdout);
    assert.equal(lastLine(result.stdout), '3 passed, 0 failed, 1 skipped');
  });

  it('fails when a test fails', () => {
    addTest('a.test.js', "test('works', () => {}); test('breaks', () => { throw new Error(); });");
    const result = script('test');
    assert.equal(result.status, 1);
    assert.equal(lastLine(result.stdout), '1 passed, 1 failed, 0 skipped');
  });

  it('fails when a test file dies', () => {
    addTest('a.test.js', "process.kill(process.pid, 'SIGKILL');");
    assert.equal(script('test').status, 1);
  });

  it('fails when no test matches', () => {
    addTest('a.test.js', "test('works', () => {});");
    const result = script('test', 'absent');
    assert.equal(result.status, 1);
    assert.match(result.stderr, /^no test matches absent/);
    assert.equal(script('test', 'a.test').status, 0);
  });

  it('runs machine-wide tests after all others, one at a time', () => {
    const log = join(tree, 'log');
    const body = (name: string): string =>
      [
        `test('${name}', async () => {`,
        `  fs.appendFileSync('${log}', '${name} starts\\n');`,
        '  await new Promise((resolve) => setTimeout(resolve, 100));',
        `  fs.appendFileSync('${log}', '${name} ends\\n');`,
        '});',
      ].join('\n');
    addTest('a.machine.test.js', body('first machine'));
    addTest('b.machine.test.js', body('second machine'));
    addTest('z.test.js', body('ordinary'));
    assert.equal(script('test').status, 0);
    assert.deepEqual(readFileSync(log, 'utf8').trim().split('\n'), [
      'ordinary starts',
      'ordinary ends',
      'first machine starts',
      'first machine ends',
      'second machine starts',
      'second machine ends',
    ]);
  });
});

describe('scripts/test.mjs when it is interrupted', () => {
  it('stops the tests, gives huge pages back and fails', async () => {
    const log = join(tree, 'interrupted');
    addTest(
      'a.machine.test.js',
      `test('hangs', () => { fs.writeFileSync('${log}', ''); for (;;); });`,
    );
    mkdirSync(join(tree, 'dist/cli'), { recursive: true });
    // In place of the command line: what was asked of it goes to standard output.
    writeFileSync(join(tree, 'dist/cli/main.js'), 'console.log(process.argv.slice(2).join(" "))');
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const runner = spawn(process.execPath, ['scripts/test.mjs'], { cwd: tree, env });
    let output = '';
    runner.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    while (!existsSync(log)) await delay(20);
    runner.kill('SIGTERM');
    const [code] = (await once(runner, 'close')) as [number];
    assert.equal(code, 1);
    assert.match(output, /^stopped: SIGTERM was received\npages recover\n/m);
    assert.match(lastLine(output), /^0 passed, [1-9]\d* failed, 0 skipped$/);
  });
});

describe('scripts/check.mjs', () => {
  it('fails a group in which nothing ran', () => {
    const result = script('check', 'test');
    assert.equal(result.status, 1);
    assert.match(result.stdout, /^test: 1 run, 0 skipped, 1 FAILED/m);
    assert.equal(lastLine(result.stdout), '0 passed, 1 failed, 0 skipped');
  });

  it('passes on the counts of the runner below it', () => {
    addTest('a.test.js', "test('works', () => {}); test('later', { skip: 'no GPU' }, () => {});");
    const result = script('check', 'test');
    assert.equal(result.status, 0, result.stdout);
    assert.match(result.stdout, /^test: 1 run, 1 skipped/m);
    assert.equal(lastLine(result.stdout), '1 passed, 0 failed, 1 skipped');
  });

  it('refuses a group that it does not know', () => {
    assert.equal(script('check', 'everything').status, 1);
  });
});
