import { invalidArgument, WarpgaugeError } from '../errors.ts';
import type { ArrowLibrary, Column, ColumnType } from './columns.ts';
import { type FedTable, type FedTableSpec, fedInfo, TIME } from './fed-table.ts';
import { now } from './now.ts';
import type { JsTable, Row, TableKind } from './types.ts';

/** A column of {@link table}. */
export interface JsColumn {
  /** `name`: few words, stored once (routes, models); `text`: any text; `time`: UTC ns as bigint. */
  readonly type: Exclude<ColumnType, 'nameId'>;
  /** Base unit: `ns`, `bytes`, `1`. Default: none for texts, `1` for numbers. */
  readonly unit?: string;
  /** Counters grow only; gauges go up and down; state is a word or a flag. Default by type. */
  readonly kind?: 'gauge' | 'counter' | 'state';
  /** Where the numbers come from. Default: empty. */
  readonly source?: string;
}

/** What {@link table} makes. */
export interface JsTableOptions {
  /** As in `batch.table` and in file names: lower case, digits, `_`, `.`, `-`. */
  readonly name: string;
  /** Columns in order; `time` comes first by itself. A type alone is enough. */
  readonly schema: Readonly<Record<string, JsColumn | JsColumn['type']>>;
  /** Names of columns that say which entity a row is about; they are never null. Default none. */
  readonly keys?: readonly string[];
  /** What one row is, in words. Default "one row per append". */
  readonly grain?: string;
  /** Default `event`. */
  readonly kind?: TableKind;
}

const TYPES: readonly string[] = [
  'time',
  'u64',
  'i64',
  'f64',
  'u32',
  'i32',
  'u8',
  'bool',
  'name',
  'text',
];
const RESERVED: readonly string[] = [
  'state',
  'mark',
  'span',
  'clock',
  'action',
  'manifest',
  'environment',
];

function columnOf(name: string, given: JsColumn | JsColumn['type'], isKey: boolean): Column {
  const { type, unit, kind, source } =
    typeof given === 'string' ? ({ type: given } as JsColumn) : given;
  if (!/^[a-z][a-z0-9_]*$/.test(name) || name === 'time') {
    throw invalidArgument('the name of a column', 'lower case letters, digits and _', name);
  }
  if (!TYPES.includes(type)) throw invalidArgument(`the type of ${name}`, TYPES.join(', '), type);
  const isWord = type === 'name' || type === 'text';
  return {
    name,
    type,
    kind: isKey ? 'key' : (kind ?? (isWord || type === 'bool' ? 'state' : 'gauge')),
    unit: unit ?? (isWord ? '' : '1'),
    source: source ?? '',
    nullable: !isKey,
    reason: '',
    window: '',
  };
}

/** A table that the script fills. Rows go to every running sampler that was given the table. */
export class ScriptTable implements JsTable {
  readonly spec: FedTableSpec;
  readonly info: JsTable['info'];
  readonly #sinks = new Set<FedTable>();

  constructor(arrow: ArrowLibrary, options: JsTableOptions) {
    const { name, schema, keys = [], grain = 'one row per append', kind = 'event' } = options;
    if (typeof name !== 'string' || typeof schema !== 'object' || schema === null) {
      throw invalidArgument('table', 'a name and a schema', options);
    }
    if (!/^[a-z][a-z0-9_.-]*$/.test(name) || RESERVED.includes(name) || name.endsWith('.name')) {
      throw invalidArgument(
        'name',
        `a name of lower case letters, digits, _ . and - other than ${RESERVED.join(', ')}`,
        name,
      );
    }
    for (const key of keys) {
      if (!Object.hasOwn(schema, key)) {
        throw invalidArgument(
          'keys',
          `columns of the schema (${Object.keys(schema).join(', ')})`,
          key,
        );
      }
    }
    const columns = Object.entries(schema).map(([each, given]) =>
      columnOf(each, given, keys.includes(each)),
    );
    if (kind === 'span' && !columns.some((each) => each.name === 'duration_ns')) {
      throw invalidArgument('schema', 'a column duration_ns in a span table', Object.keys(schema));
    }
    this.spec = { name, source: name, kind, grain, columns: [TIME, ...columns] };
    this.info = fedInfo(arrow, this.spec);
  }

  get name(): string {
    return this.spec.name;
  }

  append(row: Row): void {
    if (typeof row !== 'object' || row === null) throw invalidArgument('row', 'an object', row);
    const given = row['time'] === undefined ? { time: now(), ...row } : row;
    for (const sink of this.#sinks) sink.append(given);
  }

  appendColumns(
    columns: Readonly<Record<string, ArrayLike<bigint | number | string | boolean>>>,
  ): void {
    const first = Object.values(columns)[0];
    if (first === undefined) throw invalidArgument('columns', 'at least one column', '{}');
    const rows = first.length;
    const given =
      columns['time'] === undefined
        ? { time: new BigInt64Array(rows).fill(now()), ...columns }
        : columns;
    for (const sink of this.#sinks) sink.appendColumns(given, rows);
  }

  /** @internal */
  attach(sink: FedTable): void {
    this.#sinks.add(sink);
  }

  /** @internal */
  detach(sink: FedTable): void {
    this.#sinks.delete(sink);
  }
}

/**
 * A table that this script feeds: application latency, throughput, queue lengths, beside what the machine does and on the
 * same clock. Give it to `monitor.sample({ tables: [...] })`; rows appended while no sampler has it go nowhere.
 *
 * @throws WarpgaugeError `ERR_INVALID_ARGUMENT` for a bad name, column or key.
 * @example
 * ```ts
 * const requests = await monitor.table({
 *   name: 'requests',
 *   schema: { route: 'name', latency_ns: { type: 'u64', unit: 'ns' } },
 *   keys: ['route'],
 *   grain: 'one row per request',
 * });
 * const sampler = await monitor.sample({ sources: [monitor.vmstat()], tables: [requests] });
 * requests.append({ route: '/generate', latency_ns: 12_300_000 });
 * ```
 */
export async function table(options: JsTableOptions): Promise<JsTable> {
  return new ScriptTable(await import('../arrow.ts'), options);
}

/** The table as `table()` made it. */
export function scriptTable(given: JsTable): ScriptTable {
  if (given instanceof ScriptTable) return given;
  throw new WarpgaugeError('ERR_INVALID_ARGUMENT', 'Expected tables made by monitor.table()');
}
