import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

interface Manifest {
  readonly gypfile?: boolean;
  readonly type?: string;
  readonly license?: string;
  readonly engines: Record<string, string>;
  readonly scripts: Record<string, string>;
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;

function packedFiles(): string[] {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    encoding: 'utf8',
  });
  const [pack] = JSON.parse(output) as [{ files: { path: string }[] }];
  return pack.files.map(({ path }) => path);
}

describe('the published package', () => {
  it('runs nothing at installation', () => {
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
      assert.equal(manifest.scripts[name], undefined, `${name} would run on the user's machine`);
    }
    assert.equal(manifest.gypfile, false);
  });

  it('has no script that npm would run before or after another one by accident', () => {
    assert.equal(manifest.scripts['prebuild'], undefined, 'npm runs it before every npm run build');
  });

  it('is ESM under Apache-2.0 for Node 20.19 and newer', () => {
    assert.equal(manifest.type, 'module');
    assert.equal(manifest.license, 'Apache-2.0');
    assert.equal(manifest.engines['node'], '>=20.19');
  });

  it('carries the library, and no file that starts a build on the user machine', () => {
    const files = packedFiles();
    assert.ok(files.includes('dist/index.js'));
    assert.ok(files.includes('dist/index.d.ts'));
    assert.ok(files.includes('lib/index.ts'), 'source maps point to lib');
    assert.ok(files.includes('LICENSE'));
    for (const path of files) {
      assert.doesNotMatch(path, /binding\.gyp$|\.gypi$|^(native|test|scripts|bench|build|out)\//);
    }
  });
});
