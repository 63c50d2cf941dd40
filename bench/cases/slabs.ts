/** Full slabs as an arrow Table, as `monitor.sample` makes its batches, against building the same columns with Arrow's builders. */
import { runProbe } from '../child.ts';
import type { SlabsLine } from '../probes/slabs.ts';
import type { BenchCase } from './case.ts';

const REPETITIONS = 10;
const ROWS = 1_000_000;
const COLUMNS = 16;
/** Of one slab: all rows, and what 10 kHz writes in the default 100 ms. */
const SLAB_ROWS = [ROWS, 1000];

export const slabsCase: BenchCase = {
  name: 'slabs',
  description: 'full slabs of 1e6 rows x 16 columns to a Table against makeBuilder().append',
  async run({ repetitions, seconds, signal }) {
    // A short run is a smaller table: building the whole one takes seconds.
    const rows = seconds === null ? ROWS : Math.min(ROWS, Math.ceil(seconds * 100_000));
    const results = [];
    for (const slabRows of SLAB_ROWS) {
      const args = [rows, COLUMNS, Math.min(slabRows, rows), repetitions ?? REPETITIONS];
      const lines = await runProbe<SlabsLine>('slabs', args, signal);
      const slabs = Math.ceil(rows / slabRows);
      results.push({
        name: `slabs/${slabs === 1 ? 'one' : 'of-1000-rows'}`,
        subject: `makeBuilder().append of ${rows} rows x ${COLUMNS} columns, finish, Table`,
        floor: `${slabs} full slab${slabs === 1 ? '' : 's'} of the same to a Table`,
        limit: { at_least: 6 },
        pairs: lines.map((line) => [line.builder_ns, line.slabs_ns] as const),
        band: lines.map((line) => [line.again_ns, line.slabs_ns] as const),
      });
    }
    return results;
  },
};
