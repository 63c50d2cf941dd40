import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'warpgauge-checks-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function script(name: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [`scripts/${name}.mjs`, ...args], { encoding: 'utf8' });
}

describe('scripts/check-prebuild.mjs', () => {
  const entry =
    'extern "C" { int napi_register_module_v1() { return 0; }\n' +
    'int node_api_module_get_api_version_v1() { return 9; } }\n';
  const nodelete = '-Wl,-z,nodelete';

  function build(name: string, source: string, ...flags: readonly string[]): string {
    const file = join(folder, `${name}.node`);
    execFileSync('g++', ['-shared', '-fPIC', '-x', 'c++', '-', '-o', file, ...flags], {
      input: source,
    });
    return file;
  }

  it('accepts the addon of this tree', () => {
    const result = script('check-prebuild', 'build/Release/warpgauge.node');
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stderr, '');
  });

  it('refuses a third exported symbol', () => {
    const file = build('third', `${entry}extern "C" int leaked() { return 1; }`, nodelete);
    const result = script('check-prebuild', file);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /exports leaked, napi_register_module_v1/);
  });

  it('refuses a symbol version above the ceiling', () => {
    const source = `#include <dlfcn.h>\n${entry}static void* p = dlopen("x", RTLD_NOW);`;
    const result = script('check-prebuild', build('newer', source, nodelete));
    assert.equal(result.status, 1);
    assert.match(result.stderr, /dlopen needs GLIBC_2\.34, at most 2\.28 is allowed/);
  });

  it('refuses an addon that can be unloaded', () => {
    const result = script('check-prebuild', build('unloadable', entry));
    assert.equal(result.status, 1);
    assert.match(result.stderr, /can be unloaded/);
  });

  it('refuses a large addon', () => {
    const source = `${entry}static char ballast[4 << 20] = {1}; char* keep() { return ballast; }`;
    const result = script('check-prebuild', build('large', source, nodelete));
    assert.match(result.stderr, /\d+ bytes, at most 3670016 are allowed/);
  });

  const guest = 'extern "C" __attribute__((visibility("default"))) int InitializeInjection()';
  function buildInjected(name: string, source: string, ...flags: readonly string[]): string {
    const file = build(name, source, nodelete, '-fvisibility=hidden', ...flags);
    renameSync(file, file.replace(/node$/, 'so'));
    return file.replace(/node$/, 'so');
  }

  it('accepts the injected library of this tree', () => {
    const result = script('check-prebuild', 'build/Release/libwarpgauge_inject.so');
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stderr, '');
  });

  it('refuses an injected library that needs more than an old C library', () => {
    const source =
      '#include <sys/random.h>\n#include <string>\n' +
      `${guest} { thread_local char b[8]; return (int)getrandom(b, 8, 0); }\n` +
      'std::string* Keep() { return new std::string("x"); }';
    const result = script('check-prebuild', buildInjected('modern', source));
    assert.equal(result.status, 1);
    assert.match(result.stderr, /getrandom needs GLIBC_2\.25, at most 2\.17 is allowed/);
    assert.match(result.stderr, /needs libstdc\+\+\.so\.6/);
    assert.match(result.stderr, /_Znwm needs GLIBCXX_/);
    assert.match(result.stderr, /has thread-local storage/);
  });

  it('refuses an injected library with a second symbol', () => {
    const source = `#include <unistd.h>\n${guest} { return getpid(); }\nextern "C" __attribute__((visibility("default"))) int leaked() { return 1; }`;
    const result = script('check-prebuild', buildInjected('second', source));
    assert.match(result.stderr, /exports InitializeInjection, leaked/);
  });

  it('refuses to have checked nothing', () => {
    assert.equal(script('check-prebuild').status, 1);
    assert.match(script('check-prebuild', 'absent.node').stderr, /absent\.node: no such file/);
  });
});

describe('scripts/check-signatures.mjs', () => {
  const binding = [
    'export interface Binding {',
    '  /** One. */',
    '  one(text: string, size: number): bigint;',
    '  // two',
    '  two(options: { readonly a: number; readonly b: string }): number | null;',
    '}',
    '',
  ].join('\n');
  const native = [
    '// TypeScript: one(text: string, size: number): bigint',
    'void One() {}',
    '// int two(void); TypeScript: two(options: { readonly a: number; readonly b: string }):',
    '// number | null',
    '//',
    '// Words about it.',
    'void Two() { Export("one"); Export("two"); }',
    '',
  ].join('\n');

  function check(typescript: string, cpp: string): SpawnSyncReturns<string> {
    mkdirSync(join(folder, 'lib'), { recursive: true });
    mkdirSync(join(folder, 'native/addon'), { recursive: true });
    writeFileSync(join(folder, 'lib/addon.ts'), typescript);
    writeFileSync(join(folder, 'native/addon/addon.cc'), cpp);
    return script('check-signatures', folder);
  }

  it('accepts equal texts, whatever their line breaks', () => {
    const result = check(binding, native);
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stdout, '2 native functions, 0 differences\n');
  });

  for (const [what, from, to, message] of [
    ['another argument type', 'size: number', 'size: bigint', /addon\.cc:1: one\(/],
    ['another result', 'number | null\n', 'number\n', /addon\.cc:3: two\(/],
    ['a function TypeScript lacks', 'TypeScript: one(', 'TypeScript: three(', /three is not in/],
    ['a name that is not exported', '"two"', '"to"', /two is described but "two" is not exported/],
  ] as const) {
    it(`refuses ${what} in the comment`, () => {
      assert.ok(native.includes(from));
      const result = check(binding, native.replace(from, to));
      assert.equal(result.status, 1);
      assert.match(result.stderr, message);
    });
  }

  it('refuses a function that native code lacks', () => {
    const result = check(binding.replace('  // two', '  four(): void;'), native);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /four has no native function/);
  });

  it('refuses an interface without functions', () => {
    assert.equal(check('export interface Binding {\n}\n', '').status, 1);
  });
});
