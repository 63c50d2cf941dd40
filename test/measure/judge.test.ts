import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativePageProof, NativeSample } from '#lib/addon';
import { type SampleContext, toSample } from '#lib/measure/memcpy/judge';
import { MiB } from '#lib/units';

const BYTES = 8 * MiB;
const PROOF: NativePageProof = {
  bytes4k: 0,
  bytesThp: BYTES,
  bytes2m: 0,
  bytes1g: 0,
  bytesOther: 0,
  bytesZero: 0,
  bytesAbsent: 0,
  method: 'PAGEMAP_SCAN+smaps',
};
const RAW: NativeSample = {
  timeNs: 1e9,
  hostNs: 1e6,
  eventNs: null,
  userNs: 4e6,
  sysNs: 4e6,
  faultsPerf: 4,
  faultsPerfScope: 'user+kernel',
  faultsPerfWhy: null,
  minfltThread: 4,
  majfltThread: 0,
  minfltProc: 4,
  pinsApprox: 0,
  dtlbMiss: null,
  dtlbWhy: 'ENOENT',
  stealNs: 0,
  vcsw: 0,
  ivcsw: 0,
  compactStall: 0,
  allocstall: 0,
  thpFaultAlloc: 4,
  thpFaultFallback: 0,
  gpuBefore: null,
  gpuAfter: null,
  phases: { copy: 1e6 },
  pageBefore: null,
  pageAfter: PROOF,
  numaNodes: [0],
  verified: true,
  verifiedBy: 'compare',
  firstBadOffset: -1,
  cupti: null,
  cuptiWhy: null,
};
const CONTEXT: SampleContext = {
  op: 'DtoH',
  kind: 'thp',
  bytes: BYTES,
  cold: true,
  registers: false,
  faultedByPinning: false,
  backend: 'host',
  block: 0,
  seq: 0,
  run: 0,
};
const judge = (raw: Partial<NativeSample>, context: Partial<SampleContext> = {}) =>
  toSample({ ...RAW, ...raw }, { ...CONTEXT, ...context });

test('a sample with nothing wrong is valid', () => {
  const sample = judge({});
  assert.equal(sample.valid, true);
  assert.equal(sample.why_invalid, null);
  assert.deepEqual(sample.page_after?.verified_bytes_by_kb, { '2048': BYTES });
});

test('what disturbs a sample makes it invalid, with the reason (R7)', () => {
  const gpu = { smMhz: 1980, memoryMhz: 3201, pcieGen: 5, pcieWidth: 16, replays: 0, throttle: 0 };
  const cases: readonly [Partial<NativeSample>, RegExp][] = [
    [{ compactStall: 1 }, /compacted memory.*\+1/],
    [{ allocstall: 2 }, /reclaimed memory.*\+2/],
    [{ thpFaultFallback: 1 }, /huge page was refused/],
    [{ minfltThread: 2048 }, /2048 page faults where 4 were expected/],
    [{ verified: false, firstBadOffset: 4096 * 3 + 7 }, /offset 12295 \(4 KB page 3 of 8 MiB\)/],
    [{ pageAfter: null }, /page size not proven/],
    [{ pageAfter: { ...PROOF, bytesThp: BYTES - 2 * MiB, bytes4k: 2 * MiB } }, /on thp pages/],
    [{ pageAfter: { ...PROOF, bytesThp: 0, bytes2m: BYTES } }, /on thp pages/],
    [{ pageAfter: { ...PROOF, bytesZero: 4096 } }, /shared zero page/],
    [
      { gpuBefore: gpu, gpuAfter: { ...gpu, throttle: 0x40 } },
      /GPU was throttled \(reasons 0x40\)/,
    ],
  ];
  for (const [raw, reason] of cases) {
    const sample = judge(raw);
    assert.equal(sample.valid, false, JSON.stringify(raw));
    assert.match(sample.why_invalid ?? '', reason);
  }
});

test('GPU idle is no throttling, and replays are those of the sample', () => {
  const gpu = { smMhz: 345, memoryMhz: 3201, pcieGen: 5, pcieWidth: 16, replays: 7, throttle: 1 };
  const sample = judge({ gpuBefore: gpu, gpuAfter: { ...gpu, replays: 9 } });
  assert.equal(sample.valid, true);
  assert.equal(sample.gpu?.throttle, 0);
  assert.equal(sample.gpu?.replays, 2);
});

test('a refused huge page is no matter for 4 KB pages, and counts are exact on the host proxy only', () => {
  const on4k = { ...PROOF, bytesThp: 0, bytes4k: BYTES };
  assert.equal(
    judge({ thpFaultFallback: 1, pageAfter: on4k, minfltThread: 2048 }, { kind: '4k' }).valid,
    true,
  );
  assert.equal(judge({ minfltThread: 40 }, { backend: 'cuda' }).valid, true);
});

test('warm samples may show two faults, not three; after pinning a cold buffer is warm', () => {
  assert.equal(judge({ minfltThread: 2 }, { cold: false }).valid, true);
  assert.equal(judge({ minfltThread: 3 }, { cold: false }).valid, false);
  assert.equal(judge({ minfltThread: 0 }, { faultedByPinning: true }).valid, true);
});

test('CPU time below 20 ms is null: the kernel samples it by its tick', () => {
  assert.equal(judge({}).user_ns, null);
  assert.equal(judge({ hostNs: 30e6 }).sys_ns, 4e6);
});

test('what could not be read stays null', () => {
  const sample = judge({
    faultsPerf: null,
    faultsPerfWhy: 'EACCES',
    pinsApprox: null,
    stealNs: null,
  });
  assert.equal(sample.faults_perf, null);
  assert.equal(sample.faults_perf_why, 'EACCES');
  assert.equal(sample.pins_approx, null);
  assert.equal(sample.steal_ns, null);
  assert.equal(sample.dtlb_miss, null);
});
