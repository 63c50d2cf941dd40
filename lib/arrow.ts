/**
 * Apache Arrow as this package uses it: import it from `warpgauge/arrow`, because tables of one copy of the
 * library are foreign to a second copy (`tableToIPC` then fails). The index does not load it: it costs about
 * 0.1 s.
 */
import {
  type Data,
  type DataType,
  Field,
  type Int64,
  makeData,
  type TimestampNanosecond,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';

export * from 'apache-arrow';

/** What a column means; stored in the metadata of its field. */
export interface ColumnMeaning {
  /** Base unit: `ns`, `bytes`, `1` for counts and ratios. */
  readonly unit?: string;
  /** Where the number comes from: a system call, a file, a library. */
  readonly source?: string;
  /** Why all values of the column are null, where they are. */
  readonly reason?: string;
}

/** A field that carries its unit and source. */
export function describedField<T extends DataType>(
  name: string,
  type: T,
  nullable: boolean,
  meaning: ColumnMeaning = {},
): Field<T> {
  return new Field(name, type, nullable, new Map(Object.entries(meaning)));
}

/**
 * A column of 64-bit integers from numbers; `null` becomes a null, never 0. `type` may be a timestamp: the
 * values are then nanoseconds.
 */
export function int64Data<T extends Int64 | TimestampNanosecond>(
  values: readonly (number | bigint | null)[],
  type: T,
): Data<T> {
  const data = new BigInt64Array(values.length);
  const nullBitmap = new Uint8Array(Math.ceil(values.length / 8));
  let nullCount = 0;
  for (const [index, value] of values.entries()) {
    if (value === null) {
      nullCount++;
      continue;
    }
    data[index] = typeof value === 'bigint' ? value : BigInt(Math.round(value));
    nullBitmap[index >> 3] = (nullBitmap[index >> 3] ?? 0) | (1 << (index & 7));
  }
  const buffers = { type, length: values.length, nullCount, nullBitmap, data };
  // One builder of arrow-js serves both types, but its overloads take one concrete type each.
  return makeData(buffers as unknown as { type: Int64; data: BigInt64Array }) as unknown as Data<T>;
}

/** A column of any other type from plain values. */
export function plainData<T extends DataType>(values: readonly unknown[], type: T): Data<T> {
  const [data] = vectorFromArray(values as T['TValue'][], type).data;
  return (data ?? makeData({ type } as never)) as Data<T>;
}

/**
 * The exact nanoseconds of a timestamp column. Arrow's own `get` answers in milliseconds and loses the rest.
 *
 * @example
 * ```ts
 * import { nanoseconds, tableFromIPC } from 'warpgauge/arrow';
 * import { readFileSync } from 'node:fs';
 * const table = tableFromIPC(readFileSync('run/samples.arrows'));
 * console.log(nanoseconds(table.getChild('time')!).at(-1));
 * ```
 */
export function nanoseconds(column: Vector<TimestampNanosecond>): BigInt64Array {
  const all = new BigInt64Array(column.length);
  let at = 0;
  for (const chunk of column.data) {
    all.set((chunk.values as BigInt64Array).subarray(0, chunk.length), at);
    at += chunk.length;
  }
  return all;
}
