// Measure, mitigate, measure again: are copies faster on 2 MB pages? Run as root: node out/js/examples/mitigate-pages.js
import { measure, mitigate, WarpgaugeError } from 'warpgauge';

const pageBytes = 2 * 2 ** 20;
const options = {
  backend: 'host',
  pages: ['4k', '2m'],
  sizes: [16 * 2 ** 20],
  directions: ['DtoH'],
  states: ['cold'],
  pins: ['none'],
  blocks: 10,
} as const;

const poolSize = async (): Promise<number> => {
  const { pools } = await mitigate.pools.status();
  return pools.find((pool) => pool.node === null && pool.page_kb === 2048)?.persistent ?? 0;
};

async function measureNow(when: string): Promise<void> {
  const { cells, verdicts } = await measure.memcpy(options);
  const missing = cells.find((cell) => cell.kind === '2m' && cell.status === 'unavailable');
  if (missing) console.log(`${when}: no copies on 2m: ${missing.reason}`);
  for (const { dir, state, kind, speedup, ci95, verdict, cause } of verdicts) {
    const interval = ci95?.map((x) => x.toFixed(2)).join('-') ?? 'no interval';
    const why = cause ? ` (${cause})` : '';
    console.log(
      `${when}: ${dir} ${state} ${kind} over 4k: ${speedup.toFixed(2)}x [${interval}] ${verdict}${why}`,
    );
  }
}

const before = await poolSize();
await measureNow('before');
try {
  // A lease: it ends with this block, and with this process, by whatever death.
  await using held = await mitigate.pools.reserve({ pages: [{ pageBytes, count: before + 64 }] });
  const added = held.grown.reduce((sum, { pages }) => sum + pages, 0);
  console.log(`added ${added} pages; guardian: ${held.guardian.pid ?? held.guardian.reason}`);
  await measureNow('after');
} catch (error) {
  if (!(error instanceof WarpgaugeError)) throw error;
  console.log(`not mitigated: ${error.code}: ${error.message}; ${error.fix ?? ''}`);
}
const now = await poolSize();
console.log(
  now === before ? `restored: ${now} pages, as before` : `${now} pages, before: ${before}`,
);
process.exitCode = now === before ? 0 : 1;
