// Setting power and clocks of the Simulated GPU: what is put back, what is refused, what is told.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadBinding } from '#lib/addon';
import { WarpgaugeError } from '#lib/errors';
import { power } from '#lib/mitigate/power';
import { DeviceLock } from '#lib/mitigate/transaction/lock';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import { whyNotNobody } from '../../nobody.js';
import { GPU, SECOND, SimulatedPower } from './simulated-power.js';

const AS_FOUND = 'limit as found persistence as found sm - memory -';
/** Nobody looks after the change but its block: a guardian for each would only take time. */
const quick = { guardian: false } as const;
const FOUR = {
  powerLimitW: 400,
  smClockMhz: { min: 345, max: 1200 },
  memoryClockMhz: { min: 1593, max: 3201 },
  persistence: false,
} as const;

async function refused(
  promise: Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<WarpgaugeError> {
  try {
    await promise;
  } catch (error) {
    assert.equal((error as WarpgaugeError).code, code, (error as Error).message);
    assert.match((error as Error).message, message);
    return error as WarpgaugeError;
  }
  assert.fail(`no ${code}`);
}

test('all settings of a GPU, read back, audited and put back', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const plan = await power.plan(FOUR);
  assert.deepEqual(
    plan.steps.map(({ setting, from, to }) => [setting, from, to]),
    [
      ['power_limit', { requestedW: 700, currentW: 700 }, 400],
      ['sm_clock', null, { min: 345, max: 1200 }],
      ['memory_clock', null, { min: 1593, max: 3201 }],
      ['persistence', true, false],
    ],
  );
  assert.equal(plan.steps[0]?.command, `sudo nvidia-smi -i ${GPU} -pl 400`);
  assert.deepEqual(machine.mutations(), [], 'a plan changes nothing');
  {
    await using change = await plan.apply(quick);
    assert.equal(machine.held(), 'limit 400 persistence off sm 345-1200 memory 1593-3201');
    assert.deepEqual(
      change.verified.map(({ setting, state }) => [setting, state]),
      [
        ['power_limit', 'in_effect'],
        ['sm_clock', 'in_effect'],
        ['memory_clock', 'in_effect'],
        ['persistence', 'in_effect'],
      ],
    );
    assert.equal(change.guardian.pid, null);
    const { changes } = await power.status();
    assert.deepEqual(
      changes.map(({ state }) => state),
      ['held'],
    );
  }
  assert.equal(machine.held(), 'limit 700 persistence on sm - memory -');
  assert.deepEqual(
    machine.mutations().map((line) => line.replace(/ = .*/, '')),
    [
      'nvmlDeviceSetPowerManagementLimit(400000)',
      'nvmlDeviceSetGpuLockedClocks(345, 1200)',
      'nvmlDeviceSetMemoryLockedClocks(1593, 3201)',
      'nvmlDeviceSetPersistenceMode(0)',
      'nvmlDeviceSetPersistenceMode(1)',
      'nvmlDeviceResetMemoryLockedClocks(0, 0)',
      'nvmlDeviceResetGpuLockedClocks(0, 0)',
      'nvmlDeviceSetPowerManagementLimit(700000)',
    ],
  );
  const audit = readFileSync(join(machine.stateDir, 'audit.jsonl'), 'utf8').split('\n');
  assert.equal(audit.filter(Boolean).length, 8);
  assert.deepEqual(await power.recover(), []);
});

test('what was found comes back, not the default', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower(
    'nvml.power_limit = 600000\nnvml.power_limit_enforced = 600000',
  );
  {
    await using _change = await (await power.plan({ powerLimitW: 400 })).apply(quick);
    assert.match(machine.held(), /limit 400 /);
  }
  assert.match(machine.held(), /limit 600 /);
});

