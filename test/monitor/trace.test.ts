// Commands on the simulated driver, traced through the library that ships: bytes and counts are exact.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { monitor } from 'warpgauge';
import { Int64, Utf8 } from 'warpgauge/arrow';
import type { OpenRecording } from '#lib/monitor/recording/open-recording';
import { OwnTable } from '#lib/monitor/recording/own-tables';
import { readProcesses, readStates } from '#lib/monitor/trace/processes';
import {
  COPIES,
  copiesOf,
  FAKE_ENV,
  NEEDS_FAKE,
  type Said,
  saidCopies,
  type Traced,
  trace,
} from './trace-fake.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-trace-test-'));
chmodSync(root, 0o755); // processes of other users look below it
after(() => rmSync(root, { recursive: true, force: true }));
const isRoot = process.getuid?.() === 0;

function assertComplete({ rows }: Traced, said: Said, pid = said.pid): void {
  const of = (table: string) => (rows[table] ?? []).filter((row) => row['pid'] === pid);
  assert.deepEqual(copiesOf(rows['cuda.memcpy'] ?? [], pid), saidCopies(said));
  assert.equal(of('cuda.memset').length, said.memsets.count);
  assert.equal(
    of('cuda.memset').reduce((sum, row) => sum + Number(row['bytes']), 0),
    said.memsets.bytes,
  );
  assert.equal(of('cuda.kernel').length, said.kernels);
}

const last = ({ rows }: Traced, pid: number) =>
  (rows['cuda.process'] ?? []).filter((row) => row['pid'] === pid).at(-1);

test(
  'every copy, memset and kernel with its bytes, and all of it marked as Simulated',
  NEEDS_FAKE,
  async () => {
    const traced = await trace(['--dtod', '3', '--dtoh-pageable', '2', '--code', '7']);
    const [said] = traced.said;
    assert.ok(said);
    assertComplete(traced, said);
    assert.deepEqual(traced.end, { code: 7, signal: null });
    assert.equal(traced.simulated, true);
    const process_ = last(traced, said.pid);
    assert.equal(process_?.['state'], 'ended');
    assert.equal(process_?.['simulated'], true);
    assert.equal(Number(process_?.['dropped']), 0);
    assert.deepEqual(
      traced.states.filter(({ state }) => state !== 'ok'),
      [],
    );
    // Each copy has the call that made it, in the same process.
    const calls = new Set((traced.rows['cuda.api'] ?? []).map((row) => row['correlation']));
    const copies = traced.rows['cuda.memcpy'] ?? [];
    assert.equal(new Set(copies.map((row) => row['correlation'])).size, copies.length);
    assert.ok(copies.length > 0 && copies.every((row) => calls.has(row['correlation'])));
    const names = new Map((traced.rows['cuda.name'] ?? []).map((row) => [row['id'], row['name']]));
    const kernel = traced.rows['cuda.kernel']?.[0];
    assert.equal(names.get(kernel?.['name']), 'warpgauge_vector_add');
    assert.match(
      String(names.get(traced.rows['cuda.api']?.[0]?.['name'])),
      /^cu.*Memcpy|^cuMemcpy/,
    );
    assert.match(String(copies[0]?.['gpu']), /^GPU-[0-9a-f]{8}-/);
  },
);

test('a program that executes itself anew, with the same command line, keeps the losses of each', async () => {
  const whole = (name: string) => ({ name, type: new Int64() });
  const table = new OwnTable('cuda.process', 'one row per process', [
    ...['pid', 'start_ticks', 'command', 'records', 'dropped', 'cpu_ns'].map(whole),
    { name: 'state', type: new Utf8() },
  ]);
  const row = (state: string, records: number, dropped: number, cpuNs: number, command = 1) => ({
    pid: 7n,
    start_ticks: 100n,
    command: BigInt(command),
    records: BigInt(records),
    dropped: BigInt(dropped),
    cpu_ns: BigInt(cpuNs),
    state,
  });
  const batch = table.batch([
    row('attached', 0, 0, 0),
    row('tracing', 10, 2, 50),
    row('gone', 20, 5, 90),
    row('gone', 24, 5, 90), // what the first had written is still being read
    row('tracing', 5, 1, 40),
    row('gone', 24, 5, 90),
    row('gone', 9, 3, 70),
    row('gone', 9, 3, 75), // no second passed between these two
    row('ended', 30, 0, 60, 2),
    row('tracing', 1, 0, 10),
  ]);
  const recording = {
    async *batches() {
      yield batch;
    },
  } as unknown as OpenRecording;
  const programs = await readProcesses(
    recording,
    new Map([
      [1, './train'],
      [2, './other'],
    ]),
  );
  assert.deepEqual(
    programs.map(({ command, state, records, lost }) => [command, state, records, lost.dropped]),
    [
      ['./train', 'gone', 24, 5],
      ['./train', 'gone', 9, 3],
      ['./train', 'gone', 9, 3],
      ['./other', 'ended', 30, 0],
      ['./train', 'tracing', 1, 0],
    ],
  );
});

