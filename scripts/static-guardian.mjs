// node scripts/static-guardian.mjs OUT: the guardian as it is shipped, linked statically: the start-up code of a dynamic
// executable needs the glibc that it was linked with (GLIBC_2.34 on Debian 12), and what Node runs on may be older.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const native = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native');
const [out] = process.argv.slice(2);
if (out === undefined) {
  console.error('Expected the path of the executable to make');
  process.exit(2);
}
const sources = readdirSync(join(native, 'guardian')).filter((name) => name.endsWith('.c'));
const flags = ['-O2', '-static', '-s', '-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra'];
const built = spawnSync(
  process.env.CC ?? 'cc',
  [...flags, `-I${native}`, ...sources.map((name) => join(native, 'guardian', name)), '-o', out],
  { stdio: 'inherit' },
);
if (built.error !== undefined) console.error(built.error.message);
process.exit(built.status ?? 1);
