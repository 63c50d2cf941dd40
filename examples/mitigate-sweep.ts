// Which huge pages are best for copies on this machine? Sweeps the THP policy and a page pool with the host benchmark and
// puts all back. Run as root: node out/js/examples/mitigate-sweep.js
import { measure, mitigate } from 'warpgauge';

const pageBytes = 2 * 2 ** 20;
const bytes = 16 * 2 ** 20;
const kinds = { 'THP at once': 'thp', 'THP later': 'thp', pool: '2m' } as const;

const { pools } = await mitigate.pools.status();
const before = pools.find((pool) => pool.node === null && pool.page_kb === 2048)?.persistent ?? 0;

const { settings, front, frontBy, energyReason } = await mitigate.sweep({
  settings: [
    { name: 'THP at once', thp: { enabled: 'madvise', defrag: 'madvise' } },
    { name: 'THP later', thp: { enabled: 'madvise', defrag: 'defer' } },
    { name: 'pool', pools: [{ pageBytes, count: before + 32 }] },
  ],
  repetitions: 2,
  unit: 'GB',
  gpus: [], // what a GPU spends beside this is not of these copies
  async workload({ setting }) {
    const { cells } = await measure.memcpy({
      backend: 'host',
      pages: [kinds[setting as keyof typeof kinds]],
      sizes: [bytes],
      directions: ['DtoH'],
      states: ['cold'],
      pins: ['none'],
      blocks: 2,
    });
    const times = cells.flatMap(({ samples }) => samples.map(({ t_host_ns }) => t_host_ns));
    const seconds = times.reduce((sum, ns) => sum + ns, 0) / 1e9;
    return { units: (times.length * bytes) / 1e9, seconds };
  },
});

for (const { name, error, unitsPerSecond: rate } of settings) {
  const spread = rate === null ? '' : ` (${rate.min.toFixed(2)}-${rate.max.toFixed(2)})`;
  const told =
    rate === null ? `${error?.code}: ${error?.message}` : `${rate.median.toFixed(2)} GB/s`;
  console.log(`${name.padEnd(12)} ${told}${spread}`);
}
console.log(`best by ${frontBy.replaceAll('_', ' ')} (${energyReason}): ${front.join(', ')}`);
