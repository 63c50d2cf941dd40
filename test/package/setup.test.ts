import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { builtFiles, changedFiles, copyTree, linkModules, shrinkNative } from './tree.ts';

let tree = '';
let calls = '';

/** An `npm` that installs nothing but writes down what it was asked for. */
function fakeNpm(folder: string): void {
  mkdirSync(folder, { recursive: true });
  calls = join(folder, 'calls');
  const script = `#!/bin/sh\n[ "$1" = --version ] || echo "$@" >> '${calls}'\n`;
  writeFileSync(join(folder, 'npm'), script, { mode: 0o755 });
}

const npmCalls = (): string[] =>
  existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [];

interface SetupOptions {
  readonly node?: string;
  readonly env?: Record<string, string>;
}

function setup(args: readonly string[], options: SetupOptions = {}): SpawnSyncReturns<string> {
  const { NODE_OPTIONS: _, CXX: __, ...inherited } = process.env;
  const env = { ...inherited, PATH: `${join(tree, 'bin')}:${process.env['PATH']}`, ...options.env };
  return spawnSync(options.node ?? process.execPath, ['scripts/setup.mjs', ...args], {
    cwd: tree,
    env,
    encoding: 'utf8',
  });
}

/** Runs the set-up and returns what it wrote anew. */
function changedBy(args: readonly string[], options: SetupOptions = {}): string[] {
  const earlier = builtFiles(tree);
  const result = setup(args, options);
  assert.equal(result.status, 0, result.stderr);
  return changedFiles(earlier, builtFiles(tree));
}

const touch = (path: string): void => utimesSync(join(tree, path), new Date(), new Date());
const objects = (files: readonly string[]): string[] => files.filter((name) => /\.o$/.test(name));

