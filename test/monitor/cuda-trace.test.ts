// Tracing of this process, in children, on the simulated driver.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { monitor } from 'warpgauge';
import { FAKE_ENV, NEEDS_FAKE } from './trace-fake.js';

const CHILD = fileURLToPath(new URL('../children/self-tracing.js', import.meta.url));

function run(...args: string[]): { status: number | null; said: unknown; stderr: string } {
  const child = spawnSync(process.execPath, [CHILD, ...args], {
    encoding: 'utf8',
    env: { ...FAKE_ENV },
    timeout: 60_000,
  });
  return {
    status: child.status,
    said: child.stdout === '' ? null : JSON.parse(child.stdout),
    stderr: child.stderr,
  };
}

// A warm sample copies twice: before the timed region and in it.
test('copies of this process, and again in a second trace; marked as Simulated', NEEDS_FAKE, () => {
  const { said, stderr } = run('copies');
  const rounds = said as { copies: number; memory: string[]; pids: number[] }[];
  assert.equal(rounds?.length, 2, stderr);
  for (const round of rounds) {
    assert.deepEqual(
      { ...round, pids: round.pids.length },
      { copies: 6, memory: ['pageable'], pids: 1, simulated: true, states: [] },
    );
  }
});

test(
  'a process has one trace: the second is refused, or a state beside other sources',
  NEEDS_FAKE,
  () => {
    const { said, stderr } = run('twice');
    assert.deepEqual(
      said,
      { code: 'ERR_BUSY', state: 'unavailable', reason: 'busy', first: true },
      stderr,
    );
  },
);

test('twenty workers are terminated while they trace, one after the other', NEEDS_FAKE, () => {
  const { status, said, stderr } = run('workers', '20');
  assert.equal(status, 0, stderr);
  assert.ok((said as { longest: number }).longest < 2000, JSON.stringify(said));
});

test('process.exit in the middle', NEEDS_FAKE, () => {
  const { status, stderr } = run('exit');
  assert.equal(status, 5, stderr);
});

test('without a driver nothing is opened', {
  skip: existsSync('/proc/driver/nvidia/version') ? 'there is a driver' : false,
}, async () => {
  await assert.rejects(monitor.sample({ sources: [monitor.cudaTrace()] }), {
    code: 'ERR_NO_DRIVER',
  });
  await using sampler = await monitor.sample({
    sources: [monitor.cudaTrace(), monitor.vmstat()],
  });
  const state = sampler.states.find(({ source }) => source === 'cuda');
  assert.equal(state?.reason, 'no_driver');
  assert.equal(existsSync('/dev/nvidiactl'), false);
});