test(
  'an out-of-band limit that stays in force comes back with the request',
  NEEDS_FAKE,
  async () => {
    using _machine = new SimulatedPower(
      'nvml.power_limit_enforced = 500000\nnvml.power_oob = 500000',
    );
    const limit = async () => (await power.status()).gpus[0]?.powerLimit;
    const before = await limit();
    assert.deepEqual([before?.requestedW, before?.currentW], [700, 500]);
    const plan = await power.plan({ powerLimitW: 400 });
    assert.ok(plan.warnings.some(({ code }) => code === 'out_of_band_limit'));
    {
      await using _change = await plan.apply(quick);
      assert.equal((await limit())?.currentW, 400);
    }
    assert.deepEqual(await limit(), before);
    // A cap above it is installed and does not bind.
    await using above = await (await power.plan({ powerLimitW: 600 })).apply(quick);
    assert.deepEqual(
      above.verified.map(({ state, reason }) => [state, reason]),
      [['limited', 'an out-of-band limit of 500 W is lower and holds']],
    );
  },
);

test(
  'an out-of-band limit that our request replaced: no more power than was found, and it is told',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower('nvml.power_limit_enforced = 500000');
    const change = await (await power.plan({ powerLimitW: 400 })).apply(quick);
    const error = await refused(change.undo(), 'ERR_REFUSED', /500 W as it was found, but in-band/);
    assert.match(
      error.fix ?? '',
      /-pl 700, then set 500 W at the BMC, then warpgauge power recover/,
    );
    const limit = async () => {
      const now = (await power.status()).gpus[0]?.powerLimit;
      return [now?.requestedW, now?.currentW];
    };
    assert.deepEqual(await limit(), [500, 500]);
    const calls = machine.mutations().length;
    await refused(change[Symbol.asyncDispose](), 'ERR_REFUSED', /in-band/);
    assert.equal(machine.mutations().length, calls, 'what cannot be is not tried again and again');
    // The operator does what `fix` says.
    machine.interfere({});
    assert.deepEqual(await limit(), [700, 500]);
    await change.undo();
    assert.deepEqual((await power.status()).changes, []);
  },
);

test('what others changed meanwhile is theirs', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const change = await (await power.plan({ powerLimitW: 400, persistence: false })).apply(quick);
  machine.interfere({ limitW: 350, persistence: true });
  await change.undo();
  assert.equal(machine.held(), 'limit 350 persistence on sm - memory -');
});

test('no false success: the driver says yes and it is not so', NEEDS_FAKE, async () => {
  const cases = [
    ['nvml.ignore = 1', { powerLimitW: 400 }, /said yes to 400 W, and 700 W is what it has/],
    ['nvml.ignore = 1', { persistence: false }, /persistence is still on/],
    [
      'nvml.power_stuck = 1',
      { powerLimitW: 400 },
      /400 W is installed, and 700 W is what the driver enforces/,
    ],
    [
      'nvml.lock_ignored = 1',
      { smClockMhz: { min: 345, max: 1200 } },
      /locked to 345-1200 MHz and is 1980 MHz/,
    ],
    [
      'nvml.lock_ignored = 1\nnvml.sm_mhz = 800',
      { smClockMhz: { min: 1500, max: 1980 } },
      /is 800 MHz/,
    ],
  ] as const;
  for (const [script, target, message] of cases) {
    using machine = new SimulatedPower(script);
    const error = await refused((await power.plan(target)).apply(quick), 'ERR_REFUSED', message);
    assert.doesNotMatch(error.message, /left behind/);
    assert.match(machine.held(), /limit (700|as found) persistence as found sm - memory -/, script);
    assert.deepEqual(await power.recover(), []);
  }
});

test(
  'a limit that takes effect later than the call returns is waited for',
  NEEDS_FAKE,
  async () => {
    using _machine = new SimulatedPower('nvml.power_late_reads = 5');
    await using change = await (await power.plan({ powerLimitW: 400 })).apply(quick);
    assert.equal(change.verified[0]?.state, 'in_effect');
  },
);

test(
  'a lock is unknown while the GPU is idle, and limited where heat is stronger',
  NEEDS_FAKE,
  async () => {
    const lock = { smClockMhz: { min: 1500, max: 1980 } };
    {
      using _idle = new SimulatedPower('nvml.utilization_gpu = 0\nnvml.sm_mhz = 345');
      await using change = await (await power.plan(lock)).apply(quick);
      assert.deepEqual(
        change.verified.map(({ state, reason }) => [state, reason]),
        [['unknown', 'the GPU is idle: no driver tells a lock, only a clock under load does']],
      );
    }
    using _hot = new SimulatedPower(
      'nvml.lock_ignored = 1\nnvml.sm_mhz = 1200\nnvml.reasons = 0x20',
    );
    await using change = await (await power.plan(lock)).apply(quick);
    assert.deepEqual(
      change.verified.map(({ state, reason }) => [state, reason]),
      [['limited', '1200 MHz: sw_thermal_slowdown holds it below']],
    );
  },
);

