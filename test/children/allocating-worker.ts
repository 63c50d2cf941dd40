// Holds regions, lets some go, and always has an allocation in flight, until the thread is terminated.
import { parentPort } from 'node:worker_threads';
import { mitigate } from 'warpgauge';

const held: unknown[] = [];
for (let i = 0; ; i++) {
  const shared = i % 2 === 0;
  held[i % 4] = await mitigate.allocate({ bytes: 2 ** 20 + i, pages: '4k', shared });
  const closing = await mitigate.allocate({ bytes: 4096, pages: '4k', shared: true });
  closing.close();
  if (i === 4) parentPort?.postMessage('busy');
}
