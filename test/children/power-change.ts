// Sets power and clocks of the Simulated GPU and holds them, watches them, or puts them back; or recovers what another left. The
// fake driver or the test may kill it.
import { power } from '#lib/mitigate/power';
import type { PowerDrift } from '#lib/mitigate/power/drift';
import type { PowerTarget } from '#lib/mitigate/power/plan';

const [, , action = '', target = '{}', options = '{}'] = process.argv;
const say = (value: object): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};

if (action === 'recover') {
  await power.recover({ patienceMs: 0 });
} else {
  const plan = await power.plan(JSON.parse(target) as PowerTarget);
  const change = await plan.apply(JSON.parse(options) as object);
  if (action === 'hold') {
    say(change);
    setInterval(() => {}, 1 << 30);
  } else if (action === 'watch') {
    process.on('uncaughtException', (error) => say({ uncaught: error.message }));
    const onDrift = ({ found }: PowerDrift): void => {
      say({ found });
      throw new Error(`not ${found}`);
    };
    change.onDrift(onDrift, { intervalMs: 10 });
    say({ watching: true });
    setInterval(() => {}, 1 << 30);
  } else if (action === 'undo') {
    await change.undo();
  } else {
    await change.commit();
  }
}
