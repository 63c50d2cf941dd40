// Allocates as its argument (JSON of AllocateOptions) says and prints what came of it as one line of JSON. Tests
// start it under limits and filters that must not touch the test process itself.
import { mitigate, WarpgaugeError } from 'warpgauge';

try {
  const region = await mitigate.allocate(JSON.parse(process.argv[2] ?? ''));
  // The first and the last byte, so that a page that is not there ends this process and not the test.
  region.view(0, 1)[0] = 1;
  region.view(region.bytes - 1, 1)[0] = 1;
  const { pages, grantedPages, fellBackFrom, reason } = region;
  region.close();
  console.log(JSON.stringify({ pages, grantedPages, fellBackFrom, reason }));
} catch (error) {
  if (!(error instanceof WarpgaugeError)) throw error;
  console.log(JSON.stringify({ error }));
}
