import { invalidArgument } from '../../errors.ts';
import { libraryNames } from '../../host/drivers.ts';
import { parseBytes, parseDurationNs } from '../../units.ts';
import {
  CUDA_KINDS,
  type CudaApi,
  type CudaKind,
  checkApi,
  checkKinds,
  DEFAULT_KINDS,
  kindBits,
} from '../trace/kinds.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor, SourceOption } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

const LEAST_BYTES = 2 ** 20;
const MOST_BYTES = 2 ** 34;

/** Bytes of the memory that records wait in, checked. */
export function checkBufferBytes(name: string, bytes: number): number {
  if (!Number.isSafeInteger(bytes) || bytes < LEAST_BYTES || bytes > MOST_BYTES) {
    throw invalidArgument(name, 'a whole number of bytes from 1MiB to 16GiB', bytes);
  }
  return bytes;
}

export function checkFlushMs(name: string, ms: number): number {
  if (!Number.isInteger(ms) || ms < 1 || ms > 10_000) {
    throw invalidArgument(name, 'a whole number of 1 to 10000 (ms)', ms);
  }
  return ms;
}

/** Numbers for native code, which the library makes itself. */
function internal(help: string): SourceOption {
  return {
    help,
    expects: 'a number',
    parse: (text) => {
      if (!/^\d+$/.test(text)) throw invalidArgument('cuda', 'a number', text);
      return text;
    },
  };
}

const override = (library: string): SourceOption => ({
  help: `Set by warpgauge trace: the ${library} that the command is told to use.`,
  expects: 'a path',
  parse: (text) => text,
});

const kinds: SourceOption = {
  help: `Kinds joined by +, out of ${CUDA_KINDS.join(', ')}; default ${DEFAULT_KINDS.join('+')}.`,
  expects: 'kinds joined by +',
  // With the calls that copy, as the default of `api` is.
  parse: (text) => String(kindBits(checkKinds('kinds', text.split('+')), 'memcpy').bits),
};
const api: SourceOption = {
  help: 'API calls to record: memcpy (those that copy), all or none; default memcpy.',
  expects: 'memcpy, all or none',
  parse: (text) => String(['none', 'memcpy', 'all'].indexOf(checkApi('api', text))),
};
const bufferBytes: SourceOption = {
  help: 'Memory that records wait in; default 16MiB.',
  expects: 'a size from 1MiB to 16GiB',
  parse: (text) => String(checkBufferBytes('buffer_bytes', parseBytes('buffer_bytes', text))),
};
const flushMs: SourceOption = {
  help: 'Time between two requests for what CUPTI has; default 20ms.',
  expects: 'a time from 1ms to 10s',
  parse: (text) => String(checkFlushMs('flush_ms', parseDurationNs('flush_ms', text) / 1e6)),
};

export const cudaDescriptor: SourceDescriptor = {
  name: 'cuda',
  help: 'Copies, kernels and API calls of CUDA in this process, by CUPTI; of a command: warpgauge trace.',
  defaultIntervalMs: 2,
  options: {
    kinds,
    api,
    buffer_bytes: bufferBytes,
    flush_ms: flushMs,
    cupti_paths: {
      help: 'More files of libcupti to try, joined by a colon.',
      expects: 'paths',
      parse: (text) => text,
    },
    trace: internal('Set by warpgauge trace.'),
    cuda: override('libcuda'),
    cupti: override('libcupti'),
  },
  standard: { kinds: String(kindBits(DEFAULT_KINDS, 'memcpy').bits) },
  needs: 'NVIDIA driver and CUPTI (of the CUDA toolkit or a Python wheel)',
};

/** Options of {@link cudaTrace}. */
export interface CudaTraceOptions extends TickOptions {
  /** What to record. Default: memcpy, memset, kernel, overhead, api, synchronization. */
  readonly kinds?: readonly CudaKind[];
  /** Which API calls: those that copy (default), all, none. */
  readonly api?: CudaApi;
  /** Memory that records wait in. Default 16 MiB. */
  readonly bufferBytes?: number;
  /** Time between two requests for what CUPTI has, ms. Default 20. */
  readonly flushMs?: number;
}

/** Files of libcupti in the places where toolkits and Python wheels put it, joined by a colon. */
export const cuptiPaths = (): string =>
  libraryNames('cupti')
    .filter((name) => name.includes('/'))
    .join(':');

/**
 * CUDA in this process: each copy, kernel, memset, wait and API call as a row of the tables `cuda.memcpy`, `cuda.kernel` ...
 * (docs/cuda-trace.md), by CUPTI. A process has one of it at a time, and none while another profiler is at work in it
 * (`busy`). For other processes there is `monitor.traceCommand`.
 *
 * `intervalMs` (1 to 10, default 2) is the time between two looks at what was recorded; rows carry the times of CUPTI on
 * the clock of all other tables.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_NO_DRIVER`, `ERR_LIBRARY_MISSING`, `ERR_BUSY`, `ERR_PERMISSION`, `ERR_UNAVAILABLE`.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.cudaTrace({ kinds: ['memcpy', 'kernel'] })] });
 * ```
 */
export function cudaTrace(options: CudaTraceOptions = {}): SourceSpec {
  const {
    kinds: names = DEFAULT_KINDS,
    api: calls = 'memcpy',
    bufferBytes: bytes,
    ...rest
  } = options;
  const { flushMs: flush, ...spec } = rest;
  const wanted = kindBits(checkKinds('kinds', names), checkApi('api', calls));
  return {
    source: 'cuda',
    ...spec,
    options: {
      kinds: String(wanted.bits),
      api: String(wanted.api),
      cupti_paths: cuptiPaths(),
      ...(bytes === undefined
        ? {}
        : { buffer_bytes: String(checkBufferBytes('bufferBytes', bytes)) }),
      ...(flush === undefined ? {} : { flush_ms: String(checkFlushMs('flushMs', flush)) }),
    },
  };
}
