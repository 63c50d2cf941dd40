// Which memory does this program touch first, and what does the machine do meanwhile?
// Run: node out/js/examples/monitor-sample.js
import { mitigate, monitor } from 'warpgauge';

const sampler = await monitor.sample({
  sources: [
    monitor.perf({ events: ['page-faults', 'context-switches'], pid: process.pid, intervalMs: 1 }),
    monitor.process({ pid: process.pid, intervalMs: 50 }),
    monitor.vmstat({ intervalMs: 50 }),
    monitor.gpu({ intervalMs: 50 }), // no GPU is a row of the state table, not an error
  ],
  durationMs: 1000,
});

const region = await mitigate.allocate({ bytes: 16 * 2 ** 20, pages: '4k', populate: false });
{
  using _phase = monitor.span('first touch');
  const bytes = region.view(0, region.bytes);
  for (let at = 0; at < bytes.length; at += 4096) bytes[at] = 1;
}

let faults = 0n;
for await (const { table, batch, dropped } of sampler) {
  if (dropped.rows > 0) console.log(`${table}: ${dropped.rows} rows came too late`);
  if (table === 'perf') faults = batch.getChild('page_faults')?.get(batch.numRows - 1) as bigint;
}
region.close();

console.log(`${faults} page faults seen; the region has ${region.bytes / 4096} pages of 4 KB`);
for (const { table, ticks, missed, rows } of sampler.stats().tables) {
  if (ticks > 0) console.log(`${table}: ${rows} rows, ${ticks} ticks, ${missed} missed`);
}
for (const { table, state, reason } of sampler.states) console.log(`${table}: ${state}, ${reason}`);
