import type { RecordBatch, Schema } from '../arrow.ts';
import { mergeBatches } from '../monitor/recording/merge-batches.ts';

/**
 * The same rows in batches of exactly `rows` each, the last one of what remains: a recording has batches of ten rows and
 * of a million, and a writer wants neither.
 */
export async function* regroup(
  schema: Schema,
  batches: AsyncIterable<RecordBatch>,
  rows: number,
): AsyncGenerator<RecordBatch, void, undefined> {
  let held: RecordBatch[] = [];
  let heldRows = 0;
  for await (const batch of batches) {
    let from = 0;
    while (heldRows + batch.numRows - from >= rows) {
      const end = from + rows - heldRows;
      held.push(from === 0 && end === batch.numRows ? batch : batch.slice(from, end));
      yield mergeBatches(schema, held);
      held = [];
      heldRows = 0;
      from = end;
    }
    if (from === batch.numRows) continue;
    const rest = from === 0 ? batch : batch.slice(from);
    held.push(rest);
    heldRows += rest.numRows;
  }
  if (heldRows > 0) yield mergeBatches(schema, held);
}
