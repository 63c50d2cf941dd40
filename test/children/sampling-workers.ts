// Terminates workers that sample, one after the other; only they load the addon. Used by test/monitor/exit.test.ts.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

if (isMainThread) {
  const [count = '1', hangs = ''] = process.argv.slice(2);
  let longest = 0;
  for (let i = 0; i < Number(count); i++) {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { hangs: hangs === 'hang' },
    });
    await once(worker, 'message');
    const before = performance.now();
    await worker.terminate();
    longest = Math.max(longest, performance.now() - before);
  }
  console.log(Math.round(longest));
} else {
  const { monitor } = await import('warpgauge');
  const { hangs } = workerData as { hangs: boolean };
  if (hangs) {
    monitor.sample({ sources: [monitor.vmstat()] }).catch(() => undefined);
    setTimeout(() => parentPort?.postMessage('hanging'), 100);
  } else {
    const sampler = await monitor.sample({
      sources: [monitor.hugepages({ intervalMs: 0.1 }), monitor.vmstat({ intervalMs: 1 })],
      batchMs: 1,
    });
    let batches = 0;
    for await (const _ of sampler) if (++batches === 10) parentPort?.postMessage('sampling');
  }
}
