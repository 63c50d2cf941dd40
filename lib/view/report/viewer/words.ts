import type { Quantity } from '../format.ts';

const digits = (value: number, significant = 4): string => {
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(significant - 1 - magnitude, 0), 9));
};

/** A number with a decimal prefix: 1.234 G. */
function scaled(value: number, unit: string, significant: number): string {
  for (const [prefix, size] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (Math.abs(value) >= size) return `${digits(value / size, significant)} ${prefix}${unit}`;
  }
  return `${digits(value, significant)} ${unit}`.trimEnd();
}

/** Bytes with a binary prefix, exact where they are a whole number of them. */
export function bytesWords(bytes: number, significant = 4): string {
  for (const [unit, size] of [
    ['TiB', 1024 ** 4],
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const) {
    if (Math.abs(bytes) < size) continue;
    const value = bytes / size;
    return `${Number.isInteger(value) ? value : digits(value, significant)} ${unit}`;
  }
  return `${digits(bytes, significant)} B`;
}

/** A measured value in words. */
export function valueWords(
  value: number,
  quantity: Quantity,
  unit: string,
  significant = 4,
): string {
  switch (quantity) {
    case 'bytes/s':
      return scaled(value, 'B/s', significant);
    case 'bytes':
      return bytesWords(value, significant);
    case 'share':
      return `${digits(value * 100, Math.min(significant, 3))} %`;
    case 'per second':
      return `${scaled(value, '', significant)}/s`.replace(' /s', '/s');
    case 'number':
      return Math.abs(value) >= 1e4
        ? scaled(value, unit, significant)
        : `${digits(value, significant)} ${unit}`.trimEnd();
  }
}

/** A length of time: 1.234 ms. */
export function durationWords(ns: number, significant = 4): string {
  for (const [unit, size] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['µs', 1e3],
  ] as const) {
    if (Math.abs(ns) >= size * 0.99995) return `${digits(ns / size, significant)} ${unit}`;
  }
  return `${digits(ns, 3)} ns`;
}

/** Steps of a time axis, ns. */
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap((n) => [n, n * 1e3, n * 1e6]);
const LONG = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600].map(
  (s) => s * 1e9,
);

/** A round step of which at least `least` ns pass. */
export function timeStep(least: number): number {
  const all = [...STEPS, ...LONG].sort((a, b) => a - b);
  return all.find((step) => step >= least) ?? Math.ceil(least / 86_400e9) * 86_400e9;
}

/** An offset from the start with as many digits as a step needs: 1:02:03.25, 12.5 s. */
export function offsetWords(ns: number, step: number): string {
  const places = Math.max(0, Math.min(9, Math.ceil(9 - Math.log10(step) - 1e-9)));
  const sign = ns < 0 ? '-' : '';
  const seconds = Math.abs(ns) / 1e9;
  if (seconds < 60) return `${sign}${seconds.toFixed(places)} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const rest = (seconds % 60).toFixed(places).padStart(places > 0 ? places + 3 : 2, '0');
  // 59.9996 with three places would be 60.000.
  if (Number(rest) >= 60)
    return offsetWords(ns + ((ns < 0 ? -1 : 1) * 10 ** (9 - places)) / 2, step);
  const two = String(minutes).padStart(hours > 0 ? 2 : 1, '0');
  return `${sign}${hours > 0 ? `${hours}:` : ''}${two}:${rest}`;
}

/** The time of day of an offset, UTC, with microseconds. */
export function clockWords(base: bigint, ns: number): string {
  const time = base + BigInt(Math.round(ns));
  const rest = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const iso = new Date(Number((time - rest) / 1_000_000n)).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}.${String(rest).padStart(9, '0').slice(0, 6)} UTC`;
}

/** A round number at or above a value: 1, 2, 2.5, 5 times a power of ten; of bytes a power of two. */
export function ceiling(value: number, quantity: Quantity): number {
  if (!(value > 0)) return 1;
  if (quantity === 'share')
    return value <= 0.1 ? 0.1 : value <= 0.25 ? 0.25 : value <= 0.5 ? 0.5 : Math.max(1, value);
  if (quantity === 'bytes') {
    const power = 2 ** Math.floor(Math.log2(value));
    return (
      [1, 1.25, 1.5, 2].map((factor) => factor * power).find((limit) => limit >= value) ?? value
    );
  }
  const power = 10 ** Math.floor(Math.log10(value));
  return (
    [1, 1.5, 2, 2.5, 4, 5, 8, 10]
      .map((factor) => factor * power)
      .find((limit) => limit >= value * 0.999) ?? value
  );
}
