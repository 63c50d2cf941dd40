// Plans and applies a MIG layout, holds it (until it is killed, told SIGTERM, or its time in ms is over), or recovers, on the
// Simulated GPU of the environment; the fake driver may kill it.
import { mig } from '#lib/mitigate/mig';
import { applyMig, holdMig } from '#lib/mitigate/mig/apply';

const [, , action = '', instances = '{}', enabled = 'true', ttl = '', guardian = ''] = process.argv;
const quick = { allow: ['mode', 'reset'], announceMs: 0 } as const;
if (action === 'recover') {
  await mig.recover({ patienceMs: 0 });
} else {
  const plan = await mig.plan({ instances: JSON.parse(instances), enabled: enabled === 'true' });
  if (action === 'apply') {
    await applyMig(plan, quick);
  } else {
    const ttlMs = ttl === '' ? {} : { ttlMs: Number(ttl) };
    const held = await holdMig(plan, { ...quick, ...ttlMs, guardian: guardian !== 'none' });
    const ended = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
    process.stdout.write(`${JSON.stringify(held)}\n`);
    const alive = setInterval(() => {}, 1000);
    await ended;
    clearInterval(alive);
    await held.release();
  }
}
