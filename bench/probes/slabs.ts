/**
 * Started by cases/slabs.ts: rows, columns, rows of one slab, rounds. One line per round. The slabs are laid out as
 * native/core/slab.cc does and filled before the clock runs.
 */
import * as arrow from 'warpgauge/arrow';
import type { Binding, NativeBatch, NativeColumn } from '#lib/addon';
import { NativeTableReader } from '#lib/monitor/batch';
import { arrowType } from '#lib/monitor/columns';

export interface SlabsLine {
  readonly builder_ns: number;
  readonly slabs_ns: number;
  /** `slabs_ns` measured once more. */
  readonly again_ns: number;
}

/** One value in so many is null. */
const NULL_EVERY = 100;
const ALIGNMENT = 64;
const TYPES = ['u64', 'u64', 'f64', 'u64', 'u32'] as const;

function columnsOf(count: number): NativeColumn[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `value_${index}`,
    // Not a time: the builder of TimestampNanosecond takes milliseconds, and loses digits.
    type: index === 0 ? 'i64' : (TYPES[index % TYPES.length] as NativeColumn['type']),
    kind: index === 0 ? 'key' : 'counter',
    unit: '1',
    source: 'bench/probes/slabs.ts',
    nullable: index !== 0,
    reason: '',
    window: '',
  }));
}

const cellBytes = (column: NativeColumn): number => (column.type === 'u32' ? 4 : 8);
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Two numbers per column, as samplerLayout gives them, and the bytes of a slab. */
function layoutOf(columns: readonly NativeColumn[], capacity: number): [number[], number] {
  const layout: number[] = [];
  let at = 0;
  for (const column of columns) {
    layout.push(at);
    at += aligned(cellBytes(column) * capacity);
    layout.push(column.nullable ? at : -1);
    if (column.nullable) at += aligned((capacity + 7) >> 3);
  }
  return [layout, at];
}

function fill(buffer: ArrayBuffer, columns: readonly NativeColumn[], rows: number): void {
  const [layout] = layoutOf(columns, rows);
  for (const [index, column] of columns.entries()) {
    const offset = layout[2 * index] as number;
    if (column.type === 'f64') {
      const cells = new Float64Array(buffer, offset, rows);
      for (let row = 0; row < rows; row++) cells[row] = row / (index + 1);
    } else if (column.type === 'u32') {
      const cells = new Uint32Array(buffer, offset, rows);
      for (let row = 0; row < rows; row++) cells[row] = row + index;
    } else {
      const cells = new BigInt64Array(buffer, offset, rows);
      for (let row = 0; row < rows; row++) cells[row] = BigInt(1.7e18 + row * 1e5 + index);
    }
    const validity = layout[2 * index + 1] as number;
    if (validity < 0) continue;
    const bits = new Uint8Array(buffer, validity, (rows + 7) >> 3).fill(0xff);
    for (let row = index; row < rows; row += NULL_EVERY) {
      bits[row >> 3] = (bits[row >> 3] as number) & ~(1 << (row & 7));
    }
  }
}

/** What somebody writes who has the numbers and not the slabs. */
function build(
  slabs: readonly NativeBatch[],
  columns: readonly NativeColumn[],
  layout: readonly number[],
): arrow.Table {
  const vectors: Record<string, arrow.Vector> = {};
  for (const [index, column] of columns.entries()) {
    const type = arrowType(arrow, column.type, index);
    const builder = arrow.makeBuilder({ type, nullValues: [null] });
    for (const { rows, buffer } of slabs) {
      const offset = layout[2 * index] as number;
      const cells =
        column.type === 'f64'
          ? new Float64Array(buffer, offset, rows)
          : column.type === 'u32'
            ? new Uint32Array(buffer, offset, rows)
            : column.type === 'u64'
              ? new BigUint64Array(buffer, offset, rows)
              : new BigInt64Array(buffer, offset, rows);
      for (let row = 0; row < rows; row++) {
        const isNull = column.nullable && row % NULL_EVERY === index;
        builder.append(isNull ? null : cells[row]);
      }
    }
    vectors[column.name] = builder.finish().toVector();
  }
  return new arrow.Table(vectors);
}

/** Two ways to the same table, or neither of them means anything. Untimed. */
function compare(left: arrow.Table, right: arrow.Table, rows: number): void {
  if (left.numRows !== rows || right.numRows !== rows) throw new Error('rows are missing');
  for (const [index, { name }] of left.schema.fields.entries()) {
    const [a, b] = [left.getChildAt(index), right.getChildAt(index)];
    if (a?.nullCount !== b?.nullCount) throw new Error(`${name}: the nulls differ`);
    for (let row = 0; row < rows; row += 997) {
      if (a?.get(row) !== b?.get(row)) throw new Error(`${name}, row ${row}: the values differ`);
    }
  }
}

function main(rows: number, columnCount: number, slabRows: number, rounds: number): void {
  const columns = columnsOf(columnCount);
  const [layout, bytes] = layoutOf(columns, slabRows);
  const first = new ArrayBuffer(bytes);
  fill(first, columns, slabRows);
  const slabs = Array.from({ length: Math.ceil(rows / slabRows) }, (_, index): NativeBatch => {
    const buffer = index === 0 ? first : first.slice(0);
    const left = Math.min(slabRows, rows - index * slabRows);
    return {
      table: 0,
      rows: left,
      capacity: slabRows,
      buffer,
      ticks: 0,
      missed: 0,
      droppedBatches: 0,
      droppedRows: 0,
    };
  });
  const binding = { samplerLayout: () => layout } as unknown as Binding;
  const reader = new NativeTableReader(arrow, binding, 0, 0, {
    name: 'slabs',
    source: 'slabs',
    kind: 'sample',
    grain: 'one row per tick',
    intervalNs: 100_000,
    simulated: false,
    names: '',
    columns,
  });
  const wrap = (): arrow.Table => new arrow.Table(slabs.map((slab) => reader.batch(slab)));
  const timed = (work: () => arrow.Table): [number, arrow.Table] => {
    const start = process.hrtime.bigint();
    const table = work();
    return [Number(process.hrtime.bigint() - start), table];
  };
  for (let round = -1; round < rounds; round++) {
    const [before, table] = timed(wrap);
    const [builderNs, built] = timed(() => build(slabs, columns, layout));
    const [after] = timed(wrap);
    if (round <= 0) compare(table, built, rows);
    if (round < 0) continue;
    const [slabsNs, againNs] = round % 2 === 0 ? [before, after] : [after, before];
    const line: SlabsLine = { builder_ns: builderNs, slabs_ns: slabsNs, again_ns: againNs };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

const [rows, columnCount, slabRows, rounds] = process.argv.slice(2).map(Number);
main(rows as number, columnCount as number, slabRows as number, rounds as number);
