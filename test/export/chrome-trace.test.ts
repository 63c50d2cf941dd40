import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WarpgaugeError } from 'warpgauge';
import { type ExportOptions, exportRecording } from 'warpgauge/export';
import { copyAt, GPU, PCIE_PER_REQUEST, PID, Plan, recordCuda } from '../view/cuda-recording.js';
import { madeBatches, madeTable, START } from '../view/made-tables.js';
import { recordTables } from './recordings.js';
import { readTrace } from './trace-rules.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-trace-'));
const dir = join(root, 'run');
/** A second of 50 requests. */
const plan = new Plan(1, 200);
before(() => recordCuda(dir, { seconds: 1 }));
after(() => rm(root, { recursive: true, force: true }));

const exported = (out: string, options: Partial<ExportOptions> = {}) =>
  exportRecording(dir, { format: 'chrome-trace', out: join(root, out), ...options });

const code = (wanted: string, pattern: RegExp) => (error: unknown) =>
  error instanceof WarpgaugeError && error.code === wanted && pattern.test(error.message);

test('copies, kernels, calls, counters and marks are where and when they were', async () => {
  const { trace, tables } = await exported('all.json');
  const { traceEvents, otherData } = readTrace(trace?.path ?? '');
  const base = BigInt(String(otherData['base_unix_ns']));
  const slices = traceEvents.filter(({ ph }) => ph === 'X');
  const threads = new Map(
    traceEvents
      .filter(({ name }) => name === 'thread_name')
      .map(({ pid, tid, args }) => [`${pid}/${tid}`, String(args?.['name'])]),
  );
  const processes = new Map(
    traceEvents
      .filter(({ name }) => name === 'process_name')
      .map(({ pid, args }) => [pid, String(args?.['name'])]),
  );
  const of = (track: RegExp) =>
    slices.filter(({ pid, tid }) => track.test(threads.get(`${pid}/${tid}`) ?? ''));
  const copies = of(/copies$/);
  assert.deepEqual([copies.length, of(/kernels$/).length, of(/^thread/).length], [200, 150, 200]);
  for (const n of [0, 6, 17, 199]) {
    const want = copyAt(n, plan);
    const ts = Number(START + BigInt(want.begin) - base) / 1000;
    const found = copies.find(({ args }) => args?.['correlation'] === want.correlation);
    assert.ok(
      found !== undefined && Math.abs(found.ts - ts) < 1e-6,
      `${n}: ${JSON.stringify(found)}`,
    );
    assert.equal(found.dur, want.length / 1000);
    assert.equal(found.args?.['bytes'], want.bytes);
    assert.equal(
      found.name,
      want.out ? 'DtoH pinned' : want.pageable ? 'HtoD pageable' : 'HtoD pinned',
    );
    assert.equal(processes.get(found.pid), `Simulated: GPU 0 ${GPU}`);
  }
  assert.match(of(/kernels$/)[0]?.name ?? '', /^simulated_/);
  const call = of(/^thread/)[0];
  assert.deepEqual([call?.pid, call?.tid, call?.name], [PID, PID + 1, 'cuMemcpyHtoDAsync_v2']);
  // Each copy has a call, and each call a copy: an arrow each.
  assert.equal(traceEvents.filter(({ ph }) => ph === 's').length, 200);
  assert.deepEqual(
    traceEvents.filter(({ s }) => s === 'g').map(({ name, args }) => [name, args?.['step']]),
    [
      ['warm', 0],
      ['load', 1],
    ],
  );
  const counters = traceEvents.filter(({ ph }) => ph === 'C');
  const names = [
    ...new Set(counters.map(({ name, args }) => `${name} ${Object.keys(args ?? {})}`)),
  ];
  assert.ok(names.includes('pm-sampling pcie_read_bytes bytes/s'), names.join());
  assert.ok(
    names.some((name) => /process minor_faults 1\/s$/.test(name)),
    names.join(),
  );
  assert.ok(!names.some((name) => name.includes('major_faults')), 'what never moved is no track');
  // What the rates add up to is what the counter gained.
  const read = counters.filter(({ name }) => name === 'pm-sampling pcie_read_bytes');
  const gained = read.reduce((sum, { ts, args }, at) => {
    const until = read[at + 1]?.ts ?? ts + 10_000;
    return sum + (Number(args?.['bytes/s']) * (until - ts)) / 1e6;
  }, 0);
  assert.ok(
    Math.abs(gained / (50 * PCIE_PER_REQUEST) - 1) < 0.01,
    String(gained / PCIE_PER_REQUEST),
  );
  assert.deepEqual(
    otherData['simulated'],
    tables.filter(({ simulated }) => simulated).map(({ name }) => name),
  );
});

test('a piece is cut by offset, time or mark, and every arrow in it has both ends', async () => {
  const times = { from: '0.1s', to: '300ms' };
  const { trace } = await exported('piece.json', times);
  const { traceEvents } = readTrace(trace?.path ?? '');
  const slices = traceEvents.filter(({ ph }) => ph === 'X');
  assert.ok(slices.length > 50 && slices.length < 150, String(slices.length));
  assert.ok(slices.every(({ ts, dur = 0 }) => ts + dur >= 100_000 && ts <= 300_000));
  const same = await exported('same.json', { from: '2026-09-21T14:13:20.2Z', to: 'load' });
  const mark = readTrace(same.trace?.path ?? '').traceEvents.filter(({ s }) => s === 'g');
  assert.deepEqual(
    mark.map(({ name }) => name),
    ['warm', 'load'],
  );
  await assert.rejects(
    exported('x.json', { from: 'lood' }),
    code('ERR_INVALID_ARGUMENT', /did you mean load\?/),
  );
  await assert.rejects(
    exported('x.json', { from: '2h' }),
    code('ERR_RECORDING', /Nothing lies between/),
  );
  await assert.rejects(
    exportRecording(dir, { format: 'csv', from: '1s' }),
    code('ERR_INVALID_ARGUMENT', /chrome-trace for from/),
  );
});

