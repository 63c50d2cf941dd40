import { invalidArgument } from './errors.ts';

export const KiB = 1024;
export const MiB: number = 1024 ** 2;
export const GiB: number = 1024 ** 3;

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  K: KiB,
  M: MiB,
  G: GiB,
  T: 1024 ** 4,
  KIB: KiB,
  MIB: MiB,
  GIB: GiB,
  TIB: 1024 ** 4,
};

const DURATION_UNITS_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  min: 60e9,
  h: 3600e9,
};

/** Bytes of a human size such as `64KiB`, `1GiB`, `16M` (binary) or `32MB` (decimal). */
export function parseBytes(name: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match ? BYTE_UNITS[(match[2] ?? '').toUpperCase()] : undefined;
  const bytes = match && unit !== undefined ? Number(match[1]) * unit : Number.NaN;
  if (!Number.isSafeInteger(bytes))
    throw invalidArgument(name, 'a size such as 64KiB or 1GiB', text);
  return bytes;
}

/** Nanoseconds of a human duration such as `100us`, `10s` or `5m`. */
export function parseDurationNs(name: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|min|h)$/.exec(text.trim());
  const unit = match ? DURATION_UNITS_NS[match[2] ?? ''] : undefined;
  if (!match || unit === undefined)
    throw invalidArgument(name, 'a duration such as 100us, 10s or 5m', text);
  return Math.round(Number(match[1]) * unit);
}

/** `1073741824` as `1 GiB`; exact binary multiples only lose their zeros, nothing is rounded to a lie. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ['TiB', 1024 ** 4],
    ['GiB', GiB],
    ['MiB', MiB],
    ['KiB', KiB],
  ] as const) {
    if (bytes >= size) {
      const value = bytes / size;
      return `${Number.isInteger(value) ? value : value.toFixed(2)} ${unit}`;
    }
  }
  return `${bytes} B`;
}

/** Nanoseconds with the unit that keeps three significant digits. */
export function formatDuration(ns: number): string {
  const abs = Math.abs(ns);
  if (abs >= 60e9) return `${(ns / 60e9).toFixed(1)} min`;
  if (abs >= 1e9) return `${(ns / 1e9).toPrecision(3)} s`;
  if (abs >= 1e6) return `${(ns / 1e6).toPrecision(3)} ms`;
  if (abs >= 1e3) return `${(ns / 1e3).toPrecision(3)} us`;
  return `${Math.round(ns)} ns`;
}
