import type { SampledBatch, SamplerStats, TickCounts } from '../types.ts';

type Given = Pick<SampledBatch, 'table' | 'batch' | 'dropped' | 'counts'>;

interface Kept extends Given {
  readonly at: number;
  readonly bytes: number;
}

/** What a dump holds, oldest first. */
export interface FlightContents {
  readonly batches: readonly Pick<Given, 'table' | 'batch'>[];
  /** Counts of exactly these batches: ticks and missed deadlines after the batch before them, rows lost between them. */
  countsOf(stats: SamplerStats): SamplerStats;
}

const NONE: TickCounts = { ticks: 0, missed: 0 };

/** The batches of the last `lastMs`, in memory: what a flight recorder writes when it is asked to. */
export class FlightRing {
  readonly #lastMs: number;
  readonly #maxBytes: number;
  readonly #now: () => number;
  #kept: Kept[] = [];
  /** Counts of the last batch of each table that was forgotten. */
  readonly #forgotten = new Map<string, TickCounts>();
  #bytes = 0;
  /** Rows forgotten before their time, because `maxBytes` was reached. */
  shortenedRows = 0;

  constructor(lastMs: number, maxBytes: number, now: () => number = () => performance.now()) {
    this.#lastMs = lastMs;
    this.#maxBytes = maxBytes;
    this.#now = now;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add({ table, batch, dropped, counts }: Given): void {
    // A batch is at most `batchMs` old when it comes: that much more than `lastMs` is kept.
    const bytes = batch.data.byteLength;
    const kept = { table, batch, dropped, at: this.#now(), bytes };
    this.#kept.push(counts === undefined ? kept : { ...kept, counts });
    this.#bytes += bytes;
    this.#forget();
  }

  contents(): FlightContents {
    this.#forget();
    const batches = [...this.#kept];
    const before = new Map(this.#forgotten);
    return {
      batches,
      countsOf: (stats) => ({
        ...stats,
        tables: stats.tables.map((table) => {
          const held = batches.filter((each) => each.table === table.table);
          const from = before.get(table.table) ?? NONE;
          const to = held.at(-1)?.counts ?? from;
          return {
            ...table,
            ticks: to.ticks - from.ticks,
            missed: to.missed - from.missed,
            droppedBatches: held.reduce((sum, { dropped }) => sum + dropped.batches, 0),
            droppedRows: held.reduce((sum, { dropped }) => sum + dropped.rows, 0),
          };
        }),
      }),
    };
  }

  #forget(): void {
    const oldest = this.#now() - this.#lastMs;
    let gone = 0;
    while (gone < this.#kept.length) {
      const { at, bytes, batch, table, counts } = this.#kept[gone] as Kept;
      const full = this.#bytes > this.#maxBytes;
      if (at >= oldest && !full) break;
      if (at >= oldest) this.shortenedRows += batch.numRows;
      if (counts !== undefined) this.#forgotten.set(table, counts);
      this.#bytes -= bytes;
      gone++;
    }
    if (gone > 0) this.#kept = this.#kept.slice(gone);
  }
}
