// Holds a MIG layout on the Simulated GPU of the environment until it is killed, told SIGTERM, or its time in ms is over.
import { mig } from '#lib/mitigate/mig';
import { holdMig } from '#lib/mitigate/mig/apply';

const [, , instances = '{}', ttl = '', guardian = ''] = process.argv;
const plan = await mig.plan({ instances: JSON.parse(instances) });
const held = await holdMig(plan, {
  announceMs: 0,
  guardian: guardian !== 'none',
  ...(ttl === '' ? {} : { ttlMs: Number(ttl) }),
});
const ended = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
process.stdout.write(`${JSON.stringify(held)}\n`);
const alive = setInterval(() => {}, 1000);
await ended;
clearInterval(alive);
await held.release();
