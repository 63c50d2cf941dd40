import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

const hasCommandLine = existsSync('dist/cli/main.js');
const withPrebuilds = process.env['PREBUILDS_ONLY'] === '1';
let folder = '';
let project = '';

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

// What users get: the tarball of `npm pack`, installed into an empty project. With PREBUILDS_ONLY=1 it carries the
// file that `npm run prebuilds` made, otherwise the local build in its place.
describe('the installed package', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'warpgauge-install-'));
    const source = join(folder, 'source');
    mkdirSync(source);
    const { files } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
    for (const name of ['package.json', 'LICENSE', 'README.md', ...files]) {
      const isWanted = existsSync(name) && (withPrebuilds || name !== 'prebuilds');
      if (isWanted) cpSync(name, join(source, name), { recursive: true });
    }
    if (!withPrebuilds) {
      const place = join(source, 'prebuilds', `${process.platform}-${process.arch}`);
      mkdirSync(place, { recursive: true });
      cpSync('build/Release/warpgauge.node', join(place, 'warpgauge.glibc.node'));
      cpSync('build/Release/libwarpgauge_inject.so', join(place, 'libwarpgauge_inject.glibc.so'));
      cpSync('build/Release/warpgauge-guardian', join(place, 'warpgauge-guardian'));
    }
    npm(source, 'pack', '--pack-destination', folder, '--ignore-scripts');
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
    project = join(folder, 'project');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true }');
    npm(project, 'install', '--prefer-offline', '--no-audit', '--no-fund', join('..', tarball));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('builds nothing at installation', () => {
    const installed = readdirSync(join(project, 'node_modules/warpgauge'));
    assert.ok(!installed.includes('build') && !installed.includes('binding.gyp'));
  });

  it('carries the library for traced programs and the guardian beside its addon', () => {
    const prebuilds = join(project, 'node_modules/warpgauge/prebuilds');
    const place = join(prebuilds, `${process.platform}-${process.arch}`);
    assert.deepEqual(readdirSync(place).sort(), [
      'libwarpgauge_inject.glibc.so',
      'warpgauge-guardian',
      'warpgauge.glibc.node',
    ]);
  });

  it('can be imported and required, and its addon loads', () => {
    const script = [
      "import { createRequire } from 'node:module';",
      "import { WarpgaugeError } from 'warpgauge';",
      "const required = createRequire(import.meta.url)('warpgauge');",
      'if (required.WarpgaugeError !== WarpgaugeError) throw new Error("two copies");',
      "const { loadBinding } = await import('./node_modules/warpgauge/dist/addon.js');",
      'console.log(typeof loadBinding().monotonicNs());',
    ].join('\n');
    const result = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: project,
      encoding: 'utf8',
    });
    assert.equal(result.stdout, 'bigint\n', result.stderr);
  });

  it('has a command', (t) => {
    if (!hasCommandLine) {
      t.skip('the command line is not built');
      return;
    }
    assert.match(npm(project, 'exec', '--offline', '--', 'warpgauge', '--help'), /doctor/);
    const doctor = npm(project, 'exec', '--offline', '--', 'warpgauge', 'doctor', '--json');
    assert.equal((JSON.parse(doctor) as { schema: string }).schema, 'warpgauge/doctor/1');
  });
});
