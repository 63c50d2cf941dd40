/** 10,000 times a 2 MB page out of the pool and back: what the pool holds afterwards, against what it held before. */
import { mitigate, WarpgaugeError } from 'warpgauge';
import { type Comparison, Skip } from '../result.ts';
import type { BenchCase } from './case.ts';

const CYCLES = 10_000;
const PAGE_BYTES = 2 * 2 ** 20;
/** Pages that the pool has for it; the counts are of these and of those of others, and must be above 0 for a ratio. */
const PAGES = 8;

async function pool(): Promise<{ readonly free: number; readonly total: number }> {
  const { pools } = await mitigate.pools.status();
  const found = pools.find((each) => each.node === null && each.page_kb === PAGE_BYTES / 1024);
  if (!found || found.free === null || found.nr === null) throw new Skip('no pool of 2 MB pages');
  return { free: found.free, total: found.nr };
}

export const cyclesCase: BenchCase = {
  name: 'cycles',
  description: '10,000 allocate and dispose cycles of a 2 MB page leave the pool as it was',
  async run({ signal }): Promise<readonly Comparison[]> {
    const reserved = await mitigate.pools
      .reserve({ pages: [{ pageBytes: PAGE_BYTES, count: PAGES }], signal })
      .catch((error: unknown) => {
        if (!(error instanceof WarpgaugeError) || error.code === 'ERR_INTERRUPTED') throw error;
        throw new Skip(`${error.message} (${error.code})${error.fix ? `; fix: ${error.fix}` : ''}`);
      });
    await using _held = reserved;
    const before = await pool();
    for (let n = 0; n < CYCLES; n++) {
      if (n % 100 === 0) signal.throwIfAborted();
      await using region = await mitigate.allocate({ bytes: PAGE_BYTES, pages: '2m' });
      region.view(0, 8).fill(n & 0xff);
    }
    const after = await pool();
    const same = (
      what: 'free' | 'total',
      limit: Comparison['limit'],
      name: string,
    ): Comparison => ({
      name: `cycles/${name}`,
      subject: `${what} pages of the pool after ${CYCLES} cycles`,
      floor: 'before them',
      limit,
      pairs: [[after[what], before[what]]],
      unit: 'count',
    });
    return [
      same('free', { at_least: 1 }, 'free_not_less'),
      same('free', { at_most: 1 }, 'free_not_more'),
      same('total', { at_least: 1 }, 'total_not_less'),
      same('total', { at_most: 1 }, 'total_not_more'),
    ];
  },
};
