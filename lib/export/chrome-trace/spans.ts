import { DataType, type RecordBatch } from '../../arrow.ts';
import { BatchCells, namesOf } from '../../monitor/recording/batch-cells.ts';
import type { NumberReader } from '../../monitor/recording/cell-numbers.ts';
import type { RecordedTable } from '../../monitor/recording/open-recording.ts';
import { edges, gpuProcess, hostProcess, labelled, ORDER, type TraceContext } from './context.ts';
import { type Argument, argumentsOf } from './event-file.ts';
import { IdSet } from './id-set.ts';
import { InOrder, type Timed } from './in-order.ts';

/** Where a slice stands and what it says. */
interface Slice {
  readonly process: number;
  readonly track: string;
  readonly order?: number;
  /** Slices of the track follow each other and never nest: work of one stream. */
  readonly flat?: boolean;
  readonly tid?: number;
  readonly name: string;
  /** Members of a JSON object. */
  readonly args: string;
}

/** A row that waits for its turn. What it says is read when it is written: text is many times what the row takes. */
interface Row extends Timed {
  readonly batch: BatchReader;
  readonly index: number;
}

interface BatchReader {
  readonly slice: SliceReader;
  readonly pid: NumberReader;
  readonly correlation: NumberReader;
}

/** Which call, or which call's work, a row is. */
interface Call {
  readonly pid: number;
  readonly correlation: number;
}

const callOf = ({ batch, index }: Row): Call => ({
  pid: batch.pid(index),
  correlation: batch.correlation(index),
});

type SliceReader = (at: number) => Slice;
type Describe = (context: TraceContext, table: RecordedTable, cells: BatchCells) => SliceReader;

const streamTrack = (stream: number, what: string, pid: number, processes: number): string =>
  `stream ${stream} ${what}${processes > 1 ? ` of ${pid}` : ''}`;

/** Columns as arguments, under their own names. */
function columnsOf(
  cells: BatchCells,
  numbers: readonly string[],
  words: readonly string[] = [],
): (readonly [string, (at: number) => Argument])[] {
  return [
    ...words.map((name) => [name, cells.text(name)] as const),
    ...numbers.map((name) => [name, cells.number(name)] as const),
  ];
}

const describeCopy: Describe = (context, table, cells) => {
  const number = (name: string) => cells.number(name);
  const [pid, device, stream] = [number('pid'), number('device'), number('stream')];
  const [gpu, direction] = [cells.text('gpu'), cells.text('direction')];
  const [source, destination] = [cells.text('source_memory'), cells.text('destination_memory')];
  const [bytes, length, async] = [number('bytes'), number('duration_ns'), number('async')];
  const host = (kind: string | null): boolean => kind === 'pageable' || kind === 'pinned';
  const args = argumentsOf([
    ['bytes', bytes],
    ['gb_per_s', (at) => Math.round((bytes(at) / length(at)) * 1000) / 1000],
    ['async', (at) => (Number.isNaN(async(at)) ? null : async(at) === 1)],
    ...columnsOf(
      cells,
      ['context', 'stream', 'correlation', 'pid'],
      ['source_memory', 'destination_memory', 'destination_gpu'],
    ),
  ]);
  return (at) => {
    const kind = [source(at), destination(at)].find(host);
    return {
      process: gpuProcess(context, table, gpu(at), device(at)),
      track: streamTrack(stream(at), 'copies', pid(at), context.commands.size),
      order: 2 * stream(at),
      flat: true,
      name: `${direction(at) ?? 'copy'}${kind === undefined ? '' : ` ${kind}`}`,
      args: args(at),
    };
  };
};

const describeKernel: Describe = (context, table, cells) => {
  const number = (name: string) => cells.number(name);
  const [pid, device, stream] = [number('pid'), number('device'), number('stream')];
  const [gpu, name] = [cells.text('gpu'), cells.name('name')];
  const shape = (what: string) => {
    const [x, y, z] = [number(`${what}_x`), number(`${what}_y`), number(`${what}_z`)];
    return (at: number): string | null =>
      Number.isNaN(x(at) + y(at) + z(at)) ? null : `${x(at)} x ${y(at)} x ${z(at)}`;
  };
  const args = argumentsOf([
    ['grid', shape('grid')],
    ['block', shape('block')],
    ...columnsOf(cells, [
      'registers_per_thread',
      'static_shared_bytes',
      'dynamic_shared_bytes',
      'graph',
      'context',
      'stream',
      'correlation',
      'pid',
    ]),
  ]);
  return (at) => ({
    process: gpuProcess(context, table, gpu(at), device(at)),
    track: streamTrack(stream(at), 'kernels', pid(at), context.commands.size),
    order: 2 * stream(at) + 1,
    flat: true,
    name: name(at) ?? 'kernel',
    args: args(at),
  });
};

