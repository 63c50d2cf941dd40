/**
 * What `import` costs, in fresh processes: the library must stay cheap to load, and its Arrow entry must
 * not add to what apache-arrow itself costs.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runNode } from '../child.ts';
import { alternate, pair } from '../pairs.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 21;
const PROBE = fileURLToPath(new URL('../probes/import.js', import.meta.url));
const ARROW = 'apache-arrow';

export const importCase: BenchCase = {
  name: 'import',
  description: 'import of warpgauge and warpgauge/arrow against the import of apache-arrow',
  async run({ repetitions, signal }) {
    const wanted = [
      { specifier: 'warpgauge', file: 'dist/index.js', limit: { at_most: 0.25 } },
      { specifier: 'warpgauge/arrow', file: 'dist/arrow.js', limit: { at_most: 1.1 } },
    ];
    const present = wanted.filter(({ file }) => existsSync(file));
    const times = await alternate(
      [ARROW, ...present.map(({ specifier }) => specifier)],
      repetitions ?? REPETITIONS,
      async (specifier) => Number((await runNode([PROBE, specifier], signal)).stdout),
    );
    return wanted.map(({ specifier, file, limit }) =>
      present.some((each) => each.specifier === specifier)
        ? {
            name: `import/${specifier}`,
            subject: `import('${specifier}')`,
            floor: `import('${ARROW}')`,
            limit,
            pairs: pair(times[specifier] ?? [], times[ARROW] ?? []),
          }
        : { name: `import/${specifier}`, skipped: `${file} does not exist` },
    );
  },
};
