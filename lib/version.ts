import { createRequire } from 'node:module';

/** The version of this package, as its package.json says. */
export function packageVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('warpgauge/package.json') as { version: string }).version;
}
