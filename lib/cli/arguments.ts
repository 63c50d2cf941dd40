import { invalidArgument } from '../errors.ts';
import { parseDurationNs } from '../units.ts';

/** Parser of an option that takes a time above 0; ms. */
export function milliseconds(name: string): (text: string) => number {
  return (text) => {
    const ms = parseDurationNs(name, text) / 1e6;
    if (ms === 0) throw invalidArgument(name, 'a time above 0', text);
    return ms;
  };
}

/** A whole number, 0 included. */
export function parseCount(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw invalidArgument(name, 'a whole number', text);
  return Number(text);
}

/** Parser of an option that takes a whole number above 0. */
export function wholeNumber(name: string): (text: string) => number {
  return (text) => {
    if (!/^[1-9]\d*$/.test(text)) throw invalidArgument(name, 'a whole number above 0', text);
    return Number(text);
  };
}

/** Parser of an option that may be given several times. */
export function repeated(text: string, before: readonly string[]): string[] {
  return [...before, text];
}
