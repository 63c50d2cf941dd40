const PAGE_BITS = 1 << 16;

/** A set of 32-bit numbers that mostly follow each other, as correlation ids do: a bit each. */
export class IdSet {
  readonly #pages = new Map<number, Uint32Array>();

  has(id: number): boolean {
    const page = this.#pages.get(Math.floor(id / PAGE_BITS));
    return page !== undefined && (((page[(id % PAGE_BITS) >> 5] ?? 0) >>> (id & 31)) & 1) === 1;
  }

  /** False: it was there already. */
  add(id: number): boolean {
    if (this.has(id)) return false;
    const number = Math.floor(id / PAGE_BITS);
    const page = this.#pages.get(number) ?? new Uint32Array(PAGE_BITS / 32);
    this.#pages.set(number, page);
    const at = (id % PAGE_BITS) >> 5;
    page[at] = (page[at] ?? 0) | (1 << (id & 31));
    return true;
  }

  /** False: it was not there. */
  remove(id: number): boolean {
    if (!this.has(id)) return false;
    const page = this.#pages.get(Math.floor(id / PAGE_BITS)) as Uint32Array;
    const at = (id % PAGE_BITS) >> 5;
    page[at] = (page[at] ?? 0) & ~(1 << (id & 31));
    return true;
  }
}
