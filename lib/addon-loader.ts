import { accessSync, constants, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WarpgaugeError } from './errors.ts';

const require = createRequire(import.meta.url);

/** One place where the addon was looked for, and why that did not work. */
interface Attempt {
  readonly where: string;
  readonly error: unknown;
}

function packageRoot(): string {
  try {
    return dirname(require.resolve('warpgauge/package.json'));
  } catch {
    // Bundled or copied without its package.json: this file is dist/addon-loader.js.
    return dirname(dirname(fileURLToPath(import.meta.url)));
  }
}

/** The text of anything that can be thrown, also of things that are no Error or whose text throws. */
function reasonOf(error: unknown): string {
  try {
    const text = error instanceof Error ? error.message || error.name : String(error);
    // Node appends the stack of requires, one line each; the first line is the reason.
    return text.trim().split('\n', 1)[0] || 'an error without a message';
  } catch {
    return 'an error without a message';
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}

/** Version of the C library this Node runs on; null on musl. Takes 4 ms: only for an error. */
function glibcVersion(): string | null {
  const report = process.report?.getReport() as
    | { readonly header?: { readonly glibcVersionRuntime?: string } }
    | undefined;
  return report?.header?.glibcVersionRuntime ?? null;
}

function fixFor(root: string, attempts: readonly Attempt[], platform: string): string {
  const reasons = attempts.map(({ error }) => reasonOf(error)).join('\n');
  if (attempts.some(({ error }) => codeOf(error) === 'ERR_DLOPEN_DISABLED')) {
    return 'start Node without --no-addons';
  }
  if (process.platform !== 'linux') return 'run it on Linux, the only system warpgauge supports';
  if (existsSync(join(root, 'binding.gyp'))) {
    return `cd ${root} && apt-get install -y g++ make python3 && rm -rf build && npm run build`;
  }
  if (/GLIBC|GLIBCXX|CXXABI/.test(reasons)) {
    return `use a system with glibc 2.28 or newer, or build warpgauge from its source there`;
  }
  return `install it again (npm install warpgauge; a bundler must leave warpgauge external); if that does not help, no prebuilt addon exists for ${platform}: report that platform`;
}

/**
 * Loads the addon file that belongs to this platform: what node-gyp-build chooses (WARPGAUGE_PREBUILD and
 * PREBUILDS_ONLY included), and where that does not load, the prebuilt file. `open` is replaced in tests.
 *
 * @throws {WarpgaugeError} ERR_ADDON_LOAD with every path that was tried, its own reason, and the fix.
 */
export function loadAddon(
  isAddon: (value: unknown) => boolean,
  root: string = packageRoot(),
  open: (path: string) => unknown = require,
): unknown {
  const attempts: Attempt[] = [];
  const tryOpen = (path: string): unknown => {
    try {
      const value = open(path);
      if (isAddon(value)) return value;
      attempts.push({ where: path, error: new Error('it is not the warpgauge addon') });
    } catch (error) {
      attempts.push({ where: path, error });
    }
    return undefined;
  };

  const base = process.env['WARPGAUGE_PREBUILD'] || root;
  let chosen: string | undefined;
  try {
    chosen = (require('node-gyp-build') as { resolve(root: string): string }).resolve(root);
  } catch (error) {
    attempts.push({ where: `${base}/{build/Release,build/Debug,prebuilds}`, error });
  }
  const addon = chosen === undefined ? undefined : tryOpen(chosen);
  if (addon !== undefined) return addon;

  // node-gyp-build stops at the first file it finds; a broken local build must not hide a good prebuilt one.
  const glibc = glibcVersion();
  const tuple = `${process.platform}-${process.arch}`;
  const libc = glibc === null ? 'musl' : 'glibc';
  const prebuilt = join(base, 'prebuilds', tuple, `warpgauge.${libc}.node`);
  if (prebuilt !== chosen) {
    if (existsSync(prebuilt)) {
      const second = tryOpen(prebuilt);
      if (second !== undefined) return second;
    } else {
      attempts.push({ where: prebuilt, error: new Error('no such file') });
    }
  }

  const system = glibc === null ? 'no glibc' : `glibc ${glibc}`;
  const lines = attempts.map(({ where, error }) => `  ${where}: ${reasonOf(error)}`);
  throw new WarpgaugeError(
    'ERR_ADDON_LOAD',
    `The native addon could not be loaded (${tuple}, ${system}, Node ${process.version}). Tried:\n${lines.join('\n')}`,
    {
      fix: fixFor(root, attempts, `${tuple}, ${system}`),
      source: 'node-gyp-build',
      cause: attempts.at(-1)?.error,
    },
  );
}

/**
 * The library that CUDA loads into traced programs: built beside the addon, and found where that is found.
 * Null: it is not there.
 */
export function injectionLibraryPath(root: string = packageRoot()): string | null {
  const base = process.env['WARPGAUGE_PREBUILD'] || root;
  const tuple = `${process.platform}-${process.arch}`;
  const libc = glibcVersion() === null ? 'musl' : 'glibc';
  const built = ['build/Release', 'build/Debug'].map((folder) =>
    join(base, folder, 'libwarpgauge_inject.so'),
  );
  const candidates = [
    ...(process.env['PREBUILDS_ONLY'] ? [] : built),
    join(base, 'prebuilds', tuple, `libwarpgauge_inject.${libc}.so`),
  ];
  return candidates.find((path) => existsSync(path)) ?? null;
}

/**
 * The process that undoes changes when their owner dies (native/guardian): built beside the addon, or prebuilt. Where it is
 * not, or may not be executed, the reason in words.
 */
export function guardianExecutable(
  root: string = packageRoot(),
): { readonly path: string } | { readonly reason: string } {
  const base = process.env['WARPGAUGE_PREBUILD'] || root;
  const name = 'warpgauge-guardian';
  const places = [
    ...(process.env['PREBUILDS_ONLY'] ? [] : [join(base, 'build/Release', name)]),
    join(base, 'prebuilds', `${process.platform}-${process.arch}`, name),
  ];
  const reasons: string[] = [];
  for (const path of places) {
    try {
      accessSync(path, constants.X_OK);
      return { path };
    } catch (error) {
      reasons.push(`${path}: ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return { reason: reasons.join(', ') };
}
