import {
  Bool,
  Dictionary,
  Field,
  Float64,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimestampNanosecond,
  Uint64,
  Utf8,
  vectorFromArray,
} from 'warpgauge/arrow';
import { invalidArgument } from '#lib/errors';
import { now } from '#lib/monitor/now';
import { markRow, markTable } from '#lib/monitor/recording/own-tables';
import type { Sampler, SamplerStats, StateRow, TableInfo } from '#lib/monitor/types';

/** A schema as the native tables have it: time, counter, gauge, flag, name. */
export function fedSchema(id = 1): Schema {
  return new Schema([
    new Field('time', new TimestampNanosecond('UTC'), false, new Map([['unit', 'ns']])),
    new Field(
      'faults',
      new Uint64(),
      true,
      new Map([
        ['unit', '1'],
        ['kind', 'counter'],
        ['source', 'Simulated'],
      ]),
    ),
    new Field(
      'load_ratio',
      new Float64(),
      true,
      new Map([
        ['unit', '1'],
        ['kind', 'gauge'],
      ]),
    ),
    new Field('busy', new Bool(), true),
    new Field('device', new Dictionary(new Utf8(), new Int32(), id), false),
  ]);
}

export const START = 1_700_000_000_000_000_003n;

/**
 * Rows `from` to `from + rows` of the made-up table: every value follows from the row's number, every seventh
 * is null, and the names are `disk0` to `disk<names - 1>`.
 */
export function fedBatch(schema: Schema, from: number, rows: number, names: number): RecordBatch {
  const numbers = Array.from({ length: rows }, (_, at) => from + at);
  const bits = (of: (n: number) => boolean): Uint8Array => {
    const bytes = new Uint8Array(Math.ceil(rows / 8) || 1);
    for (const [at, n] of numbers.entries()) {
      if (of(n)) bytes[at >> 3] = (bytes[at >> 3] as number) | (1 << (at & 7));
    }
    return bytes;
  };
  const valid = {
    length: rows,
    nullCount: numbers.filter((n) => n % 7 === 0).length,
    nullBitmap: bits((n) => n % 7 !== 0),
  };
  const type = (name: string) => schema.fields.find((field) => field.name === name)?.type as never;
  const words = vectorFromArray(
    Array.from({ length: names }, (_, at) => `disk${at}`),
    new Utf8(),
  );
  const children = [
    makeData({
      type: type('time'),
      length: rows,
      nullCount: 0,
      data: BigInt64Array.from(numbers, (n) => START + BigInt(n) * 1_000_001n),
    } as never),
    makeData({
      type: type('faults'),
      ...valid,
      data: BigUint64Array.from(numbers, (n) => 2n ** 63n + BigInt(n) * 3n),
    } as never),
    makeData({
      type: type('load_ratio'),
      ...valid,
      data: Float64Array.from(numbers, (n) => n / 8),
    } as never),
    makeData({ type: type('busy'), ...valid, data: bits((n) => n % 2 === 1) } as never),
    makeData({
      type: type('device'),
      length: rows,
      nullCount: 0,
      data: Int32Array.from(numbers, (n) => n % names),
      dictionary: words,
    } as never),
  ];
  const data = makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children });
  return new RecordBatch(schema, data);
}

export function fedTable(name: string, schema: Schema, intervalMs: number | null = 1): TableInfo {
  return {
    name,
    source: name,
    kind: 'sample',
    grain: 'one row per tick',
    keys: [],
    intervalMs,
    schema,
    simulated: true,
  };
}

type Item = { readonly table: string; readonly batch: RecordBatch } | { readonly waitMs: number };

/** A sampler that gives the batches of a script: Simulated, for tests of what comes after a sampler. */
export class FedSampler implements Sampler {
  readonly tables: readonly TableInfo[];
  states: StateRow[] = [];
  missed = 0;
  taken = 0;
  #script: AsyncIterable<Item> | Iterable<Item>;
  readonly #rows = new Map<string, number>();
  #closed = false;
  #wake: () => void = () => undefined;
  readonly #marks: RecordBatch[] = [];

  constructor(tables: readonly TableInfo[], script: AsyncIterable<Item> | Iterable<Item>) {
    this.tables = tables;
    this.#script = script;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<{
    source: string;
    table: string;
    batch: RecordBatch;
    dropped: { batches: number; rows: number };
  }> {
    for await (const item of this.#script) {
      if (this.#closed) return;
      if ('waitMs' in item) {
        yield* this.#wait(performance.now() + item.waitMs);
        continue;
      }
      const { table, batch } = item;
      this.#rows.set(table, (this.#rows.get(table) ?? 0) + batch.numRows);
      this.taken++;
      yield { source: table, table, batch, dropped: { batches: 0, rows: 0 } };
    }
  }

  /** Until the time is over or the sampler closed; marks come in between. */
  async *#wait(until: number) {
    for (;;) {
      for (let batch = this.#marks.shift(); batch; batch = this.#marks.shift()) {
        yield { source: 'mark', table: 'mark', batch, dropped: { batches: 0, rows: 0 } };
      }
      const left = until - performance.now();
      if (this.#closed || left <= 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  latest(): Record<string, never[]> {
    return {};
  }

  stats(): SamplerStats {
    return {
      cpuNs: 0,
      undeliveredBytes: 0,
      memoryBytes: 0,
      deliveredBytes: 0,
      elapsedNs: 0,
      tables: this.tables.map(({ name, intervalMs }) => ({
        table: name,
        rows: this.#rows.get(name) ?? 0,
        ticks: this.#rows.get(name) ?? 0,
        missed: this.missed,
        droppedBatches: 0,
        droppedRows: 0,
        intervalMs,
        costs: [],
      })),
    };
  }

  pause(): void {}
  flush(): void {}
  resume(): void {}

  mark(name: string, attributes?: Readonly<Record<string, string | number | boolean>>): void {
    if (name === '') throw invalidArgument('name', 'a name', name);
    this.#marks.push(
      markTable().batch([markRow({ time: now(), name, attributes: attributes ?? null })]),
    );
    this.#wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