test('a failure at any step leaves every GPU as it was found', NEEDS_FAKE, async () => {
  for (const [code, expected] of [
    [4, 'ERR_PERMISSION'],
    [3, 'ERR_UNAVAILABLE'],
    [2, 'ERR_NVML'],
  ] as const) {
    for (let step = 1; step <= 4; step++) {
      using machine = new SimulatedPower(`nvml.fail = ${code}@${step}`);
      const error = await refused((await power.plan(FOUR)).apply(quick), expected, /failed \(/);
      assert.doesNotMatch(error.message, /left behind/);
      if (code === 4) assert.equal(error.capability, 'CAP_SYS_ADMIN');
      assert.match(machine.held(), /limit (700|as found) persistence as found sm - memory -/);
      assert.deepEqual(await power.recover(), []);
    }
  }
  using machine = new SimulatedPower('devices = 2\nnvml.fail = 2@2');
  const plan = await power.plan([
    { gpu: GPU, powerLimitW: 400 },
    { gpu: SECOND, powerLimitW: 300 },
  ]);
  await refused(plan.apply(quick), 'ERR_NVML', /300000 mW/);
  assert.match(machine.held(0), /limit 700 /);
  assert.equal(machine.held(1), AS_FOUND);
});

test(
  'a reading that fails after the driver has taken a lock is no refusal',
  NEEDS_FAKE,
  async (t) => {
    using machine = new SimulatedPower();
    const plan = await power.plan({ smClockMhz: { min: 345, max: 1200 } });
    const binding = loadBinding();
    const { changePower, readPower } = binding;
    let failing = 0;
    t.mock.method(binding, 'changePower', async (...args: Parameters<typeof changePower>) => {
      await changePower(...args);
      if (args[1].kind === 'lock-sm') failing = 2;
    });
    t.mock.method(binding, 'readPower', async (...args: Parameters<typeof readPower>) => {
      if (failing-- > 0) throw new WarpgaugeError('ERR_NVML', 'a reading failed', { status: 999 });
      return await readPower(...args);
    });
    {
      await using change = await plan.apply(quick);
      assert.equal(change.verified[0]?.state, 'in_effect');
      assert.match(machine.held(), /sm 345-1200 /);
    }
    assert.match(machine.held(), /sm - /);
  },
);

test('a lock that the driver refuses needs no undoing', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower(
    'error.nvmlDeviceSetGpuLockedClocks = 4\nerror.nvmlDeviceResetGpuLockedClocks = 4',
  );
  const target = { powerLimitW: 400, smClockMhz: { min: 345, max: 1200 } };
  const error = await refused(
    (await power.plan(target)).apply(quick),
    'ERR_PERMISSION',
    /nvmlDeviceSetGpuLockedClocks failed/,
  );
  assert.doesNotMatch(error.message, /left behind/);
  assert.match(machine.held(), /^limit 700 /);
  assert.deepEqual(await power.recover(), []);
});

test(
  'without persistence and without a client settings are lost: told, and mended by asking for it',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower('nvml.persistence = 0\nnvml.clients = 0');
    const plan = await power.plan({ powerLimitW: 400 });
    assert.ok(plan.warnings.some(({ code }) => code === 'persistence_off'));
    const error = await refused(plan.apply(quick), 'ERR_REFUSED', /700 W is what it has/);
    assert.match(error.fix ?? '', /ask for persistence too/);
    const both = await power.plan({ powerLimitW: 400, persistence: true });
    assert.ok(both.warnings.every(({ code }) => code !== 'persistence_off'));
    {
      await using _change = await both.apply(quick);
      assert.equal(machine.held(), 'limit 400 persistence on sm - memory -');
    }
    assert.equal(machine.held(), 'limit as found persistence off sm - memory -');
  },
);

