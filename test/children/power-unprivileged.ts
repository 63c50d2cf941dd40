// Plans a power limit on the Simulated GPU of the environment and tries to apply it, as who has no right to.
import type { WarpgaugeError } from '#lib/errors';
import { power } from '#lib/mitigate/power';

const plan = await power.plan({ powerLimitW: 400 });
try {
  await plan.apply();
} catch (error) {
  const { code, capability } = error as WarpgaugeError;
  console.log(
    JSON.stringify({ steps: plan.steps.length, refusal: plan.refusal, code, capability }),
  );
}
