// A buffer on huge pages, proven, or a clear error. Run: node out/js/examples/mitigate-allocate.js
import { mitigate, WarpgaugeError } from 'warpgauge';

try {
  const region = await mitigate.allocate({
    bytes: 64 * 2 ** 20,
    pages: '2m',
    fallback: ['thp', '4k'],
  });
  region.view(0, 4096).fill(1);
  console.log(`${region.bytes} bytes on ${region.pages} pages`, region.grantedPages);
  if (region.reason) console.log(`not on 2m: ${region.reason}`);
  region.close();
} catch (error) {
  if (!(error instanceof WarpgaugeError)) throw error;
  console.error(`${error.code}: ${error.message}`, error.fix ?? '');
  process.exitCode = 1;
}
