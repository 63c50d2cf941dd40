// A recording of a made-up program that serves requests on a made-up GPU: everything in it is Simulated. A request comes each
// 20 ms, with a pause in between: inputs are copied to the GPU (pinned, every fifth from pageable memory), kernels run, results come back.
import { markRow, markTable } from '#lib/monitor/recording/own-tables';
import { recordTables } from '../export/recordings.js';
import { type MadeColumn, type MadeTable, madeBatches, madeTable, START } from './made-tables.js';

export const GPU = 'GPU-5111a7ed-0000-0000-0000-000000000001';
export const PID = 4242;
const MIB = 2 ** 20;
/** Bytes on the link for a request. */
export const PCIE_PER_REQUEST: number = 26 * MIB;
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

/** When requests come: all the time, but for a pause after 40 % of them. */
export class Plan {
  readonly requests: number;
  readonly #ns: number;

  constructor(seconds: number, copies: number) {
    this.requests = Math.ceil(copies / PER_REQUEST);
    this.#ns = seconds * 1e9;
  }

  /** A hundredth and a half of the time from one request to the next: all of a request lies within 100. */
  get unit(): number {
    return this.#ns / this.requests / 150;
  }

  begin(request: number): number {
    const share = request / this.requests;
    return this.#ns * (share < 0.4 ? share * 0.75 : 0.38 + ((share - 0.4) * 0.62) / 0.6);
  }

