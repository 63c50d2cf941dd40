// As nobody, with the capabilities it was started with: plans a MIG layout, tries to apply it, and says what became of it.
import type { WarpgaugeError } from '#lib/errors';
import { mig } from '#lib/mitigate/mig';
import { applyMig } from '#lib/mitigate/mig/apply';

if (process.getuid?.() === 0) {
  process.setgroups?.([]);
  process.setgid?.(65534);
  process.setuid?.(65534);
}
process.env['XDG_RUNTIME_DIR'] = process.env['WARPGAUGE_STATE_DIR'];

const plan = await mig.plan({ instances: { '7g.80gb': 1 } });
let error: WarpgaugeError | null = null;
try {
  await applyMig(plan, { announceMs: 0, allow: ['mode'] });
} catch (thrown) {
  error = thrown as WarpgaugeError;
}
process.stdout.write(
  JSON.stringify({
    steps: plan.steps.length,
    code: error?.code ?? null,
    capability: error?.capability ?? null,
  }),
);