test('a process that had to wait and was read later is not listed as not traced; the last number counts', async () => {
  const text = (name: string) => ({ name, type: new Utf8() });
  const table = new OwnTable('state', 'one row per change', [
    ...['table', 'key', 'state', 'reason'].map(text),
    { name: 'code', type: new Int64() },
  ]);
  const row = (key: string, state: string, code = 0, of = 'cuda.process') => ({
    table: of,
    key,
    state,
    reason: state === 'ok' ? '' : 'no_free_lane',
    code: BigInt(code),
  });
  const batch = table.batch([
    row('7 ./waits', 'unavailable'),
    row('8 ./never', 'unavailable'),
    row('', 'unavailable', 3),
    row('7 ./waits', 'unavailable', 0, 'gpu'),
    row('7 ./waits', 'ok'),
    row('', 'unavailable', 5),
  ]);
  const recording = {
    tables: [table.info],
    async *batches() {
      yield batch;
    },
  } as unknown as OpenRecording;
  assert.deepEqual(await readStates(recording), [
    { process: '8 ./never', reason: 'no_free_lane', code: 0 },
    { process: null, reason: 'no_free_lane', code: 5 },
  ]);
});

test('children, forks and programs that exec: a lane each', NEEDS_FAKE, async () => {
  const [children, forks, exec] = await Promise.all([
    trace(['--children', '2']),
    trace(['--fork']),
    trace(['--exec']),
  ]);
  assert.equal(children.said.length, 3);
  for (const said of children.said) assertComplete(children, said);
  assert.equal(forks.said.length, 2);
  for (const said of forks.said) assertComplete(forks, said);
  // The same pid twice: what both programs did is in its rows, but for what was not flushed before the exec.
  const [before, again] = exec.said;
  assert.ok(before && again);
  assert.equal(before.pid, again.pid);
  const copies = copiesOf(exec.rows['cuda.memcpy'] ?? [], before.pid);
  const total = (list: Said['copies']) => list.reduce((sum, { count }) => sum + count, 0);
  assert.ok(total(copies) >= total(again.copies) && total(copies) <= 2 * total(again.copies));
});

test(
  'an end without exit() loses what was not flushed, and says so; the exit code is that of a shell',
  NEEDS_FAKE,
  async () => {
    const slow = ['--rounds', '3', '--sleep', '150'];
    const [early, killed] = await Promise.all([
      trace([...slow, '--early-exit']),
      trace([...slow, '--kill', '9']),
    ]);
    for (const traced of [early, killed]) {
      const [said] = traced.said;
      assert.ok(said);
      // All was flushed long before the end.
      assertComplete(traced, said);
      assert.equal(last(traced, said.pid)?.['state'], 'gone');
      assert.equal(traced.states.filter(({ reason }) => reason === 'not_flushed').length, 1);
    }
    assert.equal(early.end.code, 0);
    assert.deepEqual(killed.end, { code: 137, signal: 'SIGKILL' });
  },
);

test(
  'a command without CUDA, one that does not exist, one that is ended by a signal',
  NEEDS_FAKE,
  async () => {
    const none = await trace(['--no-cuda']);
    assert.equal(none.end.code, 0);
    assert.equal(none.rows['cuda.process'], undefined);
    const missing = await trace([], { command: ['/there/is/none'] });
    assert.equal(missing.end.code, 127);
    const stopped = await trace(['--loop', '30000'], {}, async (traced) => {
      await sleep(300);
      traced.kill('SIGKILL');
    });
    assert.deepEqual(stopped.end, { code: 137, signal: 'SIGKILL' });
  },
);

