// A recording of a made-up program that serves requests on a made-up GPU: everything in it is Simulated. Each request takes
// 20 ms: inputs are copied to the GPU (pinned, every fifth from pageable memory), kernels run, results come back.
import { markRow, markTable } from '#lib/monitor/recording/own-tables';
import { recordTables } from '../export/recordings.js';
import { type MadeColumn, type MadeTable, madeBatches, madeTable, START } from './made-tables.js';

export const GPU = 'GPU-5111a7ed-0000-0000-0000-000000000001';
export const PID = 4242;
const MIB = 2 ** 20;
/** Copies of a request: three in, one out. */
const PER_REQUEST = 4;

export interface CudaRecordingOptions {
  readonly seconds: number;
  /** Copies over the whole time. Default: four each 20 ms. */
  readonly copies?: number;
  /** Rows a second of the tables of counters. Default 100. */
  readonly hertz?: number;
  /** Kernels of a request. Default 3. */
  readonly kernels?: number;
}

const time = (value: (n: number) => number): MadeColumn => ({
  name: 'time',
  type: 'time',
  kind: 'key',
  unit: 'ns',
  value,
});
const column = (
  name: string,
  type: MadeColumn['type'],
  value: MadeColumn['value'],
  more: Partial<MadeColumn> = {},
): MadeColumn => ({ name, type, value, ...more });
const gpu = (): MadeColumn => column('gpu', 'word', () => 0, { kind: 'key', words: [GPU] });

/** Where a copy stands, and what it moves. */
export function copyAt(n: number, requestNs: number) {
  const request = Math.floor(n / PER_REQUEST);
  const part = n % PER_REQUEST;
  const out = part === PER_REQUEST - 1;
  const pageable = !out && request % 5 === 4;
  // 1 unit is a hundredth of a request; the last third of a second is quiet.
  const unit = requestNs / 100;
  const bytes = out ? MIB : (part + 1) * 4 * MIB;
  const begin = request * requestNs + (out ? 80 : part * 12) * unit;
  const length = Math.round((out ? 4 : pageable ? 11 : (part + 1) * 3) * unit);
  return { begin: Math.round(begin), length, bytes, out, pageable, correlation: n + 1 };
}

function cudaTables(copies: number, kernels: number, requestNs: number): MadeTable[] {
  const copy = (n: number) => copyAt(n, requestNs);
  const requests = Math.ceil(copies / PER_REQUEST);
  const each = Math.max(kernels, 1);
  const kernelBegin = (n: number): number =>
    Math.round(
      Math.floor(n / each) * requestNs + (38 + ((n % each) * 40) / each) * (requestNs / 100),
    );
  const common = (correlation: (n: number) => number) => [
    column('pid', 'u32', () => PID),
    gpu(),
    column('device', 'u32', () => 0),
    column('context', 'u32', () => 1),
    column('correlation', 'u32', correlation),
  ];
  return [
    madeTable('cuda.memcpy', 'span', copies, [
      time((n) => copy(n).begin),
      column('duration_ns', 'u64', (n) => copy(n).length, { unit: 'ns' }),
      ...common((n) => copy(n).correlation),
      column('direction', 'word', (n) => (copy(n).out ? 1 : 0), { words: ['HtoD', 'DtoH'] }),
      column('bytes', 'u64', (n) => copy(n).bytes, { unit: 'bytes' }),
      column('source_memory', 'word', (n) => (copy(n).out ? 2 : copy(n).pageable ? 0 : 1), {
        words: ['pageable', 'pinned', 'device'],
      }),
      column('destination_memory', 'word', (n) => (copy(n).out ? 1 : 2), {
        words: ['pageable', 'pinned', 'device'],
      }),
      column('async', 'bool', (n) => (copy(n).pageable ? 0 : 1)),
      column('stream', 'u32', (n) => (copy(n).out ? 14 : 13)),
    ]),
    madeTable('cuda.kernel', 'span', requests * kernels, [
      time(kernelBegin),
      column('duration_ns', 'u64', () => Math.round((0.34 * requestNs) / each), { unit: 'ns' }),
      ...common((n) => 1_000_000_000 + n),
      column('name', 'u32', (n) => 1 + (n % 3)),
      column('stream', 'u32', () => 7),
      ...['grid_x', 'grid_y', 'grid_z'].map((name, at) =>
        column(name, 'u32', () => [264, 2, 1][at] ?? 1),
      ),
      ...['block_x', 'block_y', 'block_z'].map((name, at) =>
        column(name, 'u32', () => [128, 1, 1][at] ?? 1),
      ),
      column('registers_per_thread', 'u32', () => 168),
    ]),
    madeTable('cuda.api', 'span', copies, [
      time((n) => copy(n).begin - Math.round(requestNs / 400)),
      column('duration_ns', 'u64', (n) =>
        copy(n).pageable
          ? copy(n).length + Math.round(requestNs / 300)
          : Math.round(requestNs / 1000),
      ),
      column('pid', 'u32', () => PID),
      column('tid', 'u32', (n) => PID + (copy(n).out ? 2 : 1)),
      column('api', 'word', () => 0, { words: ['driver', 'runtime'] }),
      column('name', 'u32', (n) => (copy(n).pageable ? 4 : 5)),
      column('correlation', 'u32', (n) => copy(n).correlation),
      column('result', 'u32', () => 0),
    ]),
    madeTable('cuda.name', 'event', 5, [
      time(() => 0),
      column('id', 'u32', (n) => n + 1),
      column('name', 'word', (n) => n, {
        words: [
          'simulated_attention_forward<128, 64>(float const*, float*, int)',
          'simulated_gemm_bf16_256x128x64',
          'simulated_softmax',
          'cuMemcpyHtoD_v2',
          'cuMemcpyHtoDAsync_v2',
        ],
      }),
    ]),
    madeTable('cuda.process', 'sample', 1, [
      time(() => 0),
      column('pid', 'u32', () => PID, { kind: 'key' }),
      column('command', 'u32', () => 6),
    ]),
  ];
}