const describeMemset: Describe = (context, table, cells) => {
  const number = (name: string) => cells.number(name);
  const [pid, device, stream] = [number('pid'), number('device'), number('stream')];
  const gpu = cells.text('gpu');
  const args = argumentsOf(
    columnsOf(cells, ['bytes', 'value', 'context', 'stream', 'correlation', 'pid'], ['memory']),
  );
  return (at) => ({
    process: gpuProcess(context, table, gpu(at), device(at)),
    track: streamTrack(stream(at), 'memsets', pid(at), context.commands.size),
    order: 2 * stream(at) + 1,
    flat: true,
    name: 'memset',
    args: args(at),
  });
};

const describeCall: Describe = (context, table, cells) => {
  const [pid, tid] = [cells.number('pid'), cells.number('tid')];
  const [name, api] = [cells.name('name'), cells.text('api')];
  const args = argumentsOf(
    columnsOf(cells, ['result', 'correlation'], ['external_kind', 'external_id']),
  );
  return (at) => ({
    process: hostProcess(context, table, pid(at)),
    track: `thread ${tid(at)}`,
    tid: tid(at),
    name: name(at) ?? `${api(at) ?? 'CUDA'} call`,
    args: args(at),
  });
};

const describeSynchronization: Describe = (context, table, cells) => {
  const [pid, type] = [cells.number('pid'), cells.text('type')];
  const args = argumentsOf(columnsOf(cells, ['stream', 'context', 'event', 'correlation']));
  return (at) => ({
    process: hostProcess(context, table, pid(at)),
    track: 'synchronization',
    order: 2,
    name: `${(type(at) ?? '').replaceAll('_', ' ')} synchronization`.trim(),
    args: args(at),
  });
};

const describeMarker: Describe = (context, table, cells) => {
  const [pid, tid, name] = [cells.number('pid'), cells.number('tid'), cells.name('name')];
  const args = argumentsOf([['domain', cells.name('domain')]]);
  return (at) => ({
    process: hostProcess(context, table, pid(at)),
    track: Number.isNaN(tid(at)) ? 'NVTX' : `NVTX of thread ${tid(at)}`,
    order: 1,
    name: name(at) ?? 'range',
    args: args(at),
  });
};

const describeUnifiedMemory: Describe = (context, table, cells) => {
  const [pid, gpu, counter] = [cells.number('pid'), cells.text('gpu'), cells.text('counter')];
  const address = cells.text('address');
  const args = argumentsOf([
    ...columnsOf(cells, ['value', 'source_device', 'destination_device', 'pid']),
    // Beyond 2^53, where a number of JSON is no longer exact.
    [
      'address',
      (at) => (address(at) === null ? null : `0x${BigInt(address(at) ?? 0).toString(16)}`),
    ],
  ]);
  return (at) => ({
    process:
      gpu(at) === null
        ? hostProcess(context, table, pid(at))
        : gpuProcess(context, table, gpu(at), Number.NaN),
    track: 'unified memory',
    order: 1000,
    name: (counter(at) ?? 'unified memory').replaceAll('_', ' '),
    args: args(at),
  });
};

/** Any other table of spans: of the application (`span`), of a source that is not known here, or what CUPTI itself cost. */
const describeOther: Describe = (context, table, cells) => {
  const aside = ['time', 'duration_ns', 'pid', 'name', 'tid'];
  const columns = table.schema.fields
    .map((field) => field.name)
    .filter((one) => !aside.includes(one));
  const args = argumentsOf(columns.map((column) => [column, cells.name(column)]));
  const [name, pid] = [cells.name('name'), cells.number('pid')];
  const firstWord = table.schema.fields.find(
    (field) => DataType.isDictionary(field.type) && field.name !== 'gpu',
  );
  const word = cells.text(firstWord?.name ?? '');
  const short = table.name.replace(/^cuda\./, '').replaceAll('_', ' ');
  return (at) => ({
    process: Number.isNaN(pid(at))
      ? context.tracks.process(`spans ${table.name}`, labelled(table.name, table), ORDER.spans)
      : hostProcess(context, table, pid(at)),
    track: short,
    order: 3,
    name: name(at) ?? word(at) ?? short,
    args: args(at),
  });
};

const KNOWN: Readonly<Record<string, Describe>> = {
  'cuda.memcpy': describeCopy,
  'cuda.kernel': describeKernel,
  'cuda.memset': describeMemset,
  'cuda.api': describeCall,
  'cuda.synchronization': describeSynchronization,
  'cuda.marker': describeMarker,
  'cuda.unified_memory': describeUnifiedMemory,
};

/** Whether a row touches the piece of the recording that is exported. */
function insideOf(context: TraceContext, cells: BatchCells): (at: number) => boolean {
  const { from, to } = edges(context);
  const [start, length] = [cells.number('time', context.window.start), cells.number('duration_ns')];
  return (at) => start(at) <= to && start(at) + (length(at) || 0) >= from;
}

