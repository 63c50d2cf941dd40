import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { didYouMean } from '../near-match.ts';
import { parseDurationNs } from '../units.ts';
import type { SourceDescriptor } from './sources/descriptor.ts';
import { SOURCES } from './sources/registry.ts';
import type { SourceSpec } from './types.ts';

const MIN_INTERVAL_MS = 0.05;
const MAX_INTERVAL_MS = 86_400_000;

/**
 * Parts of `text` between separators; those inside `/.../` do not separate (`cpu/event=0x3c,umask=0x1/`). A value
 * that begins with a slash is a path and ends at the next separator, as does one whose slashes are not paired.
 */
export function splitOutsideSlashes(text: string, separator: ',' | '+'): string[] {
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string;
    if (letter === separator) {
      parts.push(part);
      part = '';
      continue;
    }
    part += letter;
    if (letter !== '/' || /(^|=)\/[^=]*$/.test(part)) continue;
    const close = text.indexOf('/', at + 1);
    if (close < 0) continue;
    part += text.slice(at + 1, close + 1);
    at = close;
  }
  parts.push(part);
  return parts;
}

function unknownSource(name: string, sources: readonly SourceDescriptor[]): WarpgaugeError {
  const names = sources.map((source) => source.name);
  return new WarpgaugeError(
    'ERR_UNKNOWN_SOURCE',
    `Expected a source (${names.join(', ')}) but received ${JSON.stringify(name)}${didYouMean(name, names)}`,
    { fix: 'warpgauge sources' },
  );
}

/** ms of `interval=100us`; 0.05 ms to a day. */
function parseInterval(name: string, text: string): number {
  const expected = 'a time from 50us to 24h';
  let ms: number;
  try {
    ms = parseDurationNs(name, text) / 1e6;
  } catch {
    throw invalidArgument(name, expected, text);
  }
  if (ms < MIN_INTERVAL_MS || ms > MAX_INTERVAL_MS) throw invalidArgument(name, expected, text);
  return ms;
}

/**
 * One `--source` argument: `vmstat`, `vmstat:interval=10ms`, `perf:events=page-faults+cpu/event=0x3c/,pid=1`. The
 * name ends at the first `:`; `interval` is for every source, all else are the options of the source.
 *
 * @throws WarpgaugeError `ERR_UNKNOWN_SOURCE`, or `ERR_INVALID_ARGUMENT` in one sentence with what was expected.
 */
export function parseSourceSpec(
  text: string,
  sources: readonly SourceDescriptor[] = SOURCES,
): SourceSpec {
  const colon = text.indexOf(':');
  const name = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? '' : text.slice(colon + 1);
  const descriptor = sources.find((source) => source.name === name);
  if (descriptor === undefined) throw unknownSource(name, sources);
  const known = ['interval', ...Object.keys(descriptor.options)];
  const options: Record<string, string> = {};
  let intervalMs: number | undefined;
  for (const part of rest === '' ? [] : splitOutsideSlashes(rest, ',')) {
    const equals = part.indexOf('=');
    const key = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? null : part.slice(equals + 1);
    const label = `${name}:${key}`;
    const option = Object.hasOwn(descriptor.options, key) ? descriptor.options[key] : undefined;
    if (key !== 'interval' && option === undefined) {
      throw new WarpgaugeError(
        'ERR_INVALID_ARGUMENT',
        `Expected an option of ${name} (${known.join(', ')}) but received ${JSON.stringify(key)}${didYouMean(key, known)}`,
      );
    }
    if (value === null || value === '') {
      throw invalidArgument(
        label,
        option === undefined ? 'a time such as 100us' : option.expects,
        value ?? part,
      );
    }
    if (Object.hasOwn(options, key) || (key === 'interval' && intervalMs !== undefined)) {
      throw invalidArgument(label, 'one value', part);
    }
    if (option === undefined) intervalMs = parseInterval(label, value);
    else options[key] = option.parse(value);
  }
  return { source: name, options, ...(intervalMs === undefined ? {} : { intervalMs }) };
}

/** Gives each source its instance name: `perf`, and `perf@2` for the second one. */
export function nameInstances(specs: readonly SourceSpec[]): SourceSpec[] {
  const counts = new Map<string, number>();
  return specs.map((spec) => {
    if (spec.instance !== undefined) return spec;
    const count = (counts.get(spec.source) ?? 0) + 1;
    counts.set(spec.source, count);
    return { ...spec, instance: count === 1 ? spec.source : `${spec.source}@${count}` };
  });
}
