import type { NativeSourceRequest } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { MiB } from '../units.ts';
import { nameInstances } from './source-spec.ts';
import { SOURCES } from './sources/registry.ts';
import type { SampleOptions, SourceSpec } from './types.ts';

const MIN_INTERVAL_MS = 0.05;
const DAY_MS = 86_400_000;
const DEFAULT_BATCH_MS = 100;
const DEFAULT_UNDELIVERED_BYTES = 64 * MiB;

const INSTANCE = /^[A-Za-z][\w.@-]*$/;

/** A number of milliseconds as whole nanoseconds. */
function nanoseconds(name: string, ms: number, least: number, most: number): number {
  if (typeof ms !== 'number' || !(ms >= least && ms <= most)) {
    throw invalidArgument(name, `a number of ${least} to ${most} (ms)`, ms);
  }
  return Math.round(ms * 1e6);
}

/** Whether a source is to be read by a helper process: an option that the source must know. */
function isIsolated(spec: SourceSpec): boolean {
  return spec.options['isolate'] === 'true';
}

function requestOf(spec: SourceSpec): NativeSourceRequest {
  const descriptor = SOURCES.find((source) => source.name === spec.source);
  if (descriptor === undefined) {
    const known = SOURCES.map((source) => source.name).join(', ');
    throw new WarpgaugeError(
      'ERR_UNKNOWN_SOURCE',
      `Expected a source (${known}) but received ${JSON.stringify(spec.source)}`,
      { fix: 'warpgauge sources' },
    );
  }
  for (const key of Object.keys(spec.options)) {
    if (!Object.hasOwn(descriptor.options, key)) {
      const known = Object.keys(descriptor.options).join(', ') || 'none';
      throw invalidArgument(`options of ${spec.source}`, known, key);
    }
  }
  const intervalMs = spec.intervalMs ?? descriptor.defaultIntervalMs;
  return {
    name: spec.source,
    instance: spec.instance ?? spec.source,
    root: process.env['WARPGAUGE_ROOT'] ?? '',
    intervalNs: nanoseconds(`intervalMs of ${spec.source}`, intervalMs, MIN_INTERVAL_MS, DAY_MS),
    optional: spec.optional ?? false,
    options: spec.options,
  };
}

/** The options of `monitor.sample`, complete and checked. */
export interface CheckedOptions {
  readonly sources: readonly NativeSourceRequest[];
  /** Sources that helper processes read, without their option `isolate`. */
  readonly isolated: readonly SourceSpec[];
  /** Number of tables that the script feeds. */
  readonly tables: number;
  readonly batchMs: number;
  readonly maxUndeliveredBytes: number;
  /** 0: until it is closed. */
  readonly durationNs: number;
  readonly keepAlive: boolean;
}

export function checkOptions(options: SampleOptions): CheckedOptions {
  if (!Array.isArray(options?.sources)) {
    throw invalidArgument('sources', 'a list such as [monitor.vmstat()]', options?.sources);
  }
  for (const spec of options.sources as readonly (SourceSpec | null | undefined)[]) {
    if (
      typeof spec?.source !== 'string' ||
      typeof spec.options !== 'object' ||
      spec.options === null
    ) {
      throw invalidArgument('sources', 'what monitor.vmstat() and its siblings make', spec);
    }
    if (spec.instance !== undefined && !INSTANCE.test(spec.instance)) {
      // It becomes the name of a file.
      throw invalidArgument('instance', 'letters, digits, _ - . and @', spec.instance);
    }
  }
  const specs = nameInstances(options.sources);
  const requests = specs.map(requestOf);
  const names = [
    ...requests.map((source) => source.instance),
    ...(options.tables ?? []).map((each) => each.name),
  ];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw invalidArgument('instance', 'names that differ', twice);
  if (names.length === 0) throw invalidArgument('sources', 'at least one source or table', '[]');
  const bytes = options.maxUndeliveredBytes ?? DEFAULT_UNDELIVERED_BYTES;
  if (!Number.isSafeInteger(bytes) || bytes < MiB) {
    throw invalidArgument(
      'maxUndeliveredBytes',
      `a whole number of at least ${MiB} (bytes)`,
      bytes,
    );
  }
  const batchMs = options.batchMs ?? DEFAULT_BATCH_MS;
  nanoseconds('batchMs', batchMs, 1, 60_000);
  return {
    sources: requests.filter((_, at) => !isIsolated(specs[at] as SourceSpec)),
    isolated: specs.filter(isIsolated).map((spec) => {
      const { isolate, ...rest } = spec.options;
      return { ...spec, options: rest };
    }),
    tables: options.tables?.length ?? 0,
    batchMs,
    maxUndeliveredBytes: bytes,
    durationNs:
      options.durationMs === undefined
        ? 0
        : nanoseconds('durationMs', options.durationMs, MIN_INTERVAL_MS, 365 * DAY_MS),
    keepAlive: options.keepAlive ?? false,
  };
}
