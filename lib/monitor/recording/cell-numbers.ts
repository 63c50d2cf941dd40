import { type Data, DataType } from '../../arrow.ts';

/** Reads a cell as a number; NaN where it is null. */
export type NumberReader = (at: number) => number;

const isWide = ({ type }: Data): boolean =>
  DataType.isTimestamp(type) ||
  DataType.isDuration(type) ||
  (DataType.isInt(type) && type.bitWidth === 64);

/** Whether a cell has a value. */
export function validReader({ nullCount, nullBitmap, offset }: Data): (at: number) => boolean {
  if (nullCount === 0) return () => true;
  return (at) => (((nullBitmap[(offset + at) >> 3] ?? 0) >> ((offset + at) & 7)) & 1) === 1;
}

/**
 * The cells of a column of one batch as halves: `high * 2^32 + low` of 64-bit integers, `low` alone of all else. Differences
 * of two cells are exact below 2^53 that way, without the bigint per cell that would be most of the cost of a million rows.
 */
export interface Halves {
  readonly high: NumberReader;
  readonly low: NumberReader;
}

const ZERO: NumberReader = () => 0;

export function halvesReader(data: Data): Halves {
  if (!isWide(data)) {
    const { values, type, offset } = data;
    if (DataType.isBool(type)) {
      const bits = values as Uint8Array;
      return {
        high: ZERO,
        low: (at) => ((bits[(offset + at) >> 3] ?? 0) >> ((offset + at) & 7)) & 1,
      };
    }
    const cells = values as ArrayLike<number>;
    return { high: ZERO, low: (at) => cells[at] as number };
  }
  const wide = data.values as BigInt64Array;
  const low = new Uint32Array(wide.buffer, wide.byteOffset, 2 * wide.length);
  const unsigned = DataType.isInt(data.type) && !data.type.isSigned;
  const high = unsigned ? low : new Int32Array(low.buffer, low.byteOffset, low.length);
  return { high: (at) => high[2 * at + 1] as number, low: (at) => low[2 * at] as number };
}

/** A reader of a column as numbers, 64-bit cells relative to `base`. */
export function numberReader(data: Data, base = 0n): NumberReader {
  const { high, low } = halvesReader(data);
  const valid = validReader(data);
  const [baseHigh, baseLow] = [Number(base >> 32n), Number(BigInt.asUintN(32, base))];
  const read: NumberReader = isWide(data)
    ? (at) => (high(at) - baseHigh) * 2 ** 32 + (low(at) - baseLow)
    : low;
  return data.nullCount === 0 ? read : (at) => (valid(at) ? read(at) : Number.NaN);
}
