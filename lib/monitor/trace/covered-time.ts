/** Beyond this many stretches that do not touch each other nothing is said any more: 128 MiB. */
const MOST = 8_388_608;
const FIRST = 4096;

/**
 * A set of times, as stretches in any order: how much of a given stretch it covers. Stretches that touch are joined, so
 * that memory follows the gaps between kernels, not their number.
 */
export class CoveredTime {
  #starts = new Float64Array(FIRST);
  #ends = new Float64Array(FIRST);
  #count = 0;
  /** Covered before the n-th stretch; made when it is first asked. */
  #before: Float64Array | null = null;
  #tooMany = false;

  /** There were too many stretches: what it covers is not known. */
  get tooMany(): boolean {
    return this.#tooMany;
  }

  add(start: number, end: number): void {
    if (!(end > start) || this.#tooMany) return;
    this.#before = null;
    if (this.#count === this.#starts.length && !this.#makeRoom()) return;
    this.#starts[this.#count] = start;
    this.#ends[this.#count] = end;
    this.#count++;
  }

  /** All that is covered. */
  total(): number {
    return this.within(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  /** How much of this stretch is covered. */
  within(start: number, end: number): number {
    if (this.#before === null) this.#index();
    return this.#until(end) - this.#until(start);
  }

  /** Covered before `time`. */
  #until(time: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return 0;
    const last = low - 1;
    const before = (this.#before as Float64Array)[last] as number;
    return before + Math.min(time, this.#ends[last] as number) - (this.#starts[last] as number);
  }

  #makeRoom(): boolean {
    this.#join();
    if (this.#count <= this.#starts.length / 2) return true;
    if (2 * this.#starts.length > MOST) {
      this.#tooMany = true;
      this.#count = 0;
      return false;
    }
    for (const name of ['starts', 'ends'] as const) {
      const old = name === 'starts' ? this.#starts : this.#ends;
      const twice = new Float64Array(2 * old.length);
      twice.set(old);
      if (name === 'starts') this.#starts = twice;
      else this.#ends = twice;
    }
    return true;
  }

  /** Sorts the stretches and joins those that touch. */
  #join(): void {
    const count = this.#count;
    const starts = this.#starts;
    const ends = this.#ends;
    const order = new Uint32Array(count);
    let sorted = true;
    for (let at = 0; at < count; at++) {
      order[at] = at;
      if (at > 0 && (starts[at] as number) < (starts[at - 1] as number)) sorted = false;
    }
    if (!sorted) order.sort((a, b) => (starts[a] as number) - (starts[b] as number));
    const oldStarts = sorted ? starts : starts.slice(0, count);
    const oldEnds = sorted ? ends : ends.slice(0, count);
    let made = 0;
    for (const at of order) {
      const start = oldStarts[at] as number;
      const end = oldEnds[at] as number;
      if (made > 0 && start <= (ends[made - 1] as number)) {
        ends[made - 1] = Math.max(ends[made - 1] as number, end);
      } else {
        starts[made] = start;
        ends[made] = end;
        made++;
      }
    }
    this.#count = made;
  }

  #index(): void {
    this.#join();
    const before = new Float64Array(this.#count);
    for (let at = 1; at < this.#count; at++) {
      const length = (this.#ends[at - 1] as number) - (this.#starts[at - 1] as number);
      before[at] = (before[at - 1] as number) + length;
    }
    this.#before = before;
  }
}

/** Beyond this many moments no more are kept: 128 MiB. */
const MOST_MOMENTS = 16_777_216;

/** Moments in any order: how many lie in a stretch. */
export class Moments {
  #times = new Float64Array(FIRST);
  #count = 0;
  #sorted = true;
  tooMany = false;

  add(time: number): void {
    if (this.#count === this.#times.length) {
      if (this.#count >= MOST_MOMENTS) {
        this.tooMany = true;
        return;
      }
      const twice = new Float64Array(2 * this.#count);
      twice.set(this.#times);
      this.#times = twice;
    }
    if (this.#count > 0 && time < (this.#times[this.#count - 1] as number)) this.#sorted = false;
    this.#times[this.#count++] = time;
  }

  /** From `start` to `end`, both included. */
  within(start: number, end: number): number {
    if (!this.#sorted) {
      this.#times.subarray(0, this.#count).sort();
      this.#sorted = true;
    }
    return this.#below(end, true) - this.#below(start, false);
  }

  #below(time: number, included: boolean): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = this.#times[middle] as number;
      if (at < time || (included && at === time)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
