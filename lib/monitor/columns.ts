import type * as Arrow from '../arrow.ts';

/** How the cells of a column are stored; the names of native/core/table.h, and `text` for tables fed by JavaScript. */
export type ColumnType =
  | 'time'
  | 'u64'
  | 'i64'
  | 'f64'
  | 'u32'
  | 'i32'
  | 'u8'
  | 'bool'
  | 'name'
  | 'nameId'
  | 'text';

/** A column, whoever writes it. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly kind: 'key' | 'gauge' | 'counter' | 'state';
  readonly unit: string;
  readonly source: string;
  readonly nullable: boolean;
  readonly reason: string;
  readonly window: string;
}

/** Arrow, once it is loaded: it costs about 0.1 s, which only those pay who sample. */
export type ArrowLibrary = typeof Arrow;

/** The Arrow type of a column; `index` numbers the dictionaries of one schema. */
export function arrowType(arrow: ArrowLibrary, type: ColumnType, index: number): Arrow.DataType {
  switch (type) {
    case 'time':
      return new arrow.TimestampNanosecond('UTC');
    case 'u64':
      return new arrow.Uint64();
    case 'i64':
      return new arrow.Int64();
    case 'f64':
      return new arrow.Float64();
    case 'u32':
    case 'nameId':
      return new arrow.Uint32();
    case 'i32':
      return new arrow.Int32();
    case 'u8':
      return new arrow.Uint8();
    case 'bool':
      return new arrow.Bool();
    case 'name':
      return new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32(), index);
    case 'text':
      return new arrow.Utf8();
  }
}

/** The schema of a table: what each field means is in its metadata, what the table is in the schema's. */
export function tableSchema(
  arrow: ArrowLibrary,
  columns: readonly Column[],
  about: Readonly<Record<string, string>>,
): Arrow.Schema {
  const fields = columns.map((column, index) => {
    const { unit, kind, source, window, reason } = column;
    const meaning = Object.entries({ unit, kind, source, window, reason });
    return new arrow.Field(
      column.name,
      arrowType(arrow, column.type, index),
      column.nullable,
      new Map(meaning.filter(([, text]) => text !== '')),
    );
  });
  return new arrow.Schema(fields, new Map(Object.entries(about)));
}

/**
 * A record batch of columns that all have `rows` rows. Deliberately not by its constructor: that copies the schema with all
 * metadata and lets every column through a visitor, 143 us for the 190 columns of vmstat against 0.2 us (medians of 3,000
 * calls, AMD EPYC, Node 20.20, arrow-js 21.2); and so the batch has the very schema of its table. `_metadata` is a
 * protected member: package-lock pins arrow-js, and the tests send batches through its writer and reader.
 */
export function makeBatch(
  arrow: ArrowLibrary,
  schema: Arrow.Schema,
  rowType: Arrow.Struct,
  rows: number,
  children: Arrow.Data[],
): Arrow.RecordBatch {
  const data = new arrow.Data(rowType, 0, rows, 0, { 2: NO_BITS }, children);
  const batch = Object.create(arrow.RecordBatch.prototype) as Arrow.RecordBatch;
  return Object.assign(batch, { schema, data, _metadata: new Map<string, string>() });
}

/** The validity of a column without nulls. */
export const NO_BITS: Uint8Array = new Uint8Array(0);

/** A dictionary in one piece: a second piece would be written as a delta, which Polars refuses. */
export function wordsVector(
  arrow: ArrowLibrary,
  words: readonly string[],
): Arrow.Vector<Arrow.Utf8> {
  const texts = words.map((word) => Buffer.from(word, 'utf8'));
  const valueOffsets = new Int32Array(words.length + 1);
  for (const [index, text] of texts.entries()) {
    valueOffsets[index + 1] = (valueOffsets[index] as number) + text.length;
  }
  const data = Uint8Array.from(Buffer.concat(texts));
  const type = new arrow.Utf8();
  return arrow.makeVector(
    arrow.makeData({ type, length: words.length, nullCount: 0, valueOffsets, data }),
  );
}
