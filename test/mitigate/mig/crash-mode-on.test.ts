import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEEDS_FORKS, sweep } from './crash-sweep.js';
import { SimulatedMig } from './simulated-mig.js';

const BEFORE = 'mode 0';
const AFTER = 'mode 1 9@4:3@0';
/** Instances end with a boot, and the mode on GPUs that do not keep it. */
const REBOOTED = ['mode 0', 'mode 1'];

test('killed at every point: MIG switched on by a reset, as on an A100', {
  ...NEEDS_FORKS,
}, async (t) => {
  const done = await sweep({
    machine: () =>
      new SimulatedMig({
        board: 'A100-80',
        mode: false,
        script: 'nvml.0.mig_reset = 1\nnvml.mig_without_reset = 0\nnvml.0.mig_lasts = 1',
      }),
    request: { want: { '3g.40gb': 1 } },
  });
  assert.deepEqual([done.before, done.after], [BEFORE, AFTER]);
  assert.equal(done.mutating, 3, 'no more changes than the difference');
  assert.ok(
    done.crashes.length >= 2 * 3 * done.mutating,
    'before and after each change is another',
  );
  for (const { name, state, rebooted, outcomes, again, mutations } of done.crashes) {
    const allowed = rebooted ? REBOOTED : [BEFORE, AFTER];
    assert.ok(allowed.includes(state), `${name}: ${state}`);
    for (const outcome of outcomes) assert.match(outcome, /^(undone|void)$/, name);
    assert.deepEqual([again, mutations], [0, 0], `${name}: a second recover does nothing`);
  }
  const least = 3 * done.mutating + done.fileCalls;
  t.diagnostic(
    `killed at ${done.killed} points, ${done.crashes.length / 2} different remains, each also behind a reboot; ${done.mutating} changes, ${done.fileCalls} calls on files`,
  );
  assert.ok(done.killed >= least, `${done.killed} points are fewer than ${least}`);
});
