import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

const hasCommandLine = existsSync('dist/cli/main.js');
const withoutNetwork = ['/usr/bin/unshare', '/bin/unshare'].find(existsSync);
const unshareFlags = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
const canUnshare =
  withoutNetwork !== undefined && spawnSync(withoutNetwork, [...unshareFlags, 'true']).status === 0;

let folder = '';
let bundle = '';

/** Runs without network, without environment and without PATH. */
function bare(command: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  const line = canUnshare
    ? [withoutNetwork ?? '', ...unshareFlags, command, ...args]
    : [command, ...args];
  return spawnSync(line[0] ?? '', line.slice(1), {
    env: { PATH: '' },
    cwd: join(bundle, 'package'),
    encoding: 'utf8',
  });
}

describe('npm run pack:offline', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'warpgauge-offline-'));
    execFileSync(process.execPath, ['scripts/pack-offline.mjs', folder]);
    const archive = readdirSync(folder).find((name) => name.endsWith('.tar.gz')) ?? '';
    assert.ok(statSync(join(folder, archive)).size < 60e6);
    execFileSync('tar', ['-xzf', join(folder, archive), '-C', folder]);
    rmSync(join(folder, archive));
    bundle = join(folder, readdirSync(folder)[0] ?? '');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('carries the licences of Node and of warpgauge', () => {
    assert.ok(statSync(join(bundle, 'node/LICENSE')).size > 10_000);
    assert.ok(statSync(join(bundle, 'package/LICENSE')).size > 10_000);
  });

  it('loads the library, its addon and Arrow with no network, environment or PATH', (t) => {
    if (!canUnshare) t.diagnostic('unshare is not permitted here: the network was reachable');
    const script = [
      "import { WarpgaugeError } from 'warpgauge';",
      "import { loadBinding } from '#lib/addon';",
      "import { injectionLibraryPath } from '#lib/addon-loader';",
      "import { tableFromArrays } from 'apache-arrow';",
      'const table = tableFromArrays({ ns: [loadBinding().monotonicNs()] });',
      'console.log(table.numRows, WarpgaugeError.prototype.name);',
      "console.log(injectionLibraryPath().split('/prebuilds/')[1]);",
    ].join('\n');
    const node = join(bundle, 'node/bin/node');
    const result = bare(node, '--input-type=module', '--eval', script);
    assert.equal(result.stderr, '');
    const injected = `${process.platform}-${process.arch}/libwarpgauge_inject.glibc.so`;
    assert.equal(result.stdout, `1 WarpgaugeError\n${injected}\n`);
  });

  it('holds the guardian as a static executable', () => {
    const tuple = `${process.platform}-${process.arch}`;
    const [guardian = ''] = readdirSync(bundle, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith(`prebuilds/${tuple}/warpgauge-guardian`),
    );
    const result = bare(join(bundle, guardian));
    assert.equal(result.status, 2);
    assert.match(result.stderr, /^usage: /);
    const headers = spawnSync('readelf', ['-lW', join(bundle, guardian)], { encoding: 'utf8' });
    assert.match(headers.stdout, /\bLOAD\b/);
    assert.doesNotMatch(headers.stdout, /INTERP/);
  });

  it('runs the command line with no network, environment or PATH', (t) => {
    if (!canUnshare || !hasCommandLine) {
      t.skip(canUnshare ? 'the command line is not built' : 'unshare -n is not permitted here');
      return;
    }
    const launcher = join(bundle, 'bin/warpgauge');
    const version = bare(launcher, '--version');
    assert.equal(version.status, 0, version.stderr);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
    const doctor = bare(launcher, 'doctor', '--json');
    assert.equal(doctor.status, 0, doctor.stderr);
    assert.match(doctor.stdout, /"schema": ?"warpgauge\/doctor\/1"/);
  });

  it('can be started through a link', (t) => {
    if (!hasCommandLine) {
      t.skip('the command line is not built');
      return;
    }
    const link = join(folder, 'warpgauge');
    symlinkSync(join(bundle, 'bin/warpgauge'), link);
    const result = spawnSync(link, ['--version'], { encoding: 'utf8' });
    assert.equal(result.status, 0, result.stderr);
  });
});
