import type { RecordBatch } from '../../arrow.ts';
import type { RecordingEnd } from '../recording/manifest.ts';
import type { OpenRecording } from '../recording/open-recording.ts';
import { BatchColumns } from './batch-columns.ts';
import { CoveredTime, Moments } from './covered-time.ts';
import {
  type ProcessSummary,
  readProcesses,
  readStates,
  type UntracedProcess,
} from './processes.ts';

const TOP_KERNELS = 10;

/** Copies of one direction, of all GPUs and processes. */
export interface DirectionSummary {
  /** `HtoD`, `DtoH`, `DtoD`, `PtoP` ...; null: CUPTI did not say. */
  readonly direction: string | null;
  readonly copies: number;
  readonly bytes: number;
  /** Sum of their durations on the GPU. */
  readonly timeNs: number;
  /** Bytes over that time, in 10^9 bytes; null without any time. */
  readonly gigabytesPerSecond: number | null;
  /** Share of the bytes whose memory on the host was pageable; null where no side is the host. */
  readonly pageableRatio: number | null;
  /** Share of their time during which a kernel ran on the same GPU in the same process; null: no kernels were recorded. */
  readonly overlapRatio: number | null;
  /** Copies whose API call took page faults of its thread; null: not recorded (source page-faults, kind api). */
  readonly faultedCopies: number | null;
  readonly faultedBytes: number | null;
  /** Page faults in those calls. */
  readonly faults: number | null;
}

export interface KernelSummary {
  readonly name: string | null;
  readonly count: number;
  readonly timeNs: number;
  readonly maxNs: number;
  /** Share of the time of all kernels. */
  readonly timeRatio: number;
}

/** `warpgauge trace --json`. Numbers that could not be had are null. */
export interface TraceSummary {
  readonly schema: 'warpgauge/trace-summary/1';
  readonly dir: string;
  readonly run: string;
  readonly started: string;
  readonly ended: string | null;
  readonly end: RecordingEnd;
  readonly simulated: boolean;
  readonly command: readonly string[] | null;
  readonly directions: readonly DirectionSummary[];
  readonly kernels: {
    readonly count: number;
    readonly timeNs: number;
    /** Time during which at least one ran, summed over GPUs and processes; null: too many gaps to say. */
    readonly busyNs: number | null;
    /** Those that took most time. */
    readonly top: readonly KernelSummary[];
  } | null;
  readonly memsets: {
    readonly count: number;
    readonly bytes: number;
    readonly timeNs: number;
  } | null;
  readonly synchronizations: { readonly count: number; readonly timeNs: number } | null;
  readonly apiCalls: {
    readonly count: number;
    readonly timeNs: number;
    readonly failed: number;
  } | null;
  /** Page faults of the traced processes that perf saw, and those that only getrusage counted (populate, mlock, pinning). */
  readonly hostFaults: { readonly seen: number | null; readonly unseen: number | null };
  readonly processes: readonly ProcessSummary[];
  /** Processes that started CUDA and were not traced. */
  readonly untraced: readonly UntracedProcess[];
  /** Rows that were not written because nobody took them in time. */
  readonly droppedRows: number;
}

type Key = string;

interface Copies {
  copies: number;
  bytes: number;
  timeNs: number;
  hostBytes: number;
  pageableBytes: number;
  overlapNs: number;
  faultedCopies: number;
  faultedBytes: number;
  faults: number;
}

interface Kernels {
  count: number;
  timeNs: number;
  maxNs: number;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** One pass over each table, in an order in which each finds what it is joined with. */
class Reader {
  readonly #recording: OpenRecording;
  readonly #base: bigint;
  readonly busy = new Map<Key, CoveredTime>();
  readonly kernels = new Map<number | null, Kernels>();
  readonly directions = new Map<string | null, Copies>();
  /** Faults by thread. */
  readonly faults = new Map<Key, Moments>();
  faultsSeen = 0;
  /** Faults of API calls that took any, by process and correlation. */
  readonly faulted = new Map<number, Map<number, number>>();

  constructor(recording: OpenRecording, base: bigint) {
    this.#recording = recording;
    this.#base = base;
  }

  has(table: string): boolean {
    return this.#recording.tables.some(({ name }) => name === table);
  }

  async *batches(table: string): AsyncGenerator<BatchColumns> {
    if (!this.has(table)) return;
    for await (const batch of this.#recording.batches(table) as AsyncIterable<RecordBatch>) {
      yield new BatchColumns(batch);
    }
  }

