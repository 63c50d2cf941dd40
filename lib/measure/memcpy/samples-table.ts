/**
 * All samples of a memcpy result as one Arrow table. The only file of the benchmark that loads apache-arrow,
 * and only when a table is asked for.
 */
import type { ColumnMeaning, Data, DataType, Table } from '../../arrow.ts';
import { type Cell, type MemcpyDocument, type PageProof, PHASES, type Sample } from './types.ts';

export interface SamplesTableOptions {
  /**
   * Nanoseconds from CLOCK_MONOTONIC to UTC. With it `time` is UTC; without it `time` is the monotonic clock.
   * The metadata of the column says which.
   */
  readonly utcOffsetNs?: bigint;
}

interface Row {
  readonly cell: Cell;
  readonly sample: Sample;
}

/** How a column is stored: `name` a repeated word, `text` free text, `integer` 64 bits, `number` a double. */
type Storage = 'name' | 'text' | 'integer' | 'number' | 'flag';

interface ColumnSpec {
  readonly name: string;
  readonly storage: Storage;
  readonly nullable: boolean;
  readonly meaning: ColumnMeaning;
  readonly read: (row: Row) => string | number | boolean | null;
}

const RUSAGE = 'getrusage(RUSAGE_THREAD)';
const PROOF_SIZES = [
  ['4kib', '4'],
  ['2mib', '2048'],
  ['1gib', '1048576'],
] as const;

function required(
  name: string,
  storage: Storage,
  meaning: ColumnMeaning,
  read: ColumnSpec['read'],
): ColumnSpec {
  return { name, storage, nullable: false, meaning, read };
}

function optional(
  name: string,
  storage: Storage,
  meaning: ColumnMeaning,
  read: ColumnSpec['read'],
): ColumnSpec {
  return { name, storage, nullable: true, meaning, read };
}

function proofColumns(when: 'before' | 'after'): ColumnSpec[] {
  const proof = ({ sample }: Row): PageProof | null =>
    when === 'before' ? sample.page_before : sample.page_after;
  const meaning = { unit: 'bytes', source: 'page proof, see page_method' };
  return [
    ...PROOF_SIZES.map(([size, kb]) =>
      optional(`page_${when}_${size}_bytes`, 'integer', meaning, (row) => {
        const found = proof(row);
        return found === null ? null : (found.verified_bytes_by_kb[kb] ?? 0);
      }),
    ),
    optional(
      `page_${when}_zero_bytes`,
      'integer',
      meaning,
      (row) => proof(row)?.zero_page_bytes ?? null,
    ),
    optional(
      `page_${when}_absent_bytes`,
      'integer',
      meaning,
      (row) => proof(row)?.absent_bytes ?? null,
    ),
  ];
}

const COLUMNS: readonly ColumnSpec[] = [
  required('cell', 'name', { source: 'plan' }, ({ cell }) => cell.id),
  required('dir', 'name', { source: 'plan' }, ({ cell }) => cell.dir),
  required('pin', 'name', { source: 'plan' }, ({ cell }) => cell.pin),
  required('state', 'name', { source: 'plan' }, ({ cell }) => cell.state),
  required('kind', 'name', { source: 'plan' }, ({ cell }) => cell.kind),
  required('bytes', 'integer', { unit: 'bytes', source: 'plan' }, ({ cell }) => cell.bytes),
  required('metric', 'name', { source: 'plan' }, ({ cell }) => cell.metric),
  required('block', 'integer', { unit: '1', source: 'plan' }, ({ sample }) => sample.block),
  required('seq', 'integer', { unit: '1', source: 'plan' }, ({ sample }) => sample.seq),
  required('run', 'integer', { unit: '1', source: 'plan' }, ({ sample }) => sample.run),
  required(
    't_host_ns',
    'integer',
    { unit: 'ns', source: 'CLOCK_MONOTONIC' },
    ({ sample }) => sample.t_host_ns,
  ),
  optional(
    't_event_ns',
    'number',
    { unit: 'ns', source: 'CUDA events' },
    ({ sample }) => sample.t_event_ns,
  ),
  optional('user_ns', 'integer', { unit: 'ns', source: RUSAGE }, ({ sample }) => sample.user_ns),
  optional('sys_ns', 'integer', { unit: 'ns', source: RUSAGE }, ({ sample }) => sample.sys_ns),
  optional(
    'faults_perf',
    'integer',
    { unit: '1', source: 'perf_event page-faults' },
    ({ sample }) => sample.faults_perf,
  ),
  optional(
    'faults_perf_scope',
    'name',
    { source: 'perf_event_open' },
    ({ sample }) => sample.faults_perf_scope,
  ),
  optional(
    'faults_perf_why',
    'name',
    { source: 'perf_event_open' },
    ({ sample }) => sample.faults_perf_why,
  ),
  required(
    'minflt_thread',
    'integer',
    { unit: '1', source: RUSAGE },
    ({ sample }) => sample.minflt_thread,
  ),
  required('majflt', 'integer', { unit: '1', source: RUSAGE }, ({ sample }) => sample.majflt),
  required(
    'minflt_proc',
    'integer',
    { unit: '1', source: 'getrusage(RUSAGE_SELF)' },
    ({ sample }) => sample.minflt_proc,
  ),
  optional(
    'pins_approx',
    'integer',
    { unit: '4096 bytes', source: '/proc/vmstat nr_foll_pin_acquired' },
    ({ sample }) => sample.pins_approx,
  ),
  optional(
    'dtlb_miss',
    'integer',
    { unit: '1', source: 'perf_event dTLB-load-misses' },
    ({ sample }) => sample.dtlb_miss,
  ),
  optional('dtlb_why', 'name', { source: 'perf_event_open' }, ({ sample }) => sample.dtlb_why),
  optional(
    'steal_ns',
    'integer',
    { unit: 'ns', source: '/proc/stat' },
    ({ sample }) => sample.steal_ns,
  ),
  required('vcsw', 'integer', { unit: '1', source: RUSAGE }, ({ sample }) => sample.vcsw),
  required('ivcsw', 'integer', { unit: '1', source: RUSAGE }, ({ sample }) => sample.ivcsw),
  ...(['compact_stall', 'allocstall', 'thp_fault_alloc', 'thp_fault_fallback'] as const).map(
    (name) =>
      optional(
        `vm_${name}`,
        'integer',
        { unit: '1', source: `/proc/vmstat ${name}` },
        ({ sample }) => sample.vm[name],
      ),
  ),
  ...(
    [
      ['sm_mhz', 'MHz'],
      ['memory_mhz', 'MHz'],
      ['pcie_gen', '1'],
      ['pcie_width', 'lanes'],
      ['replays', '1'],
      ['throttle', 'bits'],
    ] as const
  ).map(([name, unit]) =>
    optional(
      `gpu_${name}`,
      'integer',
      { unit, source: 'NVML' },
      ({ sample }) => sample.gpu?.[name] ?? null,
    ),
  ),
  ...PHASES.map((name) =>
    optional(
      `phase_${name}_ns`,
      'integer',
      { unit: 'ns', source: 'CLOCK_MONOTONIC' },
      ({ sample }) => sample.phases_ns[name],
    ),
  ),
  ...proofColumns('before'),
  ...proofColumns('after'),
  optional(
    'page_method',
    'name',
    {},
    ({ sample }) => (sample.page_after ?? sample.page_before)?.method ?? null,
  ),
  required('verified', 'flag', { source: 'data pattern' }, ({ sample }) => sample.verified),
  optional('verified_by', 'name', { source: 'data pattern' }, ({ sample }) => sample.verified_by),
  required('valid', 'flag', {}, ({ sample }) => sample.valid),
  optional('why_invalid', 'text', {}, ({ sample }) => sample.why_invalid),
];

