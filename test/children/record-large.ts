// Records a made-up (Simulated) table of 16 columns (without a third argument) into the folder of the first argument, until its cells take as many MB
// as the second argument says: for measuring what an export of a large recording needs. The third is a number of counters.
import {
  RecordBatch as Batch,
  Dictionary,
  Field,
  Float64,
  Int32,
  makeData,
  type RecordBatch,
  Schema,
  Struct,
  TimestampNanosecond,
  Uint32,
  Uint64,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'warpgauge/arrow';
import { recordTables, START, tableInfo } from '../export/recordings.js';

const ROWS = 10_000;
const COUNTERS = Number(process.argv[4] ?? 9);
const GAUGES = 4;

const [dir = '', megabytes = '10'] = process.argv.slice(2);
const schema = new Schema([
  new Field('time', new TimestampNanosecond('UTC'), false),
  ...Array.from({ length: COUNTERS }, (_, at) => new Field(`counter_${at}`, new Uint64(), true)),
  ...Array.from({ length: GAUGES }, (_, at) => new Field(`gauge_${at}`, new Float64(), true)),
  new Field('cpu', new Uint32(), false),
  new Field('device', new Dictionary(new Utf8(), new Int32(), 1), false),
]);
const words: Vector = vectorFromArray(
  Array.from({ length: 300 }, (_, at) => `device-${at}`),
  new Utf8(),
);

/** A small generator of noise: counters that grow evenly would shrink to nothing. */
let seed = 1;
function noise(): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed;
}

function counter(from: number, column: number): BigUint64Array {
  const values = new BigUint64Array(ROWS);
  const halves = new Uint32Array(values.buffer);
  for (let at = 0; at < ROWS; at++) {
    const value = (from + at) * (column + 1) * 1000 + (noise() % 1000);
    halves[2 * at] = value >>> 0;
    halves[2 * at + 1] = Math.floor(value / 2 ** 32);
  }
  return values;
}

function batch(from: number): RecordBatch {
  const column = (index: number, data: ArrayBufferView, more: object = {}) =>
    makeData({
      type: schema.fields[index]?.type,
      length: ROWS,
      nullCount: 0,
      data,
      ...more,
    } as never);
  const holes = new Uint8Array(ROWS / 8).fill(0b11111110);
  const children = [
    column(
      0,
      BigInt64Array.from({ length: ROWS }, (_, at) => START + BigInt(from + at) * 100_000n),
    ),
    ...Array.from({ length: COUNTERS }, (_, at) =>
      column(1 + at, counter(from, at), at === 0 ? { nullBitmap: holes, nullCount: ROWS / 8 } : {}),
    ),
    ...Array.from({ length: GAUGES }, (_, at) =>
      column(
        1 + COUNTERS + at,
        Float64Array.from({ length: ROWS }, () => noise() / 1000),
      ),
    ),
    column(
      1 + COUNTERS + GAUGES,
      Uint32Array.from({ length: ROWS }, () => noise() % 64),
    ),
    column(
      2 + COUNTERS + GAUGES,
      Int32Array.from({ length: ROWS }, () => noise() % 300),
      {
        dictionary: words,
      },
    ),
  ];
  const data = makeData({
    type: new Struct(schema.fields),
    length: ROWS,
    nullCount: 0,
    children: children as never[],
  });
  return new Batch(schema, data);
}

function* batches() {
  const rowBytes = 8 * (1 + COUNTERS + GAUGES) + 8;
  const count = Math.ceil((Number(megabytes) * 1e6) / rowBytes / ROWS);
  for (let at = 0; at < count; at++) yield { table: 'large', batch: batch(at * ROWS) };
}

await recordTables(dir, [tableInfo('large', schema)], batches());
