// Rows of a running sampler as plain values, for tests of the gpu source.
import assert from 'node:assert/strict';
import type { Row, Sampler } from '#lib/monitor/types';

export type Rows = Map<string, Row[]>;

/** The rows of a batch; times exact (Arrow's own getter answers in milliseconds). */
function batchRows(batch: import('apache-arrow').RecordBatch): Row[] {
  const times = batch.schema.fields.map((field, index) =>
    String(field.type).startsWith('Timestamp')
      ? (batch.data.children[index]?.values as BigInt64Array)
      : undefined,
  );
  return Array.from({ length: batch.numRows }, (_, row) => {
    const values: Record<string, Row[string]> = {};
    for (const [index, field] of batch.schema.fields.entries()) {
      values[field.name] = times[index]?.[row] ?? batch.getChildAt(index)?.get(row) ?? null;
    }
    return values;
  });
}

/** Takes batches until `enough` of the rows so far, or for `limitMs`; then the test decides what is missing. */
export async function collect(
  sampler: Sampler,
  enough: (rows: Rows) => boolean,
  limitMs = 10_000,
): Promise<Rows> {
  const rows: Rows = new Map();
  const iterator = sampler[Symbol.asyncIterator]();
  const deadline = performance.now() + limitMs;
  const ended = Symbol('ended');
  while (!enough(rows)) {
    const left = deadline - performance.now();
    if (left <= 0) break;
    let timer: NodeJS.Timeout | undefined;
    const next = await Promise.race([
      iterator.next(),
      new Promise<typeof ended>((resolve) => {
        timer = setTimeout(() => resolve(ended), left);
      }),
    ]);
    clearTimeout(timer);
    if (next === ended || next.done) break;
    const { table, batch } = next.value;
    const list = rows.get(table) ?? [];
    list.push(...batchRows(batch));
    rows.set(table, list);
  }
  return rows;
}

/** The rows of a table; the test fails where there are fewer than `least`. */
export function rowsOf(rows: Rows, table: string, least = 1): Row[] {
  const list = rows.get(table) ?? [];
  assert(list.length >= least, `${table}: ${list.length} rows, ${least} wanted`);
  return list;
}

/** The last row of a table. */
export function lastOf(rows: Rows, table: string): Row {
  return rowsOf(rows, table).at(-1) as Row;
}

/** Waits until `done`, looking every 10 ms. */
export async function until(done: () => boolean, what: string, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!done()) {
    assert(performance.now() < deadline, `waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