/**
 * One row per sample of every cell, in run order: coordinates of the cell, times, counters, phases, proven page
 * sizes, validity. Units and sources stand in the metadata of each field; what was not measured is null.
 * Samples of the calibrations are in the JSON document only.
 */
export async function samplesTable(
  document: MemcpyDocument,
  options: SamplesTableOptions = {},
): Promise<Table> {
  const arrow = await import('../../arrow.ts');
  const rows = document.cells
    .flatMap((cell) => cell.samples.map((sample): Row => ({ cell, sample })))
    .sort((a, b) => a.sample.run - b.sample.run || a.sample.seq - b.sample.seq);

  const store = (spec: ColumnSpec): Data<DataType> => {
    const values = rows.map(spec.read);
    switch (spec.storage) {
      case 'integer':
        return arrow.int64Data(values as (number | null)[], new arrow.Int64());
      case 'number':
        return arrow.plainData(values, new arrow.Float64());
      case 'flag':
        return arrow.plainData(values, new arrow.Bool());
      case 'text':
        return arrow.plainData(values, new arrow.Utf8());
      case 'name':
        return arrow.plainData(values, new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32()));
    }
  };

  const offset = options.utcOffsetNs ?? null;
  const time = arrow.int64Data(
    rows.map(({ sample }) => BigInt(Math.round(sample.time_ns)) + (offset ?? 0n)),
    new arrow.TimestampNanosecond(offset === null ? null : 'UTC'),
  );
  const clock = offset === null ? 'CLOCK_MONOTONIC' : `CLOCK_MONOTONIC + ${offset} ns = UTC`;
  const columns = [
    {
      field: arrow.describedField('time', time.type, false, { unit: 'ns', source: clock }),
      data: time,
    },
    ...COLUMNS.map((spec) => {
      const data = store(spec);
      return {
        field: arrow.describedField<DataType>(spec.name, data.type, spec.nullable, spec.meaning),
        data,
      };
    }),
  ];
  const metadata = new Map([
    ['schema', document.schema],
    ['table', 'samples'],
    ['backend', document.backend],
    ['proxy', String(document.proxy)],
    ['simulated', String(document.device?.simulated ?? false)],
    ['seed', String(document.seed)],
    ['started', document.started],
    ['version', document.tool.version],
  ]);
  const fields = columns.map(({ field }) => field);
  const schema = new arrow.Schema(fields, metadata);
  const struct = arrow.makeData({
    type: new arrow.Struct(fields),
    length: rows.length,
    nullCount: 0,
    children: columns.map(({ data }) => data),
  });
  return new arrow.Table(schema, new arrow.RecordBatch(schema, struct));
}

/** The same table as an uncompressed Arrow IPC stream, the content of `samples.arrows`. */
export async function samplesIpc(
  document: MemcpyDocument,
  options: SamplesTableOptions = {},
): Promise<Uint8Array> {
  const { tableToIPC } = await import('../../arrow.ts');
  return tableToIPC(await samplesTable(document, options), 'stream');
}
