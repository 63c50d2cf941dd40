import { invalidArgument } from '../../errors.ts';
import { MiB, parseBytes } from '../../units.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

const SHORTEST_MS = 0.05;
const LONGEST_MS = 1000;
const LEAST_BUFFER = MiB;
const MOST_BUFFER = 2048 * MiB;
const UUID = /^(GPU|MIG)-[0-9A-Za-z/-]+$/;
const EXPECTS_DEVICES = 'UUIDs such as GPU-... or MIG-..., joined by +';
const EXPECTS_BYTES = 'a size from 1MiB to 2GiB';

function parseDevices(text: string): string {
  if (!text.split('+').every((uuid) => UUID.test(uuid))) {
    throw invalidArgument('pm-sampling:devices', EXPECTS_DEVICES, text);
  }
  return text;
}

function parseBuffer(text: string): string {
  const bytes = parseBytes('pm-sampling:hardwareBufferBytes', text);
  if (bytes < LEAST_BUFFER || bytes > MOST_BUFFER) {
    throw invalidArgument('pm-sampling:hardwareBufferBytes', EXPECTS_BYTES, text);
  }
  return String(bytes);
}

export const pmSamplingDescriptor: SourceDescriptor = {
  name: 'pm-sampling',
  help: 'Hardware counters of NVIDIA GPUs at up to 20 kHz by CUPTI: PCIe, memory and NVLink bytes, SM and tensor activity.',
  defaultIntervalMs: 1,
  options: {
    devices: {
      help: 'UUIDs of GPUs, joined by +. Default: all that CUDA shows.',
      expects: EXPECTS_DEVICES,
      parse: parseDevices,
    },
    hardwareBufferBytes: {
      help: 'Buffer of each GPU that samples wait in, 1MiB to 2GiB. Default 64MiB.',
      expects: EXPECTS_BYTES,
      parse: parseBuffer,
    },
  },
  needs: 'NVIDIA GPU of Turing or later, CUPTI of CUDA 12.6, permission to profile',
};

/** Options of {@link pmSampling}. */
export interface PmSamplingOptions extends TickOptions {
  /** Length of the window that one row counts over, ms; 0.05 to 1000. Default 1. */
  readonly intervalMs?: number;
  /** UUIDs of GPUs (`GPU-...`, in MIG mode `MIG-...`); default: all that CUDA shows. */
  readonly devices?: readonly string[];
  /** Buffer of each GPU in which samples wait until they are decoded, bytes; 1 MiB to 2 GiB. Default 64 MiB. */
  readonly hardwareBufferBytes?: number;
}

/**
 * Hardware counters of whole GPUs at 1 Hz to 20 kHz, whoever uses them, by CUPTI's PM sampling (CUDA 12.6 and later, Turing and
 * later). The GPU itself takes the samples, so a row is exact also where this process is late. Tables:
 *
 * - `pm-sampling`: one row per window and GPU, key `gpu` (UUID), `time` = end of the window, `window_ns`; bytes within the
 *   window over PCIe (`pcie_read_bytes`: arriving at the GPU), memory, NVLink and C2C; shares of time of SMs, tensor pipes
 *   and the graphics engine; shares of the memory's peak; the system clock. What a chip lacks, or cannot count in the same pass, is null with the
 *   reason in its field's metadata.
 * - `pm-sampling.stat`: each second what it cost and lost: `lost_samples`, `overflows`, time of decoding, fill of its buffers.
 *
 * One client can have the counters of a GPU: DCGM (`dcgmi profile --pause`), ncu, nsys and a second sampler exclude each other.
 * On Turing and GA100 the window is a number of clock cycles, worked out from the GPU's highest clock: `window_ns` says how long it was.
 *
 * Errors: `ERR_NO_DRIVER`, `ERR_LIBRARY_MISSING` (no CUPTI, or one before 12.6), `ERR_NO_DEVICE`, `ERR_UNAVAILABLE` (chip, MIG, MPS,
 * confidential mode), `ERR_PERMISSION` and `ERR_BUSY` with the ways out, `ERR_CUDA`, `ERR_CUPTI`. `WARPGAUGE_CUPTI` and
 * `WARPGAUGE_CUDA` name other libraries.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.pmSampling({ intervalMs: 0.1 })] });
 * for await (const { table, batch } of sampler) {
 *   if (table === 'pm-sampling') console.log(batch.getChild('pcie_read_bytes')?.toArray());
 * }
 * ```
 */
export function pmSampling(options: PmSamplingOptions = {}): SourceSpec {
  const { devices, hardwareBufferBytes, ...ticks } = options;
  const { intervalMs } = ticks;
  if (intervalMs !== undefined && !(intervalMs >= SHORTEST_MS && intervalMs <= LONGEST_MS)) {
    throw invalidArgument(
      'pm-sampling intervalMs',
      `${SHORTEST_MS} to ${LONGEST_MS} ms`,
      intervalMs,
    );
  }
  const parsed: Record<string, string> = {};
  if (devices !== undefined) parsed['devices'] = parseDevices(devices.join('+'));
  if (hardwareBufferBytes !== undefined) {
    parsed['hardwareBufferBytes'] = parseBuffer(String(hardwareBufferBytes));
  }
  return { source: 'pm-sampling', ...ticks, options: parsed };
}
