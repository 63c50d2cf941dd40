import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/** The version of this package, as its package.json says. */
export function packageVersion(): string {
  return (require('warpgauge/package.json') as { version: string }).version;
}

/** Commit of the checkout this package runs from; null when it was installed, or packed refs hide it. */
export function checkoutCommit(): string | null {
  try {
    const git = join(dirname(require.resolve('warpgauge/package.json')), '.git');
    const head = readFileSync(join(git, 'HEAD'), 'utf8').trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    return ref === undefined ? head : readFileSync(join(git, ref), 'utf8').trim();
  } catch {
    return null;
  }
}
