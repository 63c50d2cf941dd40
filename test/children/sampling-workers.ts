// Terminates workers that sample, one after the other; only they load the addon. Used by test/monitor/exit.test.ts.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { hangGpus, LIBRARIES, sampleGpu } from './hung-gpus.ts';

async function started(does: string): Promise<Worker> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { does } });
  await once(worker, 'message');
  return worker;
}

if (isMainThread) {
  const [count = '1', does = 'samples'] = process.argv.slice(2);
  let longest = 0;
  if (does === 'gpus') {
    const workers: Worker[] = [];
    for (const library of LIBRARIES) {
      process.env['WARPGAUGE_NVML'] = library;
      workers.push(await started(does));
    }
    await hangGpus();
    const before = performance.now();
    for (const worker of workers) await worker.terminate();
    longest = performance.now() - before;
  } else {
    for (let i = 0; i < Number(count); i++) {
      const worker = await started(does);
      const before = performance.now();
      await worker.terminate();
      longest = Math.max(longest, performance.now() - before);
    }
  }
  console.log(Math.round(longest));
} else {
  const { monitor } = await import('warpgauge');
  const { does } = workerData as { does: string };
  if (does === 'gpus') {
    await sampleGpu(false);
    parentPort?.postMessage('sampling');
  } else if (does === 'hang') {
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
