import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { WarpgaugeError } from 'warpgauge';
import { injectionLibraryPath, loadAddon } from '#lib/addon-loader';

const addonFile = join(process.cwd(), 'build/Release/warpgauge.node');
const platform = `${process.platform}-${process.arch}`;
const probe = [
  "import { loadBinding } from '#lib/addon';",
  'try { console.log(JSON.stringify({ now: String(loadBinding().monotonicNs()) })); }',
  'catch (error) { console.log(JSON.stringify({ ...error.toJSON(), name: error.name })); }',
].join('\n');

interface Outcome {
  readonly now?: string;
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly fix?: string;
}

let folder = '';
let installed = '';

/** Loads the addon in a process of its own, because a loaded addon cannot be unloaded. */
function load(options: {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly flags?: readonly string[];
}): Outcome {
  const { WARPGAUGE_PREBUILD: _, PREBUILDS_ONLY: __, ...inherited } = process.env;
  const script = join(options.cwd ?? process.cwd(), 'probe.mjs');
  const result = spawnSync(
    process.execPath,
    [...(options.flags ?? []), '--input-type=module', '--eval', probe],
    { cwd: join(script, '..'), env: { ...inherited, ...options.env }, encoding: 'utf8' },
  );
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout) as Outcome;
}

describe('the loader of the addon', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'warpgauge-loader-'));
    installed = join(folder, 'installed');
    mkdirSync(join(installed, 'node_modules'), { recursive: true });
    cpSync('dist', join(installed, 'dist'), { recursive: true });
    copyFileSync('package.json', join(installed, 'package.json'));
    cpSync('node_modules/node-gyp-build', join(installed, 'node_modules/node-gyp-build'), {
      recursive: true,
    });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const place = (root: string, path: string, content?: string): string => {
    const file = join(root, path);
    mkdirSync(join(file, '..'), { recursive: true });
    if (content === undefined) copyFileSync(addonFile, file);
    else writeFileSync(file, content);
    return file;
  };

  it('loads the local build', () => {
    assert.match(load({}).now ?? '', /^\d+$/);
  });

  it('loads from the folder that WARPGAUGE_PREBUILD names', () => {
    const root = join(folder, 'override');
    place(root, 'build/Release/warpgauge.node');
    assert.match(load({ cwd: installed, env: { WARPGAUGE_PREBUILD: root } }).now ?? '', /^\d+$/);
  });

  it('leaves the local build alone with PREBUILDS_ONLY', () => {
    const root = join(folder, 'only');
    const broken = place(root, 'build/Release/warpgauge.node', 'not an ELF file');
    const env = { WARPGAUGE_PREBUILD: root, PREBUILDS_ONLY: '1' };
    assert.equal(load({ env }).code, 'ERR_ADDON_LOAD');
    place(root, `prebuilds/${platform}/warpgauge.glibc.node`);
    assert.match(load({ env }).now ?? '', /^\d+$/);
    rmSync(broken);
  });

  it('finds the library for traced programs where the addon is found', () => {
    const built = join(process.cwd(), 'build/Release/libwarpgauge_inject.so');
    assert.equal(injectionLibraryPath(), built);
    const root = join(folder, 'injected');
    assert.equal(injectionLibraryPath(root), null);
    const prebuilt = place(root, `prebuilds/${platform}/libwarpgauge_inject.glibc.so`, 'x');
    assert.equal(injectionLibraryPath(root), prebuilt);
    const local = place(root, 'build/Release/libwarpgauge_inject.so', 'x');
    assert.equal(injectionLibraryPath(root), local);
    process.env['PREBUILDS_ONLY'] = '1';
    try {
      assert.equal(injectionLibraryPath(root), prebuilt);
    } finally {
      delete process.env['PREBUILDS_ONLY'];
    }
  });

  it('says what is missing and how to build it, in a clone', () => {
    const outcome = load({ env: { WARPGAUGE_PREBUILD: join(folder, 'empty') } });
    assert.equal(outcome.name, 'WarpgaugeError');
    assert.equal(outcome.code, 'ERR_ADDON_LOAD');
    assert.match(outcome.message ?? '', new RegExp(`${platform}, glibc \\d+\\.\\d+, Node v`));
    assert.match(outcome.message ?? '', /empty\/\{build\/Release.*No native build was found/);
    assert.ok(
      outcome.message?.includes(`prebuilds/${platform}/warpgauge.glibc.node: no such file`),
    );
    assert.match(outcome.fix ?? '', /npm run build$/);
  });

  it('asks for a report of the platform where the installed package has no file for it', () => {
    const outcome = load({ cwd: installed });
    assert.equal(outcome.code, 'ERR_ADDON_LOAD');
    assert.match(outcome.fix ?? '', new RegExp(`no prebuilt addon exists for ${platform}, glibc`));
  });

  it('gives the reason of a file that is damaged', () => {
    const root = join(folder, 'damaged');
    const file = place(root, 'build/Release/warpgauge.node', 'not an ELF file');
    const outcome = load({ env: { WARPGAUGE_PREBUILD: root } });
    assert.equal(outcome.code, 'ERR_ADDON_LOAD');
    assert.ok(outcome.message?.includes(`${file}: `));
    assert.match(outcome.message ?? '', /file too short|invalid ELF header/);
    assert.match(outcome.fix ?? '', /rm -rf build && npm run build$/);
  });

  it('takes the prebuilt file when the local build is damaged', () => {
    const root = join(folder, 'both');
    place(root, 'build/Release/warpgauge.node', 'not an ELF file');
    place(root, `prebuilds/${platform}/warpgauge.glibc.node`);
    assert.match(load({ env: { WARPGAUGE_PREBUILD: root } }).now ?? '', /^\d+$/);
  });

  it('names --no-addons as the cause', () => {
    const outcome = load({ flags: ['--no-addons'] });
    assert.equal(outcome.code, 'ERR_ADDON_LOAD');
    assert.equal(outcome.fix, 'start Node without --no-addons');
  });

  it('refuses a file that loads but is another addon', () => {
    assert.throws(() => loadAddon(() => false), {
      code: 'ERR_ADDON_LOAD',
      message: /\.node: it is not the warpgauge addon/,
    });
  });

  it('survives whatever a failing load throws', () => {
    const hostile = {
      get message(): string {
        throw new Error('no text');
      },
      toString(): string {
        throw new Error('no text either');
      },
    };
    for (const thrown of [undefined, null, '', 0, new Error(), Object.create(null), hostile]) {
      assert.throws(
        () =>
          loadAddon(
            () => true,
            process.cwd(),
            () => {
              throw thrown;
            },
          ),
        { name: 'WarpgaugeError', code: 'ERR_ADDON_LOAD' },
      );
    }
  });

  it('explains a C library that is too old', () => {
    const root = join(folder, 'old');
    place(root, 'build/Release/warpgauge.node');
    assert.throws(
      () =>
        loadAddon(
          () => true,
          root,
          () => {
            throw new Error("/lib/libc.so.6: version `GLIBC_2.34' not found");
          },
        ),
      (error: unknown) =>
        error instanceof WarpgaugeError &&
        error.code === 'ERR_ADDON_LOAD' &&
        /^use a system with glibc 2\.28/.test(error.fix ?? ''),
    );
  });
});