test('the same plan again changes nothing; a changed GPU makes it stale', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const plan = await power.plan(FOUR);
  const change = await plan.apply(quick);
  await change.commit();
  machine.forgetCalls();
  for (let i = 0; i < 3; i++) {
    await using again = await plan.apply(quick);
    assert.equal(again.id, null);
    assert.deepEqual((await power.plan(FOUR)).steps, []);
  }
  assert.deepEqual(machine.mutations(), []);
  const other = await power.plan({ powerLimitW: 500 });
  machine.interfere({ limitW: 350 });
  await refused(other.apply(quick), 'ERR_STALE_PLAN', /not what it was/);
});

test(
  'a lock that a reload of the driver has taken away is set again, by the same plan too',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower();
    const target = { smClockMhz: { min: 345, max: 1200 } };
    const plan = await power.plan(target);
    await (await plan.apply(quick)).commit();
    machine.interfere({}); // all of the driver's settings are gone, and the boot is the same
    assert.match(machine.held(), /sm - /);
    const again = await power.plan(target);
    assert.deepEqual(
      again.steps.map(({ from, to }) => [from, to]),
      [[target.smClockMhz, target.smClockMhz]],
    );
    // What a lock of ours replaces is not unknown.
    assert.deepEqual(again.warnings, []);
    {
      await using change = await plan.apply(quick);
      assert.deepEqual([change.changed.length, change.verified[0]?.state], [1, 'in_effect']);
    }
    assert.match(machine.held(), /sm 345-1200 /);
    assert.deepEqual((await power.plan(target)).steps, []);
    // On an idle GPU no clock tells, and the lock is set again.
    machine.write('nvml.utilization_gpu = 0\nnvml.sm_mhz = 345');
    machine.forgetCalls();
    await (await plan.apply(quick)).commit();
    assert.equal(machine.mutations().length, 1);
    machine.write();
    assert.deepEqual(
      (await power.release()).map(({ outcome }) => outcome),
      ['undone', 'undone'],
    );
    assert.match(machine.held(), /sm - /);
  },
);

test(
  'a lock of ours that another replaces comes back; release puts back what was found',
  NEEDS_FAKE,
  async () => {
    using machine = new SimulatedPower();
    await (await (await power.plan({ smClockMhz: { min: 345, max: 1200 } })).apply(quick)).commit();
    const plan = await power.plan({ smClockMhz: { min: 345, max: 900 } });
    assert.deepEqual([plan.steps[0]?.from, plan.warnings], [{ min: 345, max: 1200 }, []]);
    {
      await using _change = await plan.apply(quick);
      assert.match(machine.held(), /sm 345-900 /);
    }
    assert.match(machine.held(), /sm 345-1200 /);
    const released = await power.release();
    assert.deepEqual(
      released.map(({ outcome }) => outcome),
      ['undone'],
    );
    assert.match(machine.held(), /sm - /);
  },
);

test('what was set for a time is set by nobody else until then', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  await (await (await power.plan({ persistence: false })).apply(quick)).commit();
  const leased = await power.plan({ powerLimitW: 400 });
  await (await leased.apply({ ...quick, ttlMs: 3_600_000 })).commit();
  const error = await refused(
    (await power.plan({ powerLimitW: 300, persistence: true })).apply(quick),
    'ERR_REFUSED',
    /for a time until \d{4}-.* by pid \d+/,
  );
  assert.match(error.fix ?? '', /warpgauge power release/);
  assert.equal(machine.held(), 'limit 400 persistence off sm - memory -');
  {
    // Another setting is in nobody's way, and the same once more is none.
    await using _lock = await (await power.plan({ smClockMhz: { min: 345, max: 900 } })).apply(
      quick,
    );
    assert.match(machine.held(), /sm 345-900 /);
  }
  {
    await using same = await leased.apply(quick);
    assert.equal(same.id, null);
  }
  assert.deepEqual(
    (await power.release()).map(({ outcome }) => outcome),
    ['undone', 'undone'],
  );
  assert.equal(machine.held(), 'limit 700 persistence on sm - memory -');
  await using _after = await (await power.plan({ powerLimitW: 300 })).apply(quick);
});

