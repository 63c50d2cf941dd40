import { type Data, DataType, type Field, TimeUnit, type Vector } from '../arrow.ts';

/** Types of the columns that warpgauge's tables have. */
export type CellKind = 'time' | 'int64' | 'int' | 'float' | 'bool' | 'text' | 'words';

/** What the cells of a column are; null for a type that no table of ours has. */
export function cellKind({ type }: Field): CellKind | null {
  if (DataType.isTimestamp(type)) return type.unit === TimeUnit.NANOSECOND ? 'time' : null;
  if (DataType.isInt(type)) return type.bitWidth === 64 ? 'int64' : 'int';
  if (DataType.isFloat(type)) return type.precision === 0 ? null : 'float';
  if (DataType.isBool(type)) return 'bool';
  if (DataType.isUtf8(type)) return 'text';
  if (DataType.isDictionary(type) && DataType.isUtf8(type.dictionary)) return 'words';
  return null;
}

/** Bits keep the offset of a slice, other values do not: arrow-js cuts their arrays. */
const bit = (bits: Uint8Array, at: number): boolean =>
  (((bits[at >> 3] ?? 0) >> (at & 7)) & 1) === 1;

export function isNull(data: Data, at: number): boolean {
  return data.nullCount > 0 && !bit(data.nullBitmap, data.offset + at);
}

const decoded = new WeakMap<Vector, string[]>();

/** The words of a dictionary, decoded once: all batches of a file share it. */
export function wordsOf(dictionary: Vector): string[] {
  const known = decoded.get(dictionary);
  if (known !== undefined) return known;
  const words = Array.from({ length: dictionary.length }, (_, at) => String(dictionary.get(at)));
  decoded.set(dictionary, words);
  return words;
}

const decoder = new TextDecoder();

/** A reader for the cells of one column of one batch; for cells that are not null. */
export function cellReader(data: Data, kind: CellKind): (at: number) => unknown {
  const values = data.values as ArrayLike<unknown>;
  switch (kind) {
    case 'bool': {
      const bits = data.values as Uint8Array;
      return (at) => bit(bits, data.offset + at);
    }
    case 'text': {
      const bytes = data.values as Uint8Array;
      const offsets = data.valueOffsets as Int32Array;
      return (at) => decoder.decode(bytes.subarray(offsets[at], offsets[at + 1]));
    }
    case 'words': {
      const words = wordsOf(data.dictionary as Vector);
      return (at) => words[values[at] as number] ?? '';
    }
    default:
      return (at) => values[at];
  }
}