/** What a counter has reached after `ns`: it grows while a request copies, and not in between. */
function grown(ns: number, requestNs: number, perRequest: number): number {
  const whole = Math.floor(ns / requestNs);
  const part = Math.min(1, (ns - whole * requestNs) / (0.45 * requestNs));
  return Math.round((whole + part) * perRequest);
}

function counterTables(seconds: number, hertz: number, requestNs: number): MadeTable[] {
  const rows = Math.floor(seconds * hertz) + 1;
  const step = 1e9 / hertz;
  const at = (n: number): number => Math.round(n * step);
  const counter = (perRequest: number) => (n: number) => grown(at(n), requestNs, perRequest);
  const wave = (n: number, of: number): number =>
    0.5 + 0.5 * Math.sin((at(n) / (of * requestNs)) * 2 * Math.PI);
  const slow = Math.floor(seconds * Math.min(hertz, 10)) + 1;
  const slowAt = (n: number): number => Math.round(n * (1e9 / Math.min(hertz, 10)));
  return [
    madeTable(
      'pm-sampling',
      'sample',
      rows,
      [
        time(at),
        gpu(),
        column('pcie_read_bytes', 'u64', counter(24.4 * MIB), { kind: 'counter', unit: 'bytes' }),
        column('pcie_write_bytes', 'u64', counter(1.09 * MIB), { kind: 'counter', unit: 'bytes' }),
        column('sm_active_ratio', 'f64', (n) => 0.15 + 0.7 * wave(n, 40), {
          kind: 'gauge',
          unit: '1',
        }),
        column('dram_active_ratio', 'f64', (n) => 0.1 + 0.4 * wave(n, 27), {
          kind: 'gauge',
          unit: '1',
        }),
      ],
      1000 / hertz,
    ),
    madeTable(
      'process',
      'sample',
      rows,
      [
        time(at),
        column('pid', 'u32', () => PID, { kind: 'key' }),
        column('start_time', 'time', () => 0, { kind: 'key', unit: 'ns' }),
        column('minor_faults', 'u64', counter(300), { kind: 'counter', unit: '1' }),
        column('major_faults', 'u64', () => 0, { kind: 'counter', unit: '1' }),
        column('faults_unseen', 'u64', counter(40), { kind: 'counter', unit: '1' }),
        column('rss_anon_bytes', 'u64', (n) => 2 ** 30 + Math.floor(wave(n, 300) * 64) * MIB, {
          kind: 'gauge',
          unit: 'bytes',
        }),
      ],
      1000 / hertz,
    ),
    madeTable(
      'gpu',
      'sample',
      slow,
      [
        time(slowAt),
        gpu(),
        column(
          'gpu_utilization_ratio',
          'f64',
          (n) => Math.round(100 * (0.4 + 0.5 * Math.sin(n / 9) ** 2)) / 100,
          {
            kind: 'gauge',
            unit: '1',
          },
        ),
        column(
          'power_watts',
          'f64',
          (n) => (n % 50 === 49 ? null : 240 + 180 * Math.sin(n / 9) ** 2),
          {
            kind: 'gauge',
            unit: 'W',
          },
        ),
        column('memory_used_bytes', 'u64', (n) => 2 ** 35 + Math.floor(n / 40) * 512 * MIB, {
          kind: 'gauge',
          unit: 'bytes',
        }),
      ],
      1000 / Math.min(hertz, 10),
    ),
  ];
}

/** Records it; resolves when all is on disk. */
export async function recordCuda(out: string, options: CudaRecordingOptions): Promise<void> {
  const { seconds, hertz = 100, kernels = 3, copies = seconds * 50 * PER_REQUEST } = options;
  const requestNs = (seconds * 1e9 * PER_REQUEST) / copies;
  const tables = [
    ...cudaTables(copies, kernels, requestNs),
    ...counterTables(seconds, hertz, requestNs),
  ];
  const marks = ['warm', 'load'].map((name, at) =>
    markRow({
      time: START + BigInt(Math.round(seconds * 1e9 * (0.2 + 0.4 * at))),
      name,
      attributes: { step: at },
    }),
  );
  await recordTables(
    out,
    tables.map(({ info }) => info),
    (function* () {
      yield* madeBatches(tables);
      yield { table: 'mark', batch: markTable().batch(marks) };
    })(),
  );
}
