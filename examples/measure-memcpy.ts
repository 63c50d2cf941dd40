// Do huge pages help my copies? Run: node out/js/examples/measure-memcpy.js
import { measure } from 'warpgauge';

const { verdicts, cells, document } = await measure.memcpy({
  pages: ['4k', 'thp'],
  sizes: [16 * 2 ** 20],
  pins: ['none'],
  blocks: 10,
});

console.log(document.proxy ? 'host proxy: no GPU takes part' : document.device?.name);
for (const v of verdicts) {
  const interval = v.ci95?.map((x) => x.toFixed(2)).join('-') ?? 'no interval';
  console.log(
    `${v.dir} ${v.state} ${v.kind} over 4k: ${v.speedup.toFixed(2)}x (${interval}) ${v.verdict} ${v.cause ?? ''}`,
  );
}
for (const cell of cells.filter((c) => c.status === 'unavailable' && c.legal)) {
  console.log(`${cell.id}: ${cell.reason}`);
}
