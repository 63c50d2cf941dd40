// Takes the lock NAME under ROOT, says "held" or the error, and keeps it until it is killed.
import { WarpgaugeError } from '#lib/errors';
import { MachineLock } from '#lib/mitigate/lock';

const [name = '', root = ''] = process.argv.slice(2);
try {
  await MachineLock.acquire(name, { root });
  console.log('held');
} catch (error) {
  console.log(error instanceof WarpgaugeError ? error.code : String(error));
}
setInterval(() => {}, 1000);