test('delay, duration and setTracing: only what lies between is recorded', NEEDS_FAKE, async () => {
  const loop = ['--loop', '900'];
  const seconds = (traced: Traced) => {
    const times = (traced.rows['cuda.memcpy'] ?? []).map((row) => Number(row['time']));
    return (Math.max(...times) - Math.min(...times)) / 1e3;
  };
  const [window, byHand] = await Promise.all([
    trace(loop, { delayMs: 300, durationMs: 200 }),
    trace(loop, { startMark: 'go', stopMark: 'stop' }, async (traced) => {
      assert.equal(traced.tracing, false);
      await sleep(350);
      traced.mark('go');
      assert.equal(traced.tracing, true);
      await sleep(150);
      traced.mark('stop');
      assert.equal(traced.tracing, false);
    }),
  ]);
  for (const traced of [window, byHand]) {
    const [said] = traced.said;
    const recorded = traced.rows['cuda.memcpy']?.length ?? 0;
    const done = said?.copies.reduce((sum, { count }) => sum + count, 0) ?? 0;
    assert.ok(recorded > 0 && recorded < done, `${recorded} of ${done}`);
    assert.ok(seconds(traced) < 600, String(seconds(traced)));
  }
});

test('kinds and api choose the tables and the rows', NEEDS_FAKE, async () => {
  const [few, all] = await Promise.all([
    trace([], { kinds: ['memcpy'] }),
    trace(['--markers', '3'], { kinds: ['kernel', 'api', 'marker'], api: 'all' }),
  ]);
  const tables = (traced: Traced) =>
    Object.keys(traced.rows).filter((name) => name.startsWith('cuda.'));
  assert.deepEqual(tables(few).sort(), ['cuda.memcpy', 'cuda.name', 'cuda.process']);
  assert.deepEqual(tables(all).sort(), [
    'cuda.api',
    'cuda.kernel',
    'cuda.marker',
    'cuda.name',
    'cuda.process',
  ]);
  assert.equal(all.rows['cuda.marker']?.length, 3);
  assert.ok((all.rows['cuda.api']?.length ?? 0) > 30);
  await assert.rejects(
    monitor.traceCommand({ command: ['true'], env: FAKE_ENV, kinds: ['memcopy' as 'memcpy'] }),
    {
      code: 'ERR_INVALID_ARGUMENT',
    },
  );
});

test(
  'another subscriber of CUPTI, and a libcupti that is not there: the reasons',
  NEEDS_FAKE,
  async () => {
    const [busy, none] = await Promise.all([
      trace(['--foreign-subscriber']),
      trace([], { env: { ...FAKE_ENV, WARPGAUGE_CUPTI: '/there/is/no/libcupti.so' } }),
    ]);
    for (const [traced, reason] of [
      [busy, 'busy'],
      [none, 'no_cupti'],
    ] as const) {
      const [said] = traced.said;
      assert.ok(said);
      const row = last(traced, said.pid);
      assert.equal(row?.['state'], 'refused');
      assert.equal(row?.['reason'], reason);
      assert.equal(traced.states.filter((state) => state.reason === reason).length, 1);
      assert.equal(traced.rows['cuda.memcpy'], undefined);
      assert.equal(traced.end.code, 0);
    }
  },
);

test('a full ring and a script that does not listen: nothing is lost', NEEDS_FAKE, async () => {
  const traced = await trace(
    ['--generate', '50000', '--rate', '400000'],
    { bufferBytes: 2 ** 20, maxUndeliveredBytes: 2 ** 28 },
    async () => {
      await sleep(150);
      const until = performance.now() + 300;
      while (performance.now() < until);
    },
  );
  const [said] = traced.said as unknown as [{ pid: number; generated: number }];
  const row = last(traced, said.pid);
  assert.ok(said.generated >= 50000);
  assert.ok(Number(row?.['records']) >= said.generated, `${row?.['records']} of ${said.generated}`);
  assert.equal(Number(row?.['dropped']) + Number(row?.['dropped_cupti']), 0);
});

/** What a process of another user needs: the programs where it can read them. */
function openCopy(): string {
  const dir = mkdtempSync(join(tmpdir(), 'warpgauge-open-'));
  chmodSync(dir, 0o755);
  cpSync(COPIES, join(dir, 'cuda_copies'));
  for (const [name, path] of [
    ['libcuda.so.1', FAKE_ENV['WARPGAUGE_CUDA']],
    ['libcupti.so', FAKE_ENV['WARPGAUGE_CUPTI']],
  ] as const) {
    cpSync(path as string, join(dir, name));
  }
  return dir;
}

