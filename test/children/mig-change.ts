// Plans and applies a MIG layout, or recovers, on the Simulated GPU of the environment; the fake driver may kill it.
import { mig } from '#lib/mitigate/mig';
import { applyMig } from '#lib/mitigate/mig/apply';

const [, , action = '', instances = '{}', enabled = 'true'] = process.argv;
if (action === 'recover') {
  await mig.recover({ patienceMs: 0 });
} else {
  const plan = await mig.plan({ instances: JSON.parse(instances), enabled: enabled === 'true' });
  await applyMig(plan, { allow: ['mode', 'reset'], announceMs: 0 });
}
