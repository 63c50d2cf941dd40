import {
  Bool,
  Dictionary,
  Field,
  Float64,
  Int32,
  Int64,
  int64Data,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimestampNanosecond,
  Uint8,
  Uint32,
  Uint64,
  Utf8,
  vectorFromArray,
} from 'warpgauge/arrow';
import { Recorder, type RecordingResult } from '#lib/monitor/recording/recorder';
import type { TableInfo } from '#lib/monitor/types';
import { FedSampler } from '../monitor/fed-sampler.js';

export const START = 1_700_000_000_000_000_003n;
const TEXTS = ['plain', '', 'a,b', 'say "so"', 'two\r\nlines', 'ä 🙂', '=1+1', ' spaces '];

/** A row of the made-up table: every value follows from the row's number, and holes are everywhere. */
export interface RichRow {
  readonly time: bigint;
  readonly u64: bigint | null;
  readonly i64: bigint | null;
  readonly f64: number | null;
  readonly u32: number;
  readonly i32: number;
  readonly u8: number | null;
  readonly flag: boolean | null;
  readonly device: string | null;
  readonly cpu: string;
  readonly online: boolean;
  readonly 'dTLB-load.misses/%': bigint;
  readonly text: string | null;
}

function float(n: number): number | null {
  if (n % 7 === 0) return null;
  if (n % 13 === 0) return Number.NaN;
  return n % 17 === 0 ? Number.NEGATIVE_INFINITY : n / 8;
}

export function richRow(n: number): RichRow {
  return {
    time: START + BigInt(n) * 1_000_001n,
    u64: n % 7 === 0 ? null : n % 5 === 0 ? 2n ** 64n - 1n - BigInt(n) : BigInt(n),
    i64: n % 11 === 0 ? null : (n % 2 === 0 ? -1n : 1n) * (2n ** 62n + BigInt(n)),
    f64: float(n),
    u32: 4_294_967_295 - n,
    i32: -n,
    u8: n % 3 === 0 ? null : n % 256,
    flag: n % 4 === 0 ? null : n % 3 === 1,
    device: n % 10 === 0 ? null : `disk${(n * 7) % (2 + Math.floor(n / 50))}`,
    cpu: `cpu${n % 3}`,
    online: n % 5 !== 0,
    'dTLB-load.misses/%': 2n ** 63n + BigInt(n) * 3n,
    text: n % 9 === 0 ? null : (TEXTS[n % TEXTS.length] as string),
  };
}

export function richSchema(): Schema {
  const field = (name: keyof RichRow, type: Field['type'], nullable: boolean, unit = '1') =>
    new Field(
      name,
      type,
      nullable,
      new Map([
        ['unit', unit],
        ['source', 'Simulated'],
      ]),
    );
  return new Schema(
    [
      field('time', new TimestampNanosecond('UTC'), false, 'ns'),
      field('u64', new Uint64(), true),
      field('i64', new Int64(), true),
      field('f64', new Float64(), true),
      field('u32', new Uint32(), false),
      field('i32', new Int32(), false),
      field('u8', new Uint8(), true),
      field('flag', new Bool(), true),
      field('device', new Dictionary(new Utf8(), new Int32(), 8), true),
      field('cpu', new Dictionary(new Utf8(), new Int32(), 9), false),
      field('online', new Bool(), false),
      field('dTLB-load.misses/%', new Uint64(), false),
      field('text', new Utf8(), true),
    ],
    new Map([['grain', 'one row per tick']]),
  );
}

/** Rows as a batch; names have a dictionary of this batch alone, in the order in which they appear. */
export function richBatch(schema: Schema, from: number, count: number): RecordBatch {
  const rows = Array.from({ length: count }, (_, at) => richRow(from + at));
  const children = schema.fields.map(({ name, type }) => {
    const cells = rows.map((row) => row[name as keyof RichRow]);
    if (name === 'time') return int64Data(cells as bigint[], type as TimestampNanosecond);
    if (!(type instanceof Dictionary)) return vectorFromArray(cells as never[], type).data[0];
    const words = [...new Set(cells.filter((cell) => cell !== null))] as string[];
    const numbers = cells.map((cell) => (cell === null ? null : words.indexOf(cell as string)));
    const { nullBitmap, nullCount, values } = vectorFromArray(numbers, new Int32())
      .data[0] as never;
    const dictionary = vectorFromArray(words, new Utf8());
    return makeData({
      type,
      length: count,
      nullBitmap,
      nullCount,
      data: values,
      dictionary,
    } as never);
  });
  const type = new Struct(schema.fields);
  const columns = children as never[];
  const data = makeData({ type, length: count, nullCount: 0, children: columns });
  return new RecordBatch(schema, data);
}

export function tableInfo(name: string, schema: Schema): TableInfo {
  return {
    name,
    source: name.split('.')[0] as string,
    kind: 'sample',
    grain: 'one row per tick',
    keys: [],
    intervalMs: 1,
    schema,
    simulated: true,
  };
}

/** Records made-up (Simulated) tables. */
export async function recordTables(
  out: string,
  tables: readonly TableInfo[],
  batches: Iterable<{ readonly table: string; readonly batch: RecordBatch }>,
): Promise<RecordingResult> {
  const recording = await Recorder.start(new FedSampler(tables, batches), {
    out,
    batchMs: 1000,
    holdMs: 0,
    maxBytes: null,
    rotateMs: null,
    keep: null,
    lastMs: null,
    limited: true,
    argv: ['test'],
    command: null,
    signal: null,
  });
  return recording.done;
}

/** Records `count` rich rows in batches of `size` each, next to a table without rows. */
export async function recordRich(
  out: string,
  count: number,
  size: number,
  name = 'rich@2.some.table',
): Promise<void> {
  const schema = richSchema();
  function* batches() {
    for (let from = 0; from < count; from += size) {
      yield { table: name, batch: richBatch(schema, from, Math.min(size, count - from)) };
    }
  }
  await recordTables(out, [tableInfo(name, schema), tableInfo('empty', schema)], batches());
}