  /** How many requests have begun, with a fraction of the one that runs. */
  begun(ns: number): number {
    const share = Math.min(ns / this.#ns, 1);
    const done =
      share < 0.3 ? share / 0.75 : share < 0.38 ? 0.4 : 0.4 + ((share - 0.38) * 0.6) / 0.62;
    return done * this.requests;
  }

  /** 0 to 3, without any pattern to the eye. */
  size(request: number): number {
    return (Math.imul(request + 1, 2_654_435_761) >>> 13) % 4;
  }
}

/** Where a copy stands, and what it moves. */
export function copyAt(n: number, plan: Plan) {
  const request = Math.floor(n / PER_REQUEST);
  const part = n % PER_REQUEST;
  const out = part === PER_REQUEST - 1;
  const pageable = !out && request % 5 === 4;
  const { unit } = plan;
  const size = plan.size(request);
  // 3 MiB in a unit of a request of 20 ms: 24 GB/s. Pageable memory takes longer, and what comes back is small.
  const bytes =
    (out ? 1 : (part + 1) * (1 + size)) * 2 ** 20 * Math.max(1, Math.floor((unit / 130_000) * 3));
  const begin = plan.begin(request) + (out ? 92 : part * 14) * unit;
  const length = Math.round((out ? 4 : pageable ? 13 : (part + 1) * (1 + size)) * unit);
  return { begin: Math.round(begin), length, bytes, out, pageable, correlation: n + 1 };
}

function cudaTables(copies: number, kernels: number, plan: Plan): MadeTable[] {
  const copy = (n: number) => copyAt(n, plan);
  const { requests, unit } = plan;
  const each = Math.max(kernels, 1);
  // The kernels of a request follow its copies, and are longer where those were.
  const room = (n: number): number => (12 + 12 * plan.size(Math.floor(n / each))) / each;
  const kernelBegin = (n: number): number =>
    Math.round(plan.begin(Math.floor(n / each)) + (42 + (n % each) * room(n)) * unit);
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
      column('duration_ns', 'u64', (n) => Math.round(0.93 * room(n) * unit), { unit: 'ns' }),
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
      time((n) => copy(n).begin - Math.round(unit / 3)),
      column('duration_ns', 'u64', (n) =>
        copy(n).pageable ? copy(n).length + Math.round(unit / 2) : Math.round(unit / 2),
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

function counterTables(seconds: number, hertz: number, plan: Plan): MadeTable[] {
  /** Rows of a rate, and when each is. */
  const rowsAt = (rate: number) => ({
    rows: Math.floor(seconds * rate) + 1,
    at: (n: number): number => Math.round((n * 1e9) / rate),
    intervalMs: 1000 / rate,
  });
  /** A counter that grows while a request copies, and not in between. */
  const grown = (ns: number, perRequest: number): number => {
    const begun = plan.begun(ns);
    const whole = Math.floor(begun);
    return Math.round((whole + Math.min(1, (begun - whole) / 0.4)) * perRequest);
  };
  const wave = (ns: number, seconds: number): number =>
    0.5 + 0.5 * Math.sin((ns / seconds / 1e9) * 2 * Math.PI);
  const load = (ns: number): number => (ns > seconds * 0.3e9 && ns < seconds * 0.38e9 ? 0.05 : 1);
  const [pm, process, gpuRows] = [
    rowsAt(hertz),
    rowsAt(Math.min(hertz, 1000)),
    rowsAt(Math.min(hertz, 10)),
  ];
  const gauge = { kind: 'gauge', unit: '1' } as const;
  const bytes = { kind: 'gauge', unit: 'bytes' } as const;
  const window = 'window_ns';
  const moved = (n: number, perRequest: number): number =>
    grown(pm.at(n + 1), perRequest) - grown(pm.at(n), perRequest);
  const share = (n: number, least: number, swing: number, period: number): number =>
    load(pm.at(n)) * (least + swing * wave(pm.at(n), period));
  return [
    // As the hardware gives it: each row is what happened in the window that ends with it.
    madeTable(
      'pm-sampling',
      'sample',
      pm.rows - 1,
      [
        time((n) => pm.at(n + 1)),
        gpu(),
        column('window_ns', 'u64', (n) => pm.at(n + 1) - pm.at(n), { kind: 'gauge', unit: 'ns' }),
        column('pcie_read_bytes', 'u64', (n) => moved(n, PCIE_PER_REQUEST), { ...bytes, window }),
        column('pcie_write_bytes', 'u64', (n) => moved(n, 1.09 * MIB), { ...bytes, window }),
        column('sm_active_ratio', 'f64', (n) => share(n, 0.45, 0.4, 1.7), { ...gauge, window }),
        column('dram_read_ratio', 'f64', (n) => share(n, 0.1, 0.3, 0.9), { ...gauge, window }),
      ],
      pm.intervalMs,
    ),
    madeTable(
      'process',
      'sample',
      process.rows,
      [
        time(process.at),
        column('pid', 'u32', () => PID, { kind: 'key' }),
        column('start_time', 'time', () => 0, { kind: 'key', unit: 'ns' }),
        column('minor_faults', 'u64', (n) => grown(process.at(n), 300), {
          kind: 'counter',
          unit: '1',
        }),
        column('major_faults', 'u64', () => 0, { kind: 'counter', unit: '1' }),
        column('faults_unseen', 'u64', (n) => grown(process.at(n), 40), {
          kind: 'counter',
          unit: '1',
        }),
        column(
          'rss_anon_bytes',
          'u64',
          (n) => 2 ** 30 + Math.floor(wave(process.at(n), 6) * 64) * MIB,
          bytes,
        ),
      ],
      process.intervalMs,
    ),
    madeTable(
      'gpu',
      'sample',
      gpuRows.rows,
      [
        time(gpuRows.at),
        gpu(),
        column(
          'gpu_utilization_ratio',
          'f64',
          (n) => Math.round(100 * load(gpuRows.at(n)) * (0.5 + 0.4 * wave(gpuRows.at(n), 3))) / 100,
          gauge,
        ),
        column(
          'power_watts',
          'f64',
          (n) =>
            n % 50 === 49 ? null : 140 + load(gpuRows.at(n)) * (180 + 120 * wave(gpuRows.at(n), 3)),
          { kind: 'gauge', unit: 'W' },
        ),
        column(
          'memory_used_bytes',
          'u64',
          (n) => 2 ** 35 + (Math.floor(gpuRows.at(n) / 2e9) % 24) * 512 * MIB,
          bytes,
        ),
      ],
      gpuRows.intervalMs,
    ),
  ];
}

/** Records it; resolves when all is on disk. */
export async function recordCuda(out: string, options: CudaRecordingOptions): Promise<void> {
  const { seconds, hertz = 100, kernels = 3, copies = seconds * 50 * PER_REQUEST } = options;
  const plan = new Plan(seconds, copies);
  const tables = [...cudaTables(copies, kernels, plan), ...counterTables(seconds, hertz, plan)];
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
