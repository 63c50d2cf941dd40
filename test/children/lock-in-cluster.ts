// Two cluster workers take the same lock; prints what each of them got, sorted.
import cluster from 'node:cluster';
import { WarpgaugeError } from '#lib/errors';
import { DeviceLock } from '#lib/mitigate/transaction/lock';

const [root = ''] = process.argv.slice(2);
if (cluster.isPrimary) {
  const said: string[] = [];
  for (let n = 0; n < 2; n++) {
    cluster.fork().on('message', (text: string) => {
      said.push(text);
      if (said.length < 2) return;
      console.log(said.sort().join());
      for (const worker of Object.values(cluster.workers ?? {})) worker?.kill('SIGKILL');
    });
  }
} else {
  let text = 'held';
  try {
    DeviceLock.acquire('cluster', 'test', { root });
  } catch (error) {
    text = error instanceof WarpgaugeError ? error.code : String(error);
  }
  process.send?.(text);
  setInterval(() => {}, 1000);
}