  /** Times as numbers: ns since some time of this recording. */
  times(columns: BatchColumns): (row: number) => number {
    const time = columns.big('time');
    return (row) => Number((time(row) ?? this.#base) - this.#base);
  }

  async readKernels(): Promise<void> {
    for await (const columns of this.batches('cuda.kernel')) {
      const time = this.times(columns);
      const duration = columns.number('duration_ns');
      const pid = columns.number('pid');
      const gpu = columns.text('gpu');
      const name = columns.number('name');
      for (let row = 0; row < columns.rows; row++) {
        const ns = duration(row) ?? 0;
        const id = name(row);
        const known = this.kernels.get(id) ?? { count: 0, timeNs: 0, maxNs: 0 };
        this.kernels.set(id, known);
        known.count++;
        known.timeNs += ns;
        known.maxNs = Math.max(known.maxNs, ns);
        const key = `${pid(row)} ${gpu(row)}`;
        getOrMake(this.busy, key, () => new CoveredTime()).add(time(row), time(row) + ns);
      }
    }
  }

  async readFaults(tables: readonly string[], pids: ReadonlySet<number>): Promise<void> {
    for (const table of tables) {
      for await (const columns of this.batches(table)) {
        const time = this.times(columns);
        const pid = columns.number('pid');
        const tid = columns.number('tid');
        for (let row = 0; row < columns.rows; row++) {
          const process = pid(row);
          if (process === null || !pids.has(process)) continue;
          this.faultsSeen++;
          const key = `${process} ${tid(row)}`;
          getOrMake(this.faults, key, () => new Moments()).add(time(row));
        }
      }
    }
  }

  async readCalls(): Promise<NonNullable<TraceSummary['apiCalls']>> {
    const calls = { count: 0, timeNs: 0, failed: 0 };
    for await (const columns of this.batches('cuda.api')) {
      const time = this.times(columns);
      const duration = columns.number('duration_ns');
      const pid = columns.number('pid');
      const tid = columns.number('tid');
      const correlation = columns.number('correlation');
      const result = columns.number('result');
      for (let row = 0; row < columns.rows; row++) {
        const ns = duration(row) ?? 0;
        calls.count++;
        calls.timeNs += ns;
        if ((result(row) ?? 0) !== 0) calls.failed++;
        const process = pid(row);
        const moments = this.faults.get(`${process} ${tid(row)}`);
        const id = correlation(row);
        if (moments === undefined || process === null || id === null) continue;
        const faults = moments.within(time(row), time(row) + ns);
        if (faults === 0) continue;
        const ofProcess = getOrMake(this.faulted, process, () => new Map<number, number>());
        // A runtime call and the driver call within it share the correlation: the outer one has all.
        ofProcess.set(id, Math.max(faults, ofProcess.get(id) ?? 0));
      }
    }
    return calls;
  }

  async readCopies(): Promise<void> {
    for await (const columns of this.batches('cuda.memcpy')) {
      const time = this.times(columns);
      const duration = columns.number('duration_ns');
      const pid = columns.number('pid');
      const gpu = columns.text('gpu');
      const direction = columns.text('direction');
      const bytes = columns.number('bytes');
      const memory = [columns.text('source_memory'), columns.text('destination_memory')];
      const correlation = columns.number('correlation');
      for (let row = 0; row < columns.rows; row++) {
        const size = bytes(row) ?? 0;
        const ns = duration(row) ?? 0;
        const sum = this.#direction(direction(row));
        sum.copies++;
        sum.bytes += size;
        sum.timeNs += ns;
        const sides = memory.map((side) => side(row));
        if (sides.some((side) => side === 'pageable' || side === 'pinned')) sum.hostBytes += size;
        if (sides.includes('pageable')) sum.pageableBytes += size;
        const process = pid(row);
        const busy = this.busy.get(`${process} ${gpu(row)}`);
        if (busy !== undefined) sum.overlapNs += busy.within(time(row), time(row) + ns);
        const id = correlation(row);
        if (process === null || id === null) continue;
        const faults = this.faulted.get(process)?.get(id) ?? 0;
        if (faults === 0) continue;
        sum.faultedCopies++;
        sum.faultedBytes += size;
        sum.faults += faults;
      }
    }
  }

  /** Rows, time and bytes of a table of spans. */
  async sums(table: string): Promise<{ count: number; timeNs: number; bytes: number } | null> {
    if (!this.has(table)) return null;
    const sum = { count: 0, timeNs: 0, bytes: 0 };
    for await (const columns of this.batches(table)) {
      const duration = columns.number('duration_ns');
      const bytes = columns.number('bytes');
      sum.count += columns.rows;
      for (let row = 0; row < columns.rows; row++) {
        sum.timeNs += duration(row) ?? 0;
        sum.bytes += bytes(row) ?? 0;
      }
    }
    return sum;
  }

  #direction(name: string | null): Copies {
    return getOrMake(this.directions, name, () => ({
      copies: 0,
      bytes: 0,
      timeNs: 0,
      hostBytes: 0,
      pageableBytes: 0,
      overlapNs: 0,
      faultedCopies: 0,
      faultedBytes: 0,
      faults: 0,
    }));
  }
}

async function namesOf(recording: OpenRecording): Promise<Map<number, string>> {
  const names = new Map<number, string>();
  if (!recording.tables.some(({ name }) => name === 'cuda.name')) return names;
  for await (const batch of recording.batches('cuda.name')) {
    const columns = new BatchColumns(batch);
    const id = columns.number('id');
    const name = columns.text('name');
    for (let row = 0; row < columns.rows; row++) names.set(id(row) ?? -1, name(row) ?? '');
  }
  return names;
}

/** What the process source counted of the traced processes between its first row and its last; null: it has none. */
async function unseenFaults(
  recording: OpenRecording,
  pids: ReadonlySet<number>,
): Promise<number | null> {
  const ends = new Map<number, { first: number; last: number }>();
  const tables = recording.tables.filter(({ name }) => /^process(@\d+)?$/.test(name));
  for (const { name } of tables) {
    for await (const batch of recording.batches(name)) {
      const columns = new BatchColumns(batch);
      const pid = columns.number('pid');
      const unseen = columns.number('faults_unseen');
      for (let row = 0; row < columns.rows; row++) {
        const process = pid(row);
        const faults = unseen(row);
        if (process === null || faults === null || !pids.has(process)) continue;
        const known = ends.get(process);
        if (known === undefined) ends.set(process, { first: faults, last: faults });
        else known.last = faults;
      }
    }
  }
  if (ends.size === 0) return null;
  return [...ends.values()].reduce((sum, { first, last }) => sum + last - first, 0);
}

const byBytes = (a: DirectionSummary, b: DirectionSummary): number => b.bytes - a.bytes;

/** The public function of the same name: see lib/monitor/trace/index.ts. */
export async function summarizeTrace(recording: OpenRecording): Promise<TraceSummary | null> {
  const { manifest } = recording;
  if (!recording.tables.some(({ name }) => name === 'cuda.process')) return null;
  const names = await namesOf(recording);
  const processes = await readProcesses(recording, names);
  const pids = new Set(processes.map(({ pid }) => pid).filter((pid) => pid !== null));
  const reader = new Reader(recording, BigInt(Date.parse(manifest.started)) * 1_000_000n);
  const faultTables = recording.tables
    .map(({ name }) => name)
    .filter((name) => /^page-faults(@\d+)?$/.test(name));
  await reader.readKernels();
  await reader.readFaults(faultTables, pids);
  const calls = reader.has('cuda.api') ? await reader.readCalls() : null;
  await reader.readCopies();
  const busy = [...reader.busy.values()];
  const knowsBusy = reader.has('cuda.kernel') && !busy.some(({ tooMany }) => tooMany);
  const knowsFaults =
    faultTables.length > 0 && calls !== null && ![...reader.faults.values()].some((m) => m.tooMany);
  const directions = [...reader.directions].map(
    ([direction, sum]): DirectionSummary => ({
      direction,
      copies: sum.copies,
      bytes: sum.bytes,
      timeNs: sum.timeNs,
      gigabytesPerSecond: sum.timeNs === 0 ? null : sum.bytes / sum.timeNs,
      pageableRatio: sum.hostBytes === 0 ? null : sum.pageableBytes / sum.hostBytes,
      overlapRatio: knowsBusy && sum.timeNs > 0 ? sum.overlapNs / sum.timeNs : null,
      faultedCopies: knowsFaults ? sum.faultedCopies : null,
      faultedBytes: knowsFaults ? sum.faultedBytes : null,
      faults: knowsFaults ? sum.faults : null,
    }),
  );
  const kernelTime = [...reader.kernels.values()].reduce((sum, { timeNs }) => sum + timeNs, 0);
  const top = [...reader.kernels]
    .sort(([, a], [, b]) => b.timeNs - a.timeNs)
    .slice(0, TOP_KERNELS)
    .map(([id, { count, timeNs, maxNs }]) => ({
      name: id === null ? null : (names.get(id) ?? null),
      count,
      timeNs,
      maxNs,
      timeRatio: kernelTime === 0 ? 0 : timeNs / kernelTime,
    }));
  const memsets = await reader.sums('cuda.memset');
  const waits = await reader.sums('cuda.synchronization');
  const { started, ended, end, run, command } = manifest;
  return {
    schema: 'warpgauge/trace-summary/1',
    dir: recording.dir,
    run,
    started,
    ended,
    end,
    simulated: manifest.simulated || processes.some(({ simulated }) => simulated),
    command,
    directions: directions.sort(byBytes),
    kernels: reader.has('cuda.kernel')
      ? {
          count: [...reader.kernels.values()].reduce((sum, { count }) => sum + count, 0),
          timeNs: kernelTime,
          busyNs: knowsBusy ? busy.reduce((sum, each) => sum + each.total(), 0) : null,
          top,
        }
      : null,
    memsets,
    synchronizations: waits === null ? null : { count: waits.count, timeNs: waits.timeNs },
    apiCalls: calls,
    hostFaults: {
      seen: faultTables.length > 0 ? reader.faultsSeen : null,
      unseen: await unseenFaults(recording, pids),
    },
    processes,
    untraced: await readStates(recording),
    droppedRows: recording.tables
      .filter(({ name }) => name.startsWith('cuda.'))
      .reduce((sum, { dropped }) => sum + dropped, 0),
  };
}
