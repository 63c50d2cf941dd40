// Reserves COUNT more 2 MiB pages than are available, releases them, and says how many boundaries it passed.
// At boundary number KILL_AT it ends itself as kill -9 does; "hold" and "guarded" (with a guardian) wait for their killer
// instead of releasing.

import { planReserve } from '#lib/mitigate/pool-plan';
import { reservePages } from '#lib/mitigate/pool-reserve';

const [stateDir = '', count = '8', killAt = '0', mode = '', how = ''] = process.argv.slice(2);
const pageBytes = 2 ** 21;
const [step] = planReserve({ pages: [{ pageBytes, count: 1 }] }).steps;
let passed = 0;
const held = await reservePages(
  {
    stateDir,
    guardian: mode === 'guarded',
    demote: how === 'demote',
    touch: how !== 'demote',
    pages: [{ pageBytes, count: (step?.available ?? 0) + Number(count) }],
  },
  {
    onStep(name) {
      passed++;
      process.stdout.write(`${passed} ${name}\n`);
      if (passed === Number(killAt)) process.kill(process.pid, 'SIGKILL');
    },
  },
);
process.stdout.write('held\n');
if (mode !== '') await new Promise(() => setInterval(() => {}, 1000));
await held.release();
