import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDriver, checkFeature, checkLibrary, checkPerfEvents } from '#lib/host/doctor-checks';
import { type LibraryReport, libraryNames, readDriver } from '#lib/host/drivers';
import type { PerfEventReport } from '#lib/host/perf-events';
import { SERVER, tree } from './tree.js';

const NO_DRIVER = { present: false, via: null, version: null, reason: 'no driver' } as const;
const DRIVER = { present: true, via: 'kernel module', version: '535.1', reason: null } as const;

const event = (
  name: string,
  scope: PerfEventReport['scope'],
  reason: string | null = null,
): PerfEventReport => ({ name, scope, reason });

test('page faults: user only, refused by the level, refused in a container, not there', () => {
  const line = (scope: PerfEventReport['scope'], reason: string | null, paranoid: number | null) =>
    checkPerfEvents([event('page-faults', scope, reason)], paranoid)[0];
  assert.equal(line('user+kernel', null, 2)?.level, 'OK');
  const user = line('user', 'EACCES', 2);
  assert.equal(user?.level, 'WARN');
  assert.match(user?.value ?? '', /^user only: EACCES/);
  assert.equal(user?.fix, 'sudo sysctl kernel.perf_event_paranoid=1');
  const refused = line(null, 'EACCES', 4);
  assert.equal(refused?.level, 'NO');
  assert.equal(refused?.fix, 'sudo sysctl kernel.perf_event_paranoid=1');
  const container = line(null, 'EPERM', 1);
  assert.equal(container?.level, 'NO');
  assert.match(container?.fix ?? '', /CAP_PERFMON/);
  assert.equal(line(null, 'ENOSYS', null)?.fix, null);
});

test('TLB misses that the CPU does not count are named with the errno', () => {
  const [line] = checkPerfEvents([event('dTLB-load-misses', null, 'ENOENT')], 1);
  assert.equal(line?.level, 'NO');
  assert.match(line?.value ?? '', /^ENOENT/);
  assert.match(line?.effect ?? '', /page walks/);
});

test('the other events share one line', () => {
  const lines = checkPerfEvents(
    [event('task-clock', 'user'), event('cycles', null, 'ENOENT'), event('page-faults', 'user')],
    2,
  );
  assert.deepEqual(
    lines.map((line) => [line.check, line.level]),
    [
      ['page-faults', 'WARN'],
      ['other events', 'WARN'],
    ],
  );
  assert.equal(lines[1]?.value, 'work: task-clock; fail: cycles (ENOENT)');
  assert.deepEqual(checkPerfEvents([], 2), []);
});

test('a feature: works, does not, was not tried', () => {
  const check = (works: boolean | null, reason: string | null) =>
    checkFeature('x', { works, reason }, 'effect', 'fix', 'WARN');
  assert.equal(check(true, null).level, 'OK');
  assert.deepEqual(check(false, 'ENOSYS'), {
    check: 'x',
    level: 'WARN',
    value: 'ENOSYS',
    effect: 'effect',
    fix: 'fix',
  });
  assert.equal(check(null, 'not tried').value, 'not tried');
});

test('a library: fits the kernel module, does not fit, has no driver, is not there', () => {
  const found: LibraryReport = {
    library: 'cuda',
    found: true,
    path: '/usr/lib/libcuda.so.535.1',
    version: '535.1',
    override: null,
    reason: null,
  };
  assert.equal(checkLibrary(found, DRIVER, []).level, 'OK');
  const other = checkLibrary({ ...found, version: '535.2' }, DRIVER, []);
  assert.equal(other.level, 'WARN');
  assert.match(other.effect ?? '', /mismatch/);
  const cupti = checkLibrary({ ...found, library: 'cupti', version: '2025.3.0' }, DRIVER, []);
  assert.equal(cupti.level, 'OK');
  const gpu = ['0000:41:00.0'];
  const idle = checkLibrary(found, NO_DRIVER, gpu);
  assert.equal(idle.level, 'WARN');
  assert.equal(idle.fix, 'sudo modprobe nvidia');
  assert.equal(checkLibrary({ ...found, override: '/x' }, NO_DRIVER, []).level, 'OK');
  const gone = 'cannot open shared object file: No such file or directory';
  const missing: LibraryReport = {
    ...found,
    found: false,
    reason: `libcuda.so.1: ${gone}; libcuda.so: ${gone}`,
  };
  assert.equal(checkLibrary(missing, DRIVER, []).value, 'not found: libcuda.so.1, libcuda.so');
  assert.match(checkLibrary(missing, NO_DRIVER, gpu).fix ?? '', /libcuda1/);
  assert.equal(checkLibrary(missing, NO_DRIVER, []).fix, null);
  const broken = { ...missing, reason: 'libcuda.so.1: file too short' };
  assert.equal(checkLibrary(broken, DRIVER, []).value, 'not found: libcuda.so.1: file too short');
});

test('a driver without devices is a container that was not given any', () => {
  assert.equal(checkDriver(DRIVER, [], ['nvidia0', 'nvidiactl']).level, 'OK');
  assert.match(checkDriver(DRIVER, [], []).fix ?? '', /--gpus all/);
  assert.equal(checkDriver(NO_DRIVER, [], []).fix, null);
});

test('an override names the one library that is looked for', (t) => {
  const before = process.env['WARPGAUGE_CUDA'];
  t.after(() => {
    if (before === undefined) delete process.env['WARPGAUGE_CUDA'];
    else process.env['WARPGAUGE_CUDA'] = before;
  });
  process.env['WARPGAUGE_CUDA'] = '/tests/libcuda.so.1';
  assert.deepEqual(libraryNames('cuda'), ['/tests/libcuda.so.1']);
});

test('a loaded kernel module is a driver, with its version', (t) => {
  const loaded = tree(t, { ...SERVER, '/sys/module/nvidia/version': '580.95.05\n' });
  assert.equal(readDriver(loaded).version, '580.95.05');
  assert.match(readDriver(tree(t, SERVER)).reason ?? '', /no NVIDIA kernel driver/);
});

test('CUPTI is looked for by the newest name first', () => {
  assert.deepEqual(libraryNames('cupti').slice(0, 3), [
    'libcupti.so.13',
    'libcupti.so.12',
    'libcupti.so.11.8',
  ]);
});
