import type { RecordBatch } from '../../arrow.ts';
import { mergeBatches } from './merge-batches.ts';

/** Whether a table says what the ids in others mean. */
export const isNameTable = (table: string): boolean => table.endsWith('.name');

/**
 * The names that a sampler has given. It tells each once, and a part of a recording or a dump is to be understood by
 * itself: so each begins with all of them. What native code numbers is bounded, and so is this.
 */
export class KnownNames {
  readonly #tables = new Map<string, RecordBatch[]>();

  get bytes(): number {
    let bytes = 0;
    for (const batches of this.#tables.values())
      for (const { data } of batches) bytes += data.byteLength;
    return bytes;
  }

  add(table: string, batch: RecordBatch): void {
    const batches = this.#tables.get(table) ?? [];
    this.#tables.set(table, batches);
    batches.push(batch);
    // Each is at least twice as long as the next: few batches, and a name is copied a logarithmic number of times.
    for (;;) {
      const [before, last] = batches.slice(-2);
      if (before === undefined || last === undefined || before.numRows >= 2 * last.numRows) return;
      batches.splice(-2, 2, mergeBatches(last.schema, [before, last]));
    }
  }

  *[Symbol.iterator](): Generator<{ readonly table: string; readonly batch: RecordBatch }> {
    for (const [table, batches] of this.#tables)
      for (const batch of batches) yield { table, batch };
  }
}
