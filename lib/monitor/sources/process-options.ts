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
