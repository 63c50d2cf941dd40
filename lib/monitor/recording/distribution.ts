/** Beyond this many different values they are rounded. */
const MAX_EXACT = 4096;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The value with 10 significant bits: at most 0.1 % off. */
function rounded(value: number): number {
  float[0] = value;
  if (!Number.isFinite(float[0])) return value;
  bits[0] = ((bits[0] as number) + 0x2000) & 0xffffc000;
  return float[0];
}

/**
 * Order statistics of any number of values in bounded memory: exact up to 4,096 different values, then within 0.1 %.
 * Smallest, largest and count are always exact.
 */
export class Distribution {
  count = 0;
  min: number = Number.POSITIVE_INFINITY;
  max: number = Number.NEGATIVE_INFINITY;
  /** Values are rounded: the quantiles are within 0.1 %. */
  approximate = false;
  #counts = new Map<number, number>();
  #sorted: [value: number, upTo: number][] | null = null;

  add(value: number): void {
    this.count++;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    const key = this.approximate ? rounded(value) : value;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    this.#sorted = null;
    if (!this.approximate && this.#counts.size > MAX_EXACT) this.#coarsen();
  }

  /** The smallest value that at least `share` of all values do not exceed; null where there is none. */
  quantile(share: number): number | null {
    if (this.count === 0) return null;
    this.#sorted ??= this.#sort();
    const rank = Math.max(1, Math.ceil(share * this.count));
    const [value] = this.#sorted.find(([, upTo]) => upTo >= rank) ?? [this.max];
    return Math.min(Math.max(value, this.min), this.max);
  }

  #sort(): [number, number][] {
    let upTo = 0;
    return [...this.#counts]
      .sort(([a], [b]) => a - b)
      .map(([value, count]) => {
        upTo += count;
        return [value, upTo];
      });
  }

  #coarsen(): void {
    this.approximate = true;
    const counts = new Map<number, number>();
    for (const [value, count] of this.#counts) {
      const key = rounded(value);
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
    this.#counts = counts;
  }
}
