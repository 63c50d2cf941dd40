import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEEDS_FORKS, sweep } from './crash-sweep.js';
import { SimulatedMig } from './simulated-mig.js';

const BEFORE = 'mode 1 19@4:1@0 9@0:1@0+1@1';
const AFTER = 'mode 1 14@0:2@0 19@4:1@0';
/** Instances end with a boot, and the mode on GPUs that do not keep it. */
const REBOOTED = ['mode 1'];

test('killed at every point: other instances, one with two compute instances', {
  ...NEEDS_FORKS,
}, async (t) => {
  const done = await sweep({
    machine: () => new SimulatedMig({ instances: ['9@0:1@0+1@1', '19@4:1@0'] }),
    request: { want: { '2g.20gb': 1, '1g.10gb': 1 } },
  });
  assert.deepEqual([done.before, done.after], [BEFORE, AFTER]);
  assert.equal(done.mutating, 5, 'no more changes than the difference');
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
