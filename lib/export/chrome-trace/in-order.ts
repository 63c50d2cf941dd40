/** Rows that are sorted at a time. CUPTI hands records over by buffers of some thousand, one per thread or stream. */
const WINDOW = 32_768;

/** Something with a beginning; of two that begin together the longer one comes first, as nesting wants it. */
export interface Timed {
  readonly at: number;
  readonly length: number;
}

const byStart = (a: Timed, b: Timed): number => a.at - b.at || b.length - a.length;

/**
 * Brings rows that come nearly in the order of time into it, with a bounded number of them in memory. One that comes more
 * than 32,768 rows late is passed on late.
 */
export class InOrder<T extends Timed> {
  #rows: T[] = [];
  readonly #take: (row: T) => void;

  constructor(take: (row: T) => void) {
    this.#take = take;
  }

  add(row: T): void {
    this.#rows.push(row);
    if (this.#rows.length >= 2 * WINDOW) this.#pass(WINDOW);
  }

  end(): void {
    this.#pass(this.#rows.length);
  }

  #pass(count: number): void {
    this.#rows.sort(byStart);
    for (let at = 0; at < count; at++) this.#take(this.#rows[at] as T);
    this.#rows = this.#rows.slice(count);
  }
}