/** Work that a call of the API starts. */
const DEVICE_WORK = ['cuda.memcpy', 'cuda.kernel', 'cuda.memset'];

/**
 * Arrows from calls to the work that they started. Correlation ids are kept as bits: which calls were recorded, then which of
 * their work, so that no arrow lacks an end. The first work of a call gets it; of a graph that is its first node.
 */
class Arrows {
  readonly #calls = new Map<number, IdSet>();
  readonly #work = new Map<number, IdSet>();

  addCalls(batch: RecordBatch, context: TraceContext): void {
    const cells = new BatchCells(batch);
    const inside = insideOf(context, cells);
    const [pid, correlation] = [cells.number('pid'), cells.number('correlation')];
    const length = cells.number('duration_ns');
    for (let at = 0; at < cells.rows; at++) {
      if (inside(at) && length(at) > 0) this.#set(this.#calls, pid(at)).add(correlation(at));
    }
  }

  /** Number of the arrow that ends at this work; null: there is none. */
  end({ pid, correlation }: Call): number | null {
    if (Number.isNaN(correlation) || correlation === 0) return null;
    if (!this.#set(this.#calls, pid).has(correlation)) return null;
    return this.#set(this.#work, pid).add(correlation) ? this.#id(pid, correlation) : null;
  }

  /** Number of the arrow that begins at this call. */
  begin({ pid, correlation }: Call): number | null {
    if (Number.isNaN(correlation)) return null;
    // A call that two records tell of (driver and runtime) begins one arrow.
    if (!this.#set(this.#work, pid).has(correlation)) return null;
    return this.#set(this.#calls, pid).remove(correlation) ? this.#id(pid, correlation) : null;
  }

  #set(sets: Map<number, IdSet>, pid: number): IdSet {
    const known = sets.get(pid);
    if (known !== undefined) return known;
    const made = new IdSet();
    sets.set(pid, made);
    return made;
  }

  #id(pid: number, correlation: number): number {
    return [...this.#calls.keys()].indexOf(pid) * 2 ** 32 + correlation;
  }
}

/** Slices of one table, in the order of their beginning as far as a bounded window brings it about. */
async function writeTable(
  context: TraceContext,
  table: RecordedTable,
  each: (row: Row, process: number, tid: number) => void,
): Promise<void> {
  const { file, tracks, window } = context;
  const names = await namesOf(context.recording, table);
  const ordered = new InOrder<Row>((row) => {
    const { at, length, batch, index } = row;
    const { process, track, flat = false, order = 0, tid, name, args } = batch.slice(index);
    const options = tid === undefined ? { flat, order } : { flat, order, tid };
    const lane = tracks.lane(process, track, track, at, at + length, options);
    file.slice(process, lane, at, length, name, args);
    // A slice without length has no inside that an arrow could end in.
    if (length > 0) each(row, process, lane);
  });
  for await (const recorded of context.batches(table)) {
    const cells = new BatchCells(recorded, names);
    const [start, length] = [cells.number('time', window.start), cells.number('duration_ns')];
    const inside = insideOf(context, cells);
    const batch: BatchReader = {
      slice: (KNOWN[table.name] ?? describeOther)(context, table, cells),
      pid: cells.number('pid'),
      correlation: cells.number('correlation'),
    };
    let rows = 0;
    for (let index = 0; index < cells.rows; index++) {
      if (!inside(index)) continue;
      const [at, lasted] = [start(index), length(index)];
      rows++;
      if (!Number.isNaN(lasted)) {
        ordered.add({ at, length: lasted, batch, index });
      } else {
        // A marker, or a page that moved in no time that CUPTI knows.
        const { process, track, order = 0, name, args } = batch.slice(index);
        const tid = tracks.thread(process, `${track} moments`, `${track}, moments`, order);
        file.instant(process, tid, at, name, 't', args);
      }
      if (file.full) await file.flush();
    }
    context.count(table, rows);
  }
  ordered.end();
  await file.flush();
}

/** All tables of kind `span` as slices, with arrows from calls to the copies and kernels that they started. */
export async function writeSpans(
  context: TraceContext,
  tables: readonly RecordedTable[],
): Promise<void> {
  const { file } = context;
  const arrows = new Arrows();
  const calls = tables.find(({ name }) => name === 'cuda.api');
  const work = tables.filter(({ name }) => DEVICE_WORK.includes(name));
  if (calls !== undefined)
    for await (const batch of context.batches(calls)) arrows.addCalls(batch, context);
  for (const table of work) {
    await writeTable(context, table, (row, process, tid) => {
      const id = arrows.end(callOf(row));
      if (id !== null) file.flow('f', process, tid, row.at, id);
    });
  }
  for (const table of tables.filter((one) => !work.includes(one))) {
    await writeTable(context, table, (row, process, tid) => {
      const id = table === calls ? arrows.begin(callOf(row)) : null;
      if (id !== null) file.flow('s', process, tid, row.at, id);
    });
  }
}
