import type { RecordBatch } from '../../arrow.ts';
import type { SamplerStats } from '../types.ts';

interface Kept {
  readonly table: string;
  readonly batch: RecordBatch;
  readonly at: number;
  readonly bytes: number;
}

/** The batches of the last `lastMs`, in memory: what a flight recorder writes when it is asked to. */
export class FlightRing {
  readonly #lastMs: number;
  readonly #maxBytes: number;
  readonly #now: () => number;
  #kept: Kept[] = [];
  #counts: { readonly at: number; readonly stats: SamplerStats }[] = [];
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

  add(table: string, batch: RecordBatch): void {
    // A batch is at most `batchMs` old when it comes: that much more than `lastMs` is kept.
    this.#kept.push({ table, batch, at: this.#now(), bytes: batch.data.byteLength });
    this.#bytes += batch.data.byteLength;
    this.#forget();
  }

  /** Counts of the sampler now, so that a dump can tell those of its own time. */
  note(stats: SamplerStats): void {
    this.#counts.push({ at: this.#now(), stats });
    this.#forget();
  }

  /** What there is, oldest first, and the counts when its time began. */
  contents(): {
    readonly batches: readonly { readonly table: string; readonly batch: RecordBatch }[];
    readonly before: SamplerStats | null;
  } {
    this.#forget();
    return { batches: [...this.#kept], before: this.#counts[0]?.stats ?? null };
  }

  #forget(): void {
    const oldest = this.#now() - this.#lastMs;
    let gone = 0;
    while (gone < this.#kept.length) {
      const { at, bytes, batch } = this.#kept[gone] as Kept;
      const full = this.#bytes > this.#maxBytes;
      if (at >= oldest && !full) break;
      if (at >= oldest) this.shortenedRows += batch.numRows;
      this.#bytes -= bytes;
      gone++;
    }
    if (gone > 0) this.#kept = this.#kept.slice(gone);
    // The newest counts that are older than the window are those at its beginning.
    while (this.#counts.length > 1 && (this.#counts[1]?.at ?? 0) <= oldest) this.#counts.shift();
  }
}