test('a process of another user leaves its records in a file of the folder', {
  ...(isRoot ? NEEDS_FAKE : { skip: 'only root can become another user' }),
}, async (t) => {
  const dir = openCopy();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  if (spawnSync('setpriv', ['--version']).status !== 0) return t.skip('setpriv is not installed');
  const parent = mkdtempSync(join(tmpdir(), 'warpgauge-parent-'));
  chmodSync(parent, 0o755);
  t.after(() => rmSync(parent, { recursive: true, force: true }));
  const traced = await trace([], {
    command: [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      join(dir, 'cuda_copies'),
    ],
    env: {
      ...FAKE_ENV,
      WARPGAUGE_CUDA: join(dir, 'libcuda.so.1'),
      WARPGAUGE_CUPTI: join(dir, 'libcupti.so'),
    },
    traceDir: parent,
  });
  const [said] = traced.said;
  assert.ok(said, JSON.stringify(traced.states));
  assertComplete(traced, said);
  assert.deepEqual(readdirSync(parent), []);
});

test('a process in a pid namespace of its own is traced, under its pid here', {
  ...(isRoot ? NEEDS_FAKE : { skip: 'only root can make a pid namespace' }),
}, async (t) => {
  const probe = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']);
  if (probe.status !== 0) return t.skip('no pid namespace can be made here');
  const traced = await trace(['--sleep', '150'], {
    command: ['unshare', '--pid', '--fork', '--mount-proc', COPIES, '--sleep', '150'],
  });
  const [said] = traced.said;
  assert.ok(said);
  const pids = new Set((traced.rows['cuda.memcpy'] ?? []).map((row) => row['pid'] as number));
  assert.equal(pids.size, 1);
  const [pid] = pids;
  assert.ok(pid !== undefined && pid > 1);
  assertComplete(traced, said, pid);
});

test('a folder without room: told once, by name, and the program goes on', {
  ...(isRoot ? NEEDS_FAKE : { skip: 'only root can mount' }),
}, async (t) => {
  const small = join(root, 'small');
  const mounted = spawnSync('sh', [
    '-c',
    `mkdir -p ${small} && mount -t tmpfs -o size=64k,mode=755 tmpfs ${small}`,
  ]);
  if (mounted.status !== 0) return t.skip('no tmpfs can be mounted here');
  t.after(() => spawnSync('umount', [small]));
  const dir = openCopy();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const traced = await trace([], {
    command: [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      join(dir, 'cuda_copies'),
    ],
    env: {
      ...FAKE_ENV,
      WARPGAUGE_CUDA: join(dir, 'libcuda.so.1'),
      WARPGAUGE_CUPTI: join(dir, 'libcupti.so'),
    },
    traceDir: small,
  });
  assert.equal(traced.said.length, 1);
  assert.equal(traced.end.code, 0);
  const told = traced.states.filter(({ reason }) => reason === 'untraceable_ENOSPC');
  assert.equal(told.length, 1, JSON.stringify(traced.states));
  assert.ok(told[0]?.key.startsWith(String(traced.said[0]?.pid)));
  assert.deepEqual(readdirSync(small), []);
});

test('what cannot be traced is refused before anything is made', NEEDS_FAKE, async () => {
  const dir = mkdtempSync(join(root, 'dir-'));
  const none = { PATH: process.env['PATH'], WARPGAUGE_CUDA: '', WARPGAUGE_CUPTI: '' };
  const command = ['true'];
  if (!existsSync('/proc/driver/nvidia/version') && !existsSync('/sys/module/nvidia')) {
    await assert.rejects(monitor.traceCommand({ command, env: none, traceDir: dir }), {
      code: 'ERR_NO_DRIVER',
    });
  }
  const env = { ...FAKE_ENV, CUDA_INJECTION64_PATH: '/opt/nsys/libToolsInjection64.so' };
  await assert.rejects(monitor.traceCommand({ command, env, traceDir: dir }), { code: 'ERR_BUSY' });
  for (const wrong of [
    { command: [] },
    { command, delayMs: -1 },
    { command, bufferBytes: 5 },
    { command, startMark: 'a', stopMark: 'a' },
  ]) {
    await assert.rejects(monitor.traceCommand({ env: FAKE_ENV, traceDir: dir, ...wrong }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
  }
  await assert.rejects(
    monitor.traceCommand({ command, env: FAKE_ENV, traceDir: join(dir, 'missing') }),
    { code: 'ERR_OUTPUT' },
  );
  assert.deepEqual(readdirSync(dir), []);
});