/** A folder with links to the tools that a clean machine has, without `missing`. */
function pathWithout(missing: string): string {
  const folder = join(tree, `without-${missing}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const tool of ['g++', 'make', 'python3', 'cmake', 'npm']) {
    if (tool !== missing) writeFileSync(join(folder, tool), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  }
  return folder;
}

describe('scripts/setup.mjs', () => {
  before(() => {
    tree = copyTree();
    linkModules(tree);
    shrinkNative(tree);
    fakeNpm(join(tree, 'bin'));
  });
  after(() => rmSync(tree, { recursive: true, force: true }));

  it('installs, builds and compiles everything on a fresh clone', () => {
    const result = setup(['--tests']);
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stdout, '', 'standard output belongs to the command that follows');
    assert.equal(npmCalls().length, 1);
    assert.match(npmCalls()[0] ?? '', /^ci /);
    for (const file of ['build/Release/warpgauge.node', 'dist/index.js', 'out/js/test/package']) {
      assert.ok(existsSync(join(tree, file)), `${file} is missing`);
    }
    if (existsSync('test/native/fake/nvml.c')) {
      assert.ok(existsSync(join(tree, 'out/debug/fake/libnvidia-ml.so.1')));
    }
  });

  it('does nothing and says nothing the second time', () => {
    const earlier = builtFiles(tree);
    const result = setup(['--tests']);
    assert.equal(result.status, 0);
    assert.equal(result.stderr, '');
    assert.deepEqual(changedFiles(earlier, builtFiles(tree)), []);
    assert.equal(npmCalls().length, 1);
  });

  it('compiles one object when one .cc changes, and no TypeScript', () => {
    touch('native/core/dynamic_library.cc');
    const changed = changedBy(['--tests']);
    assert.deepEqual(
      objects(changed).filter((name) => name.startsWith('build/')),
      ['build/Release/obj.target/warpgauge/native/core/dynamic_library.o'],
    );
    assert.ok(changed.includes('build/Release/warpgauge.node'));
    assert.deepEqual(
      changed.filter((name) => /\.js$/.test(name)),
      [],
    );
  });

  it('compiles the objects that include a header when that header changes', () => {
    touch('native/core/status.h');
    assert.deepEqual(
      objects(changedBy([])).map((name) => name.split('/').at(-1)),
      ['dynamic_library.o'],
    );
  });

  it('runs only the TypeScript compiler when one .ts changes', () => {
    touch('lib/units.ts');
    const changed = changedBy([]);
    assert.ok(changed.includes('dist/units.js'));
    assert.deepEqual(
      changed.filter((name) => !name.startsWith('dist/')),
      [],
    );
  });

  it('forgets the output of a .ts that is gone', () => {
    const extra = 'lib/gone.ts';
    writeFileSync(join(tree, extra), 'export const gone: number = 1;\n');
    assert.ok(changedBy([]).includes('dist/gone.js'));
    rmSync(join(tree, extra));
    changedBy([]);
    assert.equal(existsSync(join(tree, 'dist/gone.js')), false);
  });

  it('installs again when the lock changes, and builds nothing for it', () => {
    appendFileSync(join(tree, 'package-lock.json'), '\n');
    assert.deepEqual(changedBy(['ts', 'native']), []);
    assert.equal(npmCalls().length, 2);
    setup([]);
    assert.equal(npmCalls().length, 2);
  });

  it('stops with the compiler message on a mistake, and goes on from there once it is mended', () => {
    const source = join(tree, 'native/core/dynamic_library.cc');
    const good = readFileSync(source, 'utf8');
    writeFileSync(source, `${good}\nnonsense\n`);
    const result = setup([]);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /dynamic_library\.cc.*error/);
    writeFileSync(source, good);
    assert.deepEqual(
      objects(changedBy([])).map((name) => name.split('/').at(-1)),
      ['dynamic_library.o'],
    );
  });

  it('builds all native code again for another Node, and nothing else', (t) => {
    const headers = join(dirname(dirname(process.execPath)), 'include');
    if (!existsSync(join(headers, 'node/node_api.h'))) {
      t.skip(`no Node headers in ${headers}: a second Node would need the network`);
      return;
    }
    const prefix = join(tree, 'other');
    mkdirSync(join(prefix, 'bin'), { recursive: true });
    copyFileSync(process.execPath, join(prefix, 'bin/node'));
    symlinkSync(headers, join(prefix, 'include'));
    setup([]);
    const changed = changedBy([], { node: join(prefix, 'bin/node') });
    assert.deepEqual(
      objects(changed)
        .map((name) => name.split('/').at(-1))
        .sort(),
      ['addon.o', 'dynamic_library.o', 'inject.o', 'main.o', 'undo.o'],
    );
    assert.deepEqual(
      changed.filter((name) => !name.startsWith('build/')),
      [],
    );
  });

  for (const [tool, debian] of [
    ['g++', 'g++'],
    ['make', 'make'],
    ['python3', 'python3'],
  ] as const) {
    it(`names the Debian package in one line when ${tool} is missing`, () => {
      touch('native/core/dynamic_library.cc');
      const result = setup([], { env: { PATH: pathWithout(tool) } });
      assert.equal(result.status, 1);
      assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
      assert.ok(result.stderr.trimEnd().endsWith(`apt-get install -y ${debian}`), result.stderr);
    });
  }

  it('names all that is missing at once', () => {
    const folder = join(tree, 'nothing');
    mkdirSync(folder);
    const result = setup([], { env: { PATH: folder } });
    assert.match(
      result.stderr,
      /needs g\+\+, make, python3: apt-get install -y g\+\+ make python3/,
    );
  });

  it('names the Debian package in one line when a system header is missing', () => {
    const folder = pathWithout('none');
    const message = '<stdin>:3:10: fatal error: linux/perf_event.h: No such file or directory';
    const script = `#!/bin/sh\n[ "$1" = --version ] && exit 0\necho '${message}' >&2\nexit 1\n`;
    writeFileSync(join(folder, 'g++'), script, { mode: 0o755 });
    const result = setup([], { env: { PATH: folder } });
    assert.equal(result.status, 1);
    assert.equal(
      result.stderr,
      'setup: the native build needs the header <linux/perf_event.h>: apt-get install -y linux-libc-dev\n',
    );
  });

  it('names cmake when the fake drivers cannot be built', (t) => {
    if (!existsSync('test/native/fake/nvml.c')) {
      t.skip('there are no fake drivers in this tree');
      return;
    }
    setup([]);
    touch('test/native/fake/nvml.c');
    const result = setup(['fakes'], { env: { PATH: pathWithout('cmake') } });
    assert.equal(result.status, 1);
    assert.match(result.stderr, /^setup: .* needs cmake: apt-get install -y cmake\n$/);
  });

  it('refuses a part that it does not know', () => {
    const result = setup(['everything']);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /^setup: Expected install, native, ts, tests, fakes or --tests/);
  });
});
