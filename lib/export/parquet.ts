import { ByteWriter, type ColumnSource, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import {
  type Data,
  DataType,
  Field,
  type RecordBatch,
  Schema,
  TimestampNanosecond,
  Utf8,
} from '../arrow.ts';
import type { Manifest } from '../monitor/recording/manifest.ts';
import type { RecordedTable } from '../monitor/recording/open-recording.ts';
import { StreamSerializer } from '../monitor/recording/stream-serializer.ts';
import { packageVersion } from '../version.ts';
import { type CellKind, cellKind, cellReader, isNull } from './cells.ts';
import type { OutputFile } from './output-file.ts';
import type { Format, TableWriter } from './types.ts';

type Cells = ColumnSource['data'];

interface ParquetColumn {
  readonly element: SchemaElement;
  readonly encoding?: NonNullable<ColumnSource['encoding']>;
  cells(data: Data): Cells;
}

/**
 * The Parquet type of a column. Unsigned integers are marked by the older `converted_type` alone: hyparquet-writer 0.17
 * writes the width of the newer mark as 32 bits where the format has 8, and DuckDB refuses the file.
 */
function elementOf(field: Field, kind: CellKind): SchemaElement {
  const { name, nullable, type } = field;
  const repetition_type = nullable ? 'OPTIONAL' : 'REQUIRED';
  switch (kind) {
    case 'time':
      // Without a zone: DuckDB cuts a time with one to microseconds.
      return {
        name,
        repetition_type,
        type: 'INT64',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'NANOS' },
      };
    case 'int64':
    case 'int': {
      const { bitWidth, isSigned } = type as { bitWidth: 8 | 16 | 32 | 64; isSigned: boolean };
      const physical = kind === 'int64' ? 'INT64' : 'INT32';
      const converted_type = `${isSigned ? '' : 'U'}INT_${bitWidth}` as const;
      return { name, repetition_type, type: physical, converted_type };
    }
    case 'float': {
      const single = DataType.isFloat(type) && type.precision === 1;
      return { name, repetition_type, type: single ? 'FLOAT' : 'DOUBLE' };
    }
    case 'bool':
      return { name, repetition_type, type: 'BOOLEAN' };
    case 'text':
    case 'words':
      return { name, repetition_type, type: 'BYTE_ARRAY', converted_type: 'UTF8' };
  }
}

/** Arrays that hyparquet-writer takes as they are. Of unsigned 32-bit integers it refuses the upper half, typed. */
const AS_IT_IS = [BigInt64Array, BigUint64Array, Int32Array, Float64Array, Float32Array];

function parquetColumn(field: Field): ParquetColumn {
  const kind = cellKind(field) as CellKind;
  const whole = kind === 'time' || kind === 'int64' || kind === 'int';
  return {
    element: elementOf(field, kind),
    // Counters and times grow by little: differences take half the space of the values, and less time.
    ...(whole ? { encoding: 'DELTA_BINARY_PACKED' } : {}),
    cells(data) {
      const values = data.values as Cells;
      if (
        data.nullCount === 0 &&
        (whole || kind === 'float') &&
        AS_IT_IS.some((type) => values instanceof type)
      ) {
        return (values as Float64Array).subarray(0, data.length);
      }
      const read = cellReader(data, kind);
      return Array.from({ length: data.length }, (_, at) => (isNull(data, at) ? null : read(at)));
    },
  };
}

/** What Arrow readers of Parquet (Polars, pyarrow) take the metadata of the fields from. */
function arrowSchema(schema: Schema): string {
  const fields = schema.fields.map(({ name, type, nullable, metadata }) => {
    const plain = DataType.isTimestamp(type)
      ? new TimestampNanosecond()
      : DataType.isDictionary(type)
        ? new Utf8()
        : type;
    return new Field(name, plain, nullable, metadata);
  });
  const message = new StreamSerializer().begin(new Schema(fields, schema.metadata));
  return Buffer.concat(message).toString('base64');
}

/** What a file says about itself: as Arrow metadata, and as JSON for readers that only have text. */
function metadataOf(manifest: Manifest, table: RecordedTable) {
  const { name, source, kind, grain, keys, intervalMs, ticks, missed, dropped, simulated } = table;
  const about = { name, source, kind, grain, keys, intervalMs, ticks, missed, dropped, simulated };
  const columns = Object.fromEntries(
    table.schema.fields.map((field) => [field.name, Object.fromEntries(field.metadata)]),
  );
  const value = (document: unknown) => JSON.stringify(document);
  return [
    { key: 'warpgauge.recording', value: value({ run: manifest.run, host: manifest.host }) },
    { key: 'warpgauge.table', value: value(about) },
    { key: 'warpgauge.columns', value: value(columns) },
    { key: 'ARROW:schema', value: arrowSchema(table.schema) },
  ];
}

/** Hands over what was written after each row group, which is how memory stays flat. */
class FileBytes extends ByteWriter {
  readonly #file: OutputFile;

  constructor(file: OutputFile) {
    super(1 << 20);
    this.#file = file;
  }

  async flush(): Promise<void> {
    await this.#file.write(this.getBytes());
    this.index = 0;
  }

  override finish(): Promise<void> {
    return this.flush();
  }
}

class ParquetFileWriter implements TableWriter {
  readonly #writer: ParquetWriter;
  readonly #columns: readonly ParquetColumn[];

  constructor(
    file: OutputFile,
    columns: readonly ParquetColumn[],
    kvMetadata: { key: string; value: string }[],
  ) {
    this.#columns = columns;
    this.#writer = new ParquetWriter({
      writer: new FileBytes(file),
      schema: [
        { name: 'schema', num_children: columns.length },
        ...columns.map(({ element }) => element),
      ],
      codec: 'SNAPPY',
      kvMetadata,
      createdBy: `warpgauge ${packageVersion()}`,
    });
  }

  async write(batch: RecordBatch): Promise<void> {
    await this.#writer.write({
      rowGroupSize: batch.numRows,
      columnData: this.#columns.map(({ element, encoding, cells }, index) => ({
        name: element.name,
        data: cells(batch.data.children[index] as Data),
        ...(encoding === undefined ? {} : { encoding }),
      })),
    });
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
  }
}

/**
 * Parquet with Snappy. By hyparquet-writer, because it writes one row group at a time: of the other library from npm,
 * parquet-wasm, memory grows with the file (docs/export.md has the numbers).
 */
export const parquet: Format = {
  extension: 'parquet',
  cells: 1_000_000,
  parts: true,
  takes: (field) => cellKind(field) !== null,
  async prepare({ manifest }, table) {
    const columns = table.schema.fields.map(parquetColumn);
    const metadata = metadataOf(manifest, table);
    return async (file) => new ParquetFileWriter(file, columns, metadata);
  },
};
