// Sets power and clocks of the Simulated GPU and holds them, or puts them back; the fake driver or the test may kill it.
import { power } from '#lib/mitigate/power';
import type { PowerTarget } from '#lib/mitigate/power/plan';

const [, , action = '', target = '{}', options = '{}'] = process.argv;
const plan = await power.plan(JSON.parse(target) as PowerTarget);
const change = await plan.apply(JSON.parse(options) as object);
if (action === 'hold') {
  process.stdout.write(`${JSON.stringify(change)}\n`);
  setInterval(() => {}, 1 << 30);
} else if (action === 'undo') {
  await change.undo();
} else {
  await change.commit();
}
