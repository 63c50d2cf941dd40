/**
 * What parent and copying child say to each other: one JSON object per line, requests on the child's standard
 * input, replies on its standard output, one reply per request. The copies run in a child so that a SIGBUS
 * inside a driver's memcpy, or a lost GPU, ends a cell and not the caller's process.
 */
import type {
  NativeBackendInfo,
  NativeBackendOptions,
  NativeSample,
  NativeSampleSpec,
} from '../../addon.ts';
import type { ErrorRecord } from '../../errors.ts';

export type Request =
  | {
      readonly op: 'open';
      readonly parentPid: number;
      readonly cpu: number;
      readonly backend: NativeBackendOptions;
    }
  | { readonly op: 'sample'; readonly spec: NativeSampleSpec }
  | { readonly op: 'die' };

export type Reply =
  | { readonly info: NativeBackendInfo }
  | { readonly sample: NativeSample }
  | { readonly error: ErrorRecord };

/** Splits a stream of text into lines; the rest of an unfinished line waits for the next chunk. */
export function lineSplitter(onLine: (line: string) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      onLine(line);
    }
  };
}
