import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DoctorReport } from 'warpgauge';
import { SERVER, tree } from '../host/tree.js';
import { whyNotNobody } from '../nobody.js';
import { MAIN, warpgauge } from './run.js';

const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups'];

test('text: groups, levels, effect and fix of every gap; no colour into a pipe', (t) => {
  const root = tree(t, { ...SERVER, '/proc/sys/kernel/numa_balancing': '1\n' });
  const { code, stdout, stderr } = warpgauge(['doctor'], { WARPGAUGE_ROOT: root });
  assert.equal(code, 0);
  assert.equal(stderr, '');
  for (const title of ['Pages', 'Memory and limits', 'Counters', 'GPU libraries', 'Machine']) {
    assert.match(stdout, new RegExp(`^${title}`, 'm'));
  }
  assert.match(stdout, /^ {2}OK {4}4k +base page 4 KiB$/m);
  assert.match(stdout, /^ {2}WARN {2}numa +2 nodes, balancing=1\n +effect: /m);
  assert.match(stdout, /^ +fix: sudo sysctl kernel\.numa_balancing=0$/m);
  assert.match(stdout, /^WARPGAUGE_ROOT=/m);
  assert.match(stdout, /^\d+ OK, \d+ WARN, \d+ NO$/m);
  assert.equal(stdout.includes('\u001b'), false);
});

test('colour on a terminal, unless NO_COLOR is set', (t) => {
  const onTerminal = (env: Record<string, string>) =>
    spawnSync('script', ['-qec', `${process.execPath} ${MAIN} doctor`, '/dev/null'], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', ...env },
      timeout: 60_000,
    });
  const coloured = onTerminal({});
  if (coloured.error !== undefined) {
    t.skip('needs script (Debian: apt-get install bsdutils)');
    return;
  }
  assert.equal(coloured.status, 0);
  assert.ok(coloured.stdout.includes('\u001b[32mOK'));
  assert.equal(onTerminal({ NO_COLOR: '1' }).stdout.includes('\u001b['), false);
});

test('--json: one document on standard output, overrides shown', () => {
  const { code, stdout, stderr } = warpgauge(['doctor', '--json'], {
    WARPGAUGE_NVML: '/nonexistent/libnvidia-ml.so.1',
  });
  assert.equal(code, 0);
  assert.equal(stderr, '');
  const report = JSON.parse(stdout) as DoctorReport;
  assert.equal(report.schema, 'warpgauge/doctor/1');
  assert.deepEqual(report.overrides, { WARPGAUGE_NVML: '/nonexistent/libnvidia-ml.so.1' });
});

test('an ordinary user gets the same report with fewer rights', { skip: whyNotNobody() }, () => {
  const run = spawnSync('setpriv', [...NOBODY, process.execPath, MAIN, 'doctor', '--json'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(run.status, 0, run.stderr);
  const report = JSON.parse(run.stdout) as DoctorReport;
  assert.deepEqual(report.capabilities, {
    CAP_IPC_LOCK: false,
    CAP_SYS_ADMIN: false,
    CAP_SYS_NICE: false,
    CAP_PERFMON: false,
  });
  const faults = report.perf.events.find((event) => event.name === 'page-faults');
  const expected =
    report.perf.paranoid === null || report.perf.paranoid > 2
      ? null
      : report.perf.paranoid === 2
        ? 'user'
        : 'user+kernel';
  assert.equal(faults?.scope, expected);
  if (expected !== 'user+kernel') assert.equal(faults?.reason, 'EACCES');
});

test('doctor changes nothing: the tree it read is as before, and /dev too', (t) => {
  const root = tree(t, SERVER);
  const snapshot = () =>
    [
      ...readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => {
        const path = join(root, name);
        const { mtimeNs, mode, size } = statSync(path, { bigint: true });
        return `${name} ${mode} ${size} ${mtimeNs}`;
      }),
      ...readdirSync('/dev').filter((name) => name.startsWith('nvidia')),
    ].sort();
  const before = snapshot();
  assert.equal(warpgauge(['doctor'], { WARPGAUGE_ROOT: root }).code, 0);
  assert.deepEqual(snapshot(), before);
});

test('without the native addon doctor still reports, and says how to build it', () => {
  const { code, stdout } = warpgauge(['doctor', '--json'], {
    WARPGAUGE_PREBUILD: '/nonexistent',
    NODE_OPTIONS: '--no-addons',
  });
  assert.equal(code, 0);
  const report = JSON.parse(stdout) as DoctorReport;
  assert.equal(report.addon_error?.code, 'ERR_ADDON_LOAD');
  const line = report.lines.find((each) => each.check === 'native addon');
  assert.equal(line?.level, 'NO');
  assert.ok(line?.fix);
  assert.equal(report.io_uring.works, null);
  assert.ok(report.io_uring.reason);
  assert.deepEqual(report.gpu.libraries, []);
  assert.equal(report.kernel, readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
});

test('a driver library is opened and none of its functions is called', (t) => {
  const fakes = fileURLToPath(new URL('../../../debug/fake', import.meta.url));
  const [cuda, nvml] = [join(fakes, 'libcuda.so.1'), join(fakes, 'libnvidia-ml.so.1')];
  if (!existsSync(cuda) || !existsSync(nvml)) {
    t.skip('the fake driver libraries are not built (node scripts/setup.mjs --tests)');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const log = join(folder, 'calls.log');
  const { stdout } = warpgauge(['doctor', '--json'], {
    WARPGAUGE_CUDA: cuda,
    WARPGAUGE_NVML: nvml,
    WARPGAUGE_FAKE_LOG: log,
  });
  const { libraries } = (JSON.parse(stdout) as DoctorReport).gpu;
  for (const [name, path] of [
    ['cuda', cuda],
    ['nvml', nvml],
  ]) {
    const library = libraries.find((each) => each.library === name);
    assert.equal(library?.found, true);
    assert.equal(library.path, path);
    assert.equal(library.override, path);
  }
  assert.equal(existsSync(log) ? readFileSync(log, 'utf8') : '', '');
});