test('an existing file stays unless it is to be replaced, and an interrupted one is not left behind', async () => {
  const { trace } = await exported('twice.json');
  await assert.rejects(exported('twice.json'), code('ERR_OUTPUT', /exists already/));
  assert.equal((await exported('twice.json', { force: true })).trace?.bytes, trace?.bytes);
  await assert.rejects(
    exported('gone.json', { signal: AbortSignal.abort() }),
    code('ERR_INTERRUPTED', /interrupted/),
  );
  await assert.rejects(readFile(join(root, 'gone.json')));
  await assert.rejects(readFile(join(root, 'gone.json.part')));
});

test('slices that cross go on further tracks, whatever order they come in', async () => {
  const odd = join(root, 'odd');
  // Slices of 3 ms each ms, told backwards; every tenth without an end.
  const table = madeTable('span', 'span', 60, [
    { name: 'time', type: 'time', value: (n) => (60 - n) * 1e6 },
    { name: 'duration_ns', type: 'u64', value: (n) => (n % 10 === 9 ? null : 3e6) },
    { name: 'name', type: 'word', words: ['a "quoted"\nname', 'b'], value: (n) => n % 2 },
  ]);
  // Every other one is a page fault, which has no length.
  const unified = madeTable('cuda.unified_memory', 'span', 10, [
    { name: 'time', type: 'time', value: (n) => n * 1e6 },
    { name: 'duration_ns', type: 'u64', value: (n) => (n % 2 === 0 ? 5e5 : null) },
    { name: 'pid', type: 'u32', value: () => PID },
    { name: 'gpu', type: 'word', words: [GPU], value: () => 0 },
    {
      name: 'counter',
      type: 'word',
      words: ['bytes_htod', 'cpu_page_fault'],
      value: (n) => n % 2,
    },
    { name: 'value', type: 'u64', value: (n) => 65_536 * (1 - (n % 2)) },
    { name: 'address', type: 'u64', value: () => 2 ** 46 },
  ]);
  // 250,000 faults in 100 ms: counted by the millisecond.
  const faults = madeTable('page-faults', 'event', 250_000, [
    { name: 'time', type: 'time', value: (n) => n * 400 },
    {
      name: 'kind',
      type: 'word',
      words: ['minor', 'major'],
      value: (n) => (n % 100 === 0 ? 1 : 0),
    },
    { name: 'pid', type: 'u32', value: () => PID },
    { name: 'tid', type: 'u32', value: () => PID },
  ]);
  await recordTables(
    odd,
    [table.info, unified.info, faults.info],
    [...madeBatches([table], 20), ...madeBatches([unified, faults])],
  );
  const { trace } = await exportRecording(odd, {
    format: 'chrome-trace',
    out: join(root, 'odd.json'),
  });
  const { traceEvents } = readTrace(trace?.path ?? '');
  const moved = traceEvents.filter(({ name }) => name === 'bytes htod');
  assert.deepEqual(
    moved.map(({ ph, dur, args }) => [ph, dur, args?.['value'], args?.['address']]),
    Array.from({ length: 5 }, () => ['X', 500, 65_536, '0x400000000000']),
  );
  assert.equal(
    traceEvents.filter(({ ph, name }) => ph === 'i' && name === 'cpu page fault').length,
    5,
  );
  const slices = traceEvents.filter((event) => event.ph === 'X' && !moved.includes(event));
  assert.equal(slices.length, 54);
  assert.equal(new Set(slices.map(({ tid }) => tid)).size, 3, 'three at a time');
  const instants = traceEvents.filter(({ ph }) => ph === 'i');
  assert.equal(
    instants.filter(({ name }) => /quoted|b/.test(name) && !/fault/.test(name)).length,
    6,
  );
  const counts = instants.filter(({ name }) => /faults$/.test(name));
  assert.equal(counts.length, 200, 'two kinds in each of 100 ms');
  assert.equal(
    counts.reduce((sum, { args }) => sum + Number(args?.['count']), 0),
    250_000,
  );
});

test('what has nothing to draw is an error that says what to do', async () => {
  const still = join(root, 'still');
  const table = madeTable('vmstat', 'sample', 5, [
    { name: 'time', type: 'time', value: (n) => n * 1e9 },
    { name: 'pgfault', type: 'u64', kind: 'counter', value: () => 7 },
  ]);
  await recordTables(still, [table.info], madeBatches([table]));
  await assert.rejects(
    exportRecording(still, { format: 'chrome-trace' }),
    (error: WarpgaugeError) => /can be drawn/.test(error.message) && /--all/.test(error.fix ?? ''),
  );
  const empty = join(root, 'empty');
  await recordTables(empty, [table.info], []);
  await assert.rejects(
    exportRecording(empty, { format: 'chrome-trace' }),
    code('ERR_RECORDING', /Nothing was recorded/),
  );
});
