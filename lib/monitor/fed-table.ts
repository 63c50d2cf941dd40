import type { RecordBatch } from '../arrow.ts';
import { type ArrowLibrary, type Column, tableSchema } from './columns.ts';
import { RowBuilder } from './row-builder.ts';
import type { Row, SampledBatch, TableInfo, TableKind, TableStats } from './types.ts';

/** What a table that JavaScript feeds is. */
export interface FedTableSpec {
  readonly name: string;
  readonly source: string;
  readonly kind: TableKind;
  readonly grain: string;
  readonly columns: readonly Column[];
  /** True when it belongs to a table of a driver library that calls itself "Simulated". */
  readonly simulated?: boolean;
}

/** A column with what is the same for most. */
export function column(name: string, type: Column['type'], more: Partial<Column> = {}): Column {
  const kind = type === 'name' || type === 'text' ? 'state' : 'gauge';
  return {
    name,
    type,
    kind,
    unit: type === 'time' ? 'ns' : '',
    source: '',
    nullable: false,
    reason: '',
    window: '',
    ...more,
  };
}

/** The first column of every table. */
export const TIME: Column = column('time', 'time', {
  kind: 'key',
  source: 'CLOCK_MONOTONIC plus one offset per process',
});

/** Rows of one batch at most: a bulk append may give more. */
const BATCH_ROWS = 65_536;

export function fedInfo(arrow: ArrowLibrary, spec: FedTableSpec): TableInfo {
  const { name, source, kind, grain, columns } = spec;
  const keys = columns.slice(1).filter((each) => each.kind === 'key');
  const about = {
    kind,
    grain,
    keys: JSON.stringify(keys.map((key) => key.name)),
    ...(spec.simulated ? { simulated: 'Simulated' } : {}),
  };
  return {
    name,
    source,
    kind,
    grain,
    keys: keys.map((key) => key.name),
    intervalMs: null,
    schema: tableSchema(arrow, columns, about),
    simulated: spec.simulated ?? false,
  };
}

interface Waiting {
  readonly batch: RecordBatch;
  readonly bytes: number;
}

/** Bytes of the buffers of a batch; dictionaries are shared and not counted. */
function bytesOf(batch: RecordBatch): number {
  let bytes = 0;
  for (const { values, nullBitmap, valueOffsets } of batch.data.children) {
    bytes += (values?.byteLength ?? 0) + nullBitmap.byteLength + (valueOffsets?.byteLength ?? 0);
  }
  return bytes;
}

/** A table of one sampler that JavaScript feeds: rows become batches as those of native tables do. */
export class FedTable {
  readonly info: TableInfo;
  readonly #builder: RowBuilder;
  readonly #waiting: Waiting[] = [];
  readonly #onBatch: () => void;
  readonly #keys: readonly string[];
  readonly #counts = new Map<string, { readonly key: Row; count: bigint }>();
  #rows = 0;
  #dropped = { batches: 0, rows: 0 };
  #droppedBefore = { batches: 0, rows: 0 };
  #waitingBytes = 0;
  #last: Row | null = null;

  /** `onBatch` is called when there is something to take. */
  constructor(arrow: ArrowLibrary, spec: FedTableSpec, info: TableInfo, onBatch: () => void) {
    this.info = info;
    this.#builder = new RowBuilder(arrow, spec.name, spec.columns, info.schema);
    this.#onBatch = onBatch;
    this.#keys = info.keys;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  append(row: Readonly<Record<string, Row[string] | undefined>>): void {
    this.#builder.append(row);
    this.#count(this.#builder.rows - 1);
    if (this.#builder.rows >= BATCH_ROWS) this.flush();
  }

  appendColumns(
    columns: Readonly<Record<string, ArrayLike<bigint | number | string | boolean | null>>>,
    rows: number,
  ): void {
    const from = this.#builder.rows;
    this.#builder.appendColumns(columns, rows);
    if (this.#keys.length === 0) {
      if (rows > 0) this.#last = this.#builder.row(this.#builder.rows - 1);
      this.#countKey({}, rows);
    } else {
      for (let at = from; at < from + rows; at++) this.#count(at);
    }
    if (this.#builder.rows >= BATCH_ROWS) this.flush();
  }

  /** Makes a batch of the rows so far. */
  flush(): void {
    const batch = this.#builder.take();
    if (batch === null) return;
    const bytes = bytesOf(batch);
    this.#waiting.push({ batch, bytes });
    this.#waitingBytes += bytes;
    this.#rows += batch.numRows;
    this.#onBatch();
  }

  take(): SampledBatch | null {
    const first = this.#waiting.shift();
    if (first === undefined) return null;
    this.#waitingBytes -= first.bytes;
    const dropped = this.#droppedBefore;
    this.#droppedBefore = { batches: 0, rows: 0 };
    return { source: this.info.source, table: this.info.name, batch: first.batch, dropped };
  }

  /** Drops the oldest batch that nobody took. The newest stays, however large: false when it is the only one. */
  dropOldest(): boolean {
    const first = this.#waiting.length > 1 ? this.#waiting.shift() : undefined;
    if (first === undefined) return false;
    const rows = first.batch.numRows;
    this.#waitingBytes -= first.bytes;
    this.#rows -= rows;
    for (const sum of [this.#dropped, this.#droppedBefore]) {
      sum.batches++;
      sum.rows += rows;
    }
    return true;
  }

  /** Sample tables: the last row of each key. Others: cumulative counts per key. */
  latest(): readonly Row[] {
    if (this.info.kind !== 'sample') {
      return [...this.#counts.values()].map(({ key, count }) => ({ ...key, count }));
    }
    if (this.#keys.length === 0) return this.#last === null ? [] : [this.#last];
    return [...this.#counts.values()].map(({ key }) => key);
  }

  stats(): TableStats {
    return {
      table: this.info.name,
      rows: this.#rows,
      ticks: 0,
      missed: 0,
      droppedBatches: this.#dropped.batches,
      droppedRows: this.#dropped.rows,
      intervalMs: null,
      costs: [],
    };
  }

  #count(at: number): void {
    if (this.info.kind === 'sample') {
      const row = this.#builder.row(at);
      this.#last = row;
      if (this.#keys.length > 0) this.#counts.set(this.#idOf(row), { key: row, count: 1n });
      return;
    }
    const row = this.#keys.length === 0 ? {} : this.#builder.row(at);
    this.#countKey(Object.fromEntries(this.#keys.map((key) => [key, row[key] ?? null])), 1);
  }

  #countKey(key: Row, rows: number): void {
    const id = this.#idOf(key);
    const known = this.#counts.get(id);
    if (known === undefined) this.#counts.set(id, { key, count: BigInt(rows) });
    else known.count += BigInt(rows);
  }

  #idOf(row: Row): string {
    return this.#keys.map((key) => String(row[key])).join('\u0000');
  }
}
