// Ends in the way its argument names, with regions live and an allocation in flight.
import { mitigate } from 'warpgauge';

const live = [
  await mitigate.allocate({ bytes: 2 ** 21, pages: '4k' }),
  await mitigate.allocate({ bytes: 2 ** 21, pages: '4k', shared: true }),
];
const inFlight = mitigate.allocate({ bytes: 64 * 2 ** 20, pages: '4k' });
switch (process.argv[2]) {
  case 'exit':
    process.exit(3);
    break;
  case 'throw':
    queueMicrotask(() => {
      throw new Error('on purpose');
    });
    break;
  case 'closed-exit':
    for (const region of live) region.close();
    process.exit(3);
    break;
  default:
    await inFlight;
    process.exitCode = 3;
}
