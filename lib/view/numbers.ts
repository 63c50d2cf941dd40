/** How numbers look in every view; `null` is shown as `-`, never as 0. */

export const ABSENT = '-';

/** `digits` significant digits without exponent: 0.00193, 5.05, 24.4, 1234. */
export function significant(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return ABSENT;
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(digits - 1 - magnitude, 0), 12));
}

export function count(value: number | null): string {
  return value === null ? ABSENT : String(Math.round(value));
}

export function interval(
  ends: readonly [number, number] | null,
  format: (value: number) => string = significant,
): string {
  return ends === null ? ABSENT : `[${format(ends[0])}, ${format(ends[1])}]`;
}

/** 1.3 as `1.30x`: two decimals where the neighbourhood of 1 matters. */
export function ratio(value: number): string {
  return `${ratioNumber(value)}x`;
}

export function ratioNumber(value: number): string {
  return value >= 0.1 && value < 100 ? value.toFixed(2) : significant(value, value < 0.1 ? 2 : 3);
}

export function percent(share: number | null): string {
  if (share === null) return ABSENT;
  return share > 0 && share < 0.005 ? '<1 %' : `${Math.round(share * 100)} %`;
}

export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  const low = sorted[middle - 1];
  if (high === undefined) return null;
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}

/** `1 block`, `2 blocks`. */
export function numberOf(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
