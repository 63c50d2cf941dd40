import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { settle } from '#lib/mitigate/transaction/settle';
import {
  type CrashPoint,
  cannotTrace,
  findPoints,
  killAt,
  runChild,
  SimulatedMachine,
} from './crash-points.js';

/** What the machine holds when the child's change stands. */
const CHANGED = { pools: '18 2 madvise madvise never' };
const FOUND = '10 1 madvise madvise never';

const recover = (machine: SimulatedMachine, mode: 'recover' | 'release' = 'recover') =>
  settle(mode, { root: machine.root, stateDir: machine.stateDir });

async function inParallel(
  points: readonly CrashPoint[],
  work: (point: CrashPoint) => Promise<void>,
): Promise<void> {
  const queue = [...points];
  const worker = async (): Promise<void> => {
    for (let point = queue.shift(); point !== undefined; point = queue.shift()) await work(point);
  };
  await Promise.all([worker(), worker()]);
}

const nameOf = ({ call, nth, file }: CrashPoint): string => `${call} ${nth} of ${file}`;

/** Kills the child at each system call that touches a file, recovers, and holds what is left to what was. */
async function sweep(
  t: TestContext,
  args: string[],
  start: (t: TestContext) => Promise<SimulatedMachine>,
  allowed: readonly string[],
): Promise<void> {
  const reference = await start(t);
  const before = reference.journalLines();
  const points = await findPoints(reference, args);
  const { lines, mutating } = reference.journalLines();
  let hit = 0;
  await inParallel(points, async (point) => {
    const machine = await start(t);
    const { killed, there } = await killAt(machine, point, args);
    if (killed && there) hit += 1;
    const rebooted = new SimulatedMachine(t, machine);
    await recover(machine);
    assert.ok(allowed.includes(machine.state()), `killed at ${nameOf(point)}: ${machine.state()}`);
    const again = await recover(machine);
    assert.deepEqual(
      again.filter(({ state }) => state !== 'committed'),
      [],
      `a second recover after ${nameOf(point)}`,
    );
    // The same crash, and the machine was started anew before anybody recovered.
    rebooted.boot('two');
    const afterBoot = await recover(rebooted);
    assert.equal(rebooted.state(), FOUND, `rebooted after ${nameOf(point)}`);
    assert.ok(afterBoot.every(({ outcome }) => outcome === 'void'));
    assert.deepEqual(await recover(rebooted), []);
    machine.remove();
    rebooted.remove();
  });
  const least = 3 * (mutating - before.mutating) + (lines - before.lines);
  t.diagnostic(
    `killed at ${hit} of ${points.length} points; ${mutating - before.mutating} changes, ${lines - before.lines} lines of the journal`,
  );
  assert.ok(hit >= least, `${hit} points are fewer than ${least}`);
}

const fresh = async (t: TestContext): Promise<SimulatedMachine> => new SimulatedMachine(t);

const skip = cannotTrace;

test('killed at every system call of a commit, it is done or undone', { skip }, async (t) => {
  await sweep(t, ['pools', 'commit'], fresh, [FOUND, CHANGED.pools]);
});

test('killed at every system call of recover, the next one ends it', { skip }, async (t) => {
  const left = new SimulatedMachine(t);
  assert.equal(runChild(left, ['pools', 'hold']), 'SIGKILL');
  assert.equal(left.state(), CHANGED.pools);
  await sweep(t, ['recover'], async () => new SimulatedMachine(t, left), [FOUND]);
});

for (const what of ['pools', 'thp'] as const) {
  test(`${what}: killed at every system call, recover brings back what was found`, {
    skip,
  }, async (t) => {
    await sweep(t, [what], fresh, [FOUND]);
  });

  test(`${what}: killed anywhere, the guardian brings back what was found within 2 s`, {
    skip,
  }, async (t) => {
    const args = [what, 'undo', 'guarded'];
    const points = await findPoints(new SimulatedMachine(t), args);
    const some = points.filter(({ watched }, index) => watched || index % 3 === 0);
    let undone = 0;
    await inParallel(some, async (point) => {
      const machine = new SimulatedMachine(t);
      const { killed } = await killAt(machine, point, args);
      const begin = performance.now();
      while (machine.state() !== FOUND && performance.now() - begin < 2000) await sleep(5);
      assert.equal(machine.state(), FOUND, `killed at ${nameOf(point)}`);
      if (killed) undone += 1;
      machine.remove();
    });
    t.diagnostic(`${undone} of ${some.length} runs were killed`);
    assert.ok(undone >= some.length / 2);
  });
}
