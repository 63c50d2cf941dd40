import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const leftOut = new Set(['node_modules', 'build', 'out', 'dist', 'prebuilds', '.git']);

/** A fresh clone of this working tree: what git would hold, without anything that was built. */
export function copyTree(): string {
  const tree = mkdtempSync(join(tmpdir(), 'warpgauge-tree-'));
  for (const name of readdirSync('.')) {
    if (!leftOut.has(name)) cpSync(name, join(tree, name), { recursive: true });
  }
  return tree;
}

/** node_modules of links, with the file in which npm says what is installed, as `npm ci` leaves it. */
export function linkModules(tree: string): void {
  const source = join(process.cwd(), 'node_modules');
  const target = join(tree, 'node_modules');
  mkdirSync(target);
  for (const name of readdirSync(source)) {
    if (name === '.package-lock.json') cpSync(join(source, name), join(target, name));
    else if (!name.startsWith('.')) symlinkSync(join(source, name), join(target, name));
  }
}

/** A native part small enough to be built several times: the scripts under test see the same shape. */
export function shrinkNative(tree: string): void {
  const native = join(tree, 'native');
  for (const name of readdirSync(native)) {
    if (name !== 'core') rmSync(join(native, name), { recursive: true });
  }
  mkdirSync(join(native, 'addon'));
  cpSync('native/addon/exports.map', join(native, 'addon', 'exports.map'));
  writeFileSync(
    join(native, 'addon', 'addon.cc'),
    [
      '#define NAPI_VERSION 9',
      '#define NAPI_DISABLE_CPP_EXCEPTIONS',
      '#include <napi.h>',
      'static Napi::Object Init(Napi::Env env, Napi::Object exports) {',
      '  return exports;',
      '}',
      'NODE_API_MODULE(warpgauge, Init)',
      '',
    ].join('\n'),
  );
  mkdirSync(join(native, 'inject'));
  writeFileSync(
    join(native, 'inject', 'inject.c'),
    'int InitializeInjection(void);\nint InitializeInjection(void) { return 1; }\n',
  );
  mkdirSync(join(native, 'guardian'));
  writeFileSync(join(native, 'guardian', 'main.c'), 'int main(void) { return 0; }\n');
  writeFileSync(join(native, 'guardian', 'undo.c'), 'int guardian_undo;\n');
  const variables = {
    core_sources: ['native/core/dynamic_library.cc'],
    os_sources: [],
    gpu_sources: [],
    trace_sources: [],
    inject_sources: ['native/inject/inject.c'],
    guardian_sources: ['native/guardian/undo.c'],
    memory_sources: [],
    copy_sources: [],
    addon_sources: ['native/addon/addon.cc'],
  };
  writeFileSync(join(native, 'sources.gypi'), JSON.stringify({ variables }));
}

/** Time of last change of every file below the built folders. */
export function builtFiles(tree: string): Map<string, number> {
  const times = new Map<string, number>();
  for (const folder of ['build', 'dist', 'out']) {
    let names: string[] = [];
    try {
      names = readdirSync(join(tree, folder), { recursive: true, encoding: 'utf8' });
    } catch {
      continue;
    }
    for (const name of names) {
      const stat = statSync(join(tree, folder, name));
      if (stat.isFile()) times.set(join(folder, name), stat.mtimeMs);
    }
  }
  return times;
}

/** Files that are new or newer in `after`, without the notes that the scripts keep for themselves. */
export function changedFiles(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): string[] {
  return [...after]
    .filter(([name, time]) => before.get(name) !== time && dirname(name) !== 'out/setup')
    .map(([name]) => name);
}
