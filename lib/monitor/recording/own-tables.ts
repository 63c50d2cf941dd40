import type { NativeClockAnchor } from '../../addon.ts';
import {
  type ColumnMeaning,
  type DataType,
  describedField,
  Int32,
  Int64,
  int64Data,
  makeData,
  plainData,
  RecordBatch,
  Schema,
  Struct,
  TimestampNanosecond,
  Utf8,
} from '../../arrow.ts';
import type { AuditRecord } from '../../audit.ts';
import type { StateRow, TableInfo } from '../types.ts';

/** Something that happened at a time, set by the script, by `warpgauge mark` or by the recorder itself. */
export interface Mark {
  /** UTC, ns. */
  readonly time: bigint;
  readonly name: string;
  /** Free facts about it. */
  readonly attributes: Readonly<Record<string, string | number | boolean>> | null;
}

type Cell = bigint | number | string | null;

interface OwnColumn {
  readonly name: string;
  readonly type: DataType;
  readonly nullable?: boolean;
  readonly meaning?: ColumnMeaning & { readonly kind?: string };
}

const TIME: OwnColumn = {
  name: 'time',
  type: new TimestampNanosecond('UTC'),
  meaning: { unit: 'ns', source: 'CLOCK_MONOTONIC plus the offset of the recording' },
};

const text = (name: string, nullable = false): OwnColumn => ({ name, type: new Utf8(), nullable });
const nanoseconds = (name: string, source: string): OwnColumn => ({
  name,
  type: new Int64(),
  meaning: { unit: 'ns', source },
});

/** A table that the recorder fills itself, few rows at a time. */
export class OwnTable {
  readonly info: TableInfo;
  readonly #columns: readonly OwnColumn[];

  constructor(name: string, grain: string, columns: readonly OwnColumn[]) {
    this.#columns = columns;
    const fields = columns.map((column) =>
      describedField(column.name, column.type, column.nullable ?? false, column.meaning),
    );
    this.info = {
      name,
      source: name,
      kind: 'event',
      grain,
      keys: [],
      intervalMs: null,
      schema: new Schema(fields, new Map(Object.entries({ kind: 'event', grain, keys: '[]' }))),
      simulated: false,
    };
  }

  batch(rows: readonly Readonly<Record<string, Cell>>[]): RecordBatch {
    const { schema } = this.info;
    const children = this.#columns.map(({ name, type }) => {
      const values = rows.map((row) => row[name] ?? null);
      return type instanceof Int64 || type instanceof TimestampNanosecond
        ? int64Data(values as (bigint | null)[], type)
        : plainData(values, type);
    });
    const type = new Struct(schema.fields);
    return new RecordBatch(schema, makeData({ type, length: rows.length, nullCount: 0, children }));
  }
}

/** `mark`: names of moments and phases. */
export function markTable(): OwnTable {
  return new OwnTable('mark', 'one row per mark', [TIME, text('name'), text('attributes', true)]);
}

export function markRow(mark: Mark): Readonly<Record<string, Cell>> {
  const { time, name, attributes } = mark;
  return { time, name, attributes: attributes === null ? null : JSON.stringify(attributes) };
}

/** `state`: why values are null, and what changed while recording. */
export function stateTable(): OwnTable {
  return new OwnTable('state', 'one row per change', [
    TIME,
    text('source'),
    text('table'),
    text('key'),
    text('field'),
    text('state'),
    text('reason'),
    { name: 'code', type: new Int64(), meaning: { unit: '1', source: 'errno or nvmlReturn_t' } },
  ]);
}

export function stateRow(row: StateRow): Readonly<Record<string, Cell>> {
  return { ...row, code: BigInt(row.code) };
}

/** `clock`: the clocks of the machine once a second. */
export function clockTable(): OwnTable {
  return new OwnTable('clock', 'one row per second', [
    TIME,
    nanoseconds('monotonic_ns', 'CLOCK_MONOTONIC'),
    nanoseconds('realtime_ns', 'CLOCK_REALTIME'),
    nanoseconds('boottime_ns', 'CLOCK_BOOTTIME'),
    nanoseconds('bracket_ns', 'CLOCK_MONOTONIC before and after the other two'),
    {
      name: 'clock_state',
      type: new Int32(),
      nullable: true,
      meaning: {
        unit: '1',
        kind: 'state',
        source: 'adjtimex: 0 synchronized, 1-4 leap second, 5 not synchronized',
      },
    },
    {
      name: 'max_error_ns',
      type: new Int64(),
      nullable: true,
      meaning: { unit: 'ns', source: 'adjtimex maxerror' },
    },
  ]);
}

/** `action`: changes that warpgauge made to the machine while recording. */
export function actionTable(): OwnTable {
  return new OwnTable('action', 'one row per change', [
    TIME,
    text('transaction'),
    { name: 'step', type: new Int64() },
    text('action'),
    text('op'),
    text('target'),
    text('prior'),
    text('asked'),
    text('observed'),
    text('outcome'),
    { name: 'undoes', type: new Int64(), nullable: true },
    text('error', true),
    {
      name: 'duration_ns',
      type: new Int64(),
      nullable: true,
      meaning: { unit: 'ns', source: 'the audit log of warpgauge' },
    },
    text('reason'),
    { name: 'pid', type: new Int64() },
  ]);
}

/** Values of any kind are JSON, as in the log. */
export function actionRow(
  record: AuditRecord,
  utcOffsetNs: bigint,
): Readonly<Record<string, Cell>> {
  const { undoes, duration_ns } = record;
  return {
    time: BigInt(record.monotonic_ns) + utcOffsetNs,
    transaction: record.transaction,
    step: BigInt(record.step),
    action: record.action,
    op: record.op,
    target: record.target,
    prior: JSON.stringify(record.prior),
    asked: JSON.stringify(record.asked),
    observed: JSON.stringify(record.observed),
    outcome: record.outcome,
    undoes: undoes === null ? null : BigInt(undoes),
    error: record.error,
    duration_ns: duration_ns === null ? null : BigInt(duration_ns),
    reason: record.reason,
    pid: BigInt(record.pid),
  };
}

export function clockRow(
  anchor: NativeClockAnchor,
  utcOffsetNs: bigint,
): Readonly<Record<string, Cell>> {
  return {
    time: anchor.monotonicNs + utcOffsetNs,
    monotonic_ns: anchor.monotonicNs,
    realtime_ns: anchor.realtimeNs,
    boottime_ns: anchor.boottimeNs,
    bracket_ns: BigInt(anchor.bracketNs),
    clock_state: anchor.state,
    max_error_ns: anchor.maxErrorNs === null ? null : BigInt(anchor.maxErrorNs),
  };
}
