// Takes the lock NAME under ROOT, says "held" or the error, and keeps it until it is killed.
import { WarpgaugeError } from '#lib/errors';
import { DeviceLock } from '#lib/mitigate/transaction/lock';

const [name = '', root = ''] = process.argv.slice(2);
try {
  DeviceLock.acquire(name, 'test', { root });
  console.log('held');
} catch (error) {
  console.log(error instanceof WarpgaugeError ? error.code : String(error));
}
setInterval(() => {}, 1000);
