import { invalidArgument } from '../../errors.ts';
import type { SourceOption } from './descriptor.ts';

/** An option that names a process. */
export function pidOption(name: string, help: string): SourceOption {
  const expects = 'a process id';
  return {
    help,
    expects,
    parse: (text) => {
      if (!/^[1-9]\d{0,9}$/.test(text) || Number(text) >= 2 ** 31) {
        throw invalidArgument(name, expects, text);
      }
      return text;
    },
  };
}

/** Processes that a builder was given, checked as those of the command line are. */
export function pids(
  given: Readonly<Record<string, number | undefined>>,
): Readonly<Record<string, string>> {
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    named.map(([name, value]) => [name, pidOption(name, '').parse(String(value))]),
  );
}

/** An option that is on or off. */
export function flagOption(name: string, help: string): SourceOption {
  const expects = 'true or false';
  return {
    help: `${help} Default false.`,
    expects,
    parse: (text) => {
      if (text !== 'true' && text !== 'false') throw invalidArgument(name, expects, text);
      return text;
    },
  };
}