test('one changes a GPU at a time', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower();
  const plan = await power.plan({ powerLimitW: 400 });
  const lock = DeviceLock.acquire(`gpu-${GPU}`, 'a test');
  const error = await refused(plan.apply(quick), 'ERR_LOCKED', /held by pid/);
  lock.release();
  assert.equal(error.holders?.[0]?.pid, process.pid);
  assert.deepEqual(machine.mutations(), []);
});

test(
  'a plan warns where a cap cannot bind and where a lock of others would be lost',
  NEEDS_FAKE,
  async () => {
    using _machine = new SimulatedPower('nvml.power_average = 137000');
    const plan = await power.plan({ powerLimitW: 400, smClockMhz: { min: 345, max: 1200 } });
    assert.deepEqual(
      plan.warnings.map(({ code }) => code),
      ['cap_above_draw', 'prior_lock_unknown'],
    );
    assert.match(plan.warnings[0]?.message ?? '', /draws 137 W now, less than 400 W/);
  },
);

test('what a GPU does not take is refused by the plan', NEEDS_FAKE, async () => {
  using machine = new SimulatedPower('devices = 2');
  const cases = [
    [{ gpu: GPU, powerLimitW: 100 }, /200 to 700 W/],
    [{ gpu: GPU, powerLimitW: Number.NaN }, /200 to 700 W/],
    [{ gpu: GPU, smClockMhz: { min: 1200, max: 345 } }, /the least first.*"1200,345"/],
    [{ gpu: GPU, smClockMhz: { min: 345, max: 2500 } }, /345 to 1980 MHz/],
    [{ gpu: GPU, memoryClockMhz: { min: 1593, max: 2000 } }, /1593, 3201 MHz/],
    [{ gpu: GPU }, /one of powerLimitW/],
    [{ powerLimitW: 400 }, /one of GPU-.*, GPU-/],
    [
      [
        { gpu: GPU, powerLimitW: 400 },
        { gpu: GPU, powerLimitW: 300 },
      ],
      /one target for each GPU/,
    ],
  ] as const;
  for (const [target, message] of cases) {
    await refused(power.plan(target), 'ERR_INVALID_ARGUMENT', message);
  }
  await refused(power.plan({ gpu: 'GPU-none', powerLimitW: 400 }), 'ERR_NO_DEVICE', /GPU-none/);
  machine.write('nvml.power_limit = !3');
  await refused(power.plan({ gpu: GPU, powerLimitW: 400 }), 'ERR_UNAVAILABLE', /NVML code 3/);
  assert.deepEqual(machine.mutations(), []);
});

test('no right: the plan works, and apply says what is missing before the first change', {
  skip: NEEDS_FAKE.skip ?? whyNotNobody(),
}, () => {
  using machine = new SimulatedPower();
  for (const path of [machine.folder, machine.root]) chmodSync(path, 0o777);
  for (const path of [machine.state, machine.script]) chmodSync(path, 0o666);
  const child = fileURLToPath(new URL('../../children/power-unprivileged.js', import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, [child], {
    encoding: 'utf8',
    uid: 65534,
    gid: 65534,
    env: { ...process.env, WARPGAUGE_FAKE_LOG: join(machine.folder, 'nobody.log') },
  });
  assert.equal(stderr, '');
  const said = JSON.parse(stdout) as { refusal: { code: string } };
  assert.equal(said.refusal.code, 'ERR_PERMISSION');
  assert.deepEqual(
    { ...said, refusal: null },
    { steps: 1, refusal: null, code: 'ERR_PERMISSION', capability: 'CAP_SYS_ADMIN' },
  );
  const log = readFileSync(join(machine.folder, 'nobody.log'), 'utf8');
  assert.match(log, /nvmlDeviceGetPowerManagementLimit/);
  assert.doesNotMatch(log, /nvmlDevice(Set|Reset)/);
});

test('a driver that takes its time does not block the event loop', NEEDS_FAKE, async () => {
  using _machine = new SimulatedPower('latency_us.nvmlDeviceSetPowerManagementLimit = 300000');
  const plan = await power.plan({ powerLimitW: 400 });
  let worst = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    worst = Math.max(worst, performance.now() - last);
    last = performance.now();
  }, 5);
  const change = await plan.apply(quick);
  clearInterval(timer);
  // Far below the time of the driver; how far is the machine's business.
  assert.ok(worst < 250, `${worst} ms`);
  await change.undo();
});
