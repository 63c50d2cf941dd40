import { invalidArgument } from '../../errors.ts';
import { parseDurationNs } from '../../units.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor, SourceOption } from './descriptor.ts';
import { flagOption } from './process-options.ts';
import type { TickOptions } from './tick-options.ts';

/** Tables of source `gpu`; `main` is the table `gpu` itself. */
export type GpuTableName =
  | 'main'
  | 'pcie'
  | 'slow'
  | 'process'
  | 'gpm'
  | 'samples'
  | 'event'
  | 'mig';

const TABLES: readonly GpuTableName[] = [
  'main',
  'pcie',
  'slow',
  'process',
  'gpm',
  'samples',
  'event',
  'mig',
];
const SHORTEST_GPM_NS = 100e6;
const UUID = /^(GPU|MIG)-[0-9A-Za-z/-]+$/;

function parseDevices(text: string): string {
  const expects = 'UUIDs such as GPU-... or MIG-..., joined by +';
  if (!text.split('+').every((uuid) => UUID.test(uuid))) {
    throw invalidArgument('gpu:devices', expects, text);
  }
  return text;
}

function parseTables(text: string): string {
  const names: readonly string[] = TABLES;
  if (!text.split('+').every((name) => names.includes(name))) {
    throw invalidArgument('gpu:tables', `${TABLES.join(', ')}, joined by +`, text);
  }
  return text;
}

function parseShare(text: string): string {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text);
  const share = percent === null ? Number(text) : Number(percent[1]) / 100;
  if (text.trim() === '' || !(share > 0 && share <= 1)) {
    throw invalidArgument('gpu:driverShare', 'a share such as 0.005 or 0.5%', text);
  }
  return String(share);
}

/** An interval in human units or, from the builder, in ms; native code reads ns. */
function intervalOption(name: string, help: string, shortestNs = 50_000): SourceOption {
  const expects =
    shortestNs >= 1e6 ? `a time of ${shortestNs / 1e6} ms or more` : 'a time such as 1s';
  return {
    help,
    expects,
    parse: (text) => {
      let ns: number;
      try {
        ns = parseDurationNs(`gpu:${name}`, text);
      } catch {
        throw invalidArgument(`gpu:${name}`, expects, text);
      }
      if (ns < shortestNs || ns > 86_400e9) throw invalidArgument(`gpu:${name}`, expects, text);
      return String(ns);
    },
  };
}

const INTERVALS = {
  slow: intervalOption('slow', 'Interval of gpu.slow. Default 1s.'),
  process: intervalOption('process', 'Interval of gpu.process. Default 1s.'),
  gpm: intervalOption('gpm', 'Interval of gpu.gpm, at least 100ms. Default 1s.', SHORTEST_GPM_NS),
  samples: intervalOption('samples', 'Interval of gpu.samples. Default 1s.'),
};

export const gpuDescriptor: SourceDescriptor = {
  name: 'gpu',
  help: 'NVIDIA GPUs and MIG instances by NVML: use, memory, power, clocks, PCIe bytes, processes, GPM, events.',
  defaultIntervalMs: 100,
  options: {
    devices: {
      help: 'UUIDs of GPUs or MIG instances, joined by +. Default: all.',
      expects: 'UUIDs such as GPU-... or MIG-..., joined by +',
      parse: parseDevices,
    },
    tables: {
      help: `Tables to write, joined by +: ${TABLES.join(', ')}. Default: all.`,
      expects: `${TABLES.join(', ')}, joined by +`,
      parse: parseTables,
    },
    pcie: {
      help: 'auto: PCIe bytes as often as the budget allows; exact: every 40 ms at any cost. Default auto.',
      expects: 'auto or exact',
      parse: (text) => {
        if (text !== 'auto' && text !== 'exact') {
          throw invalidArgument('gpu:pcie', 'auto or exact', text);
        }
        return text;
      },
    },
    driverShare: {
      help: 'Share of wall time inside NVML, per GPU. Default 0.005.',
      expects: 'a share such as 0.005 or 0.5%',
      parse: parseShare,
    },
    wake: flagOption('gpu:wake', 'Ask GPUs that the kernel has put to sleep, which wakes them.'),
    isolate: flagOption('gpu:isolate', 'Read in a helper process, which may crash alone.'),
    ...INTERVALS,
  },
  needs: 'NVIDIA driver',
};

/** Options of {@link gpu}. */
export interface GpuOptions extends TickOptions {
  /** UUIDs of GPUs (`GPU-...`, with their MIG instances) or of MIG instances (`MIG-...`); default: all. */
  readonly devices?: readonly string[];
  /** Tables to write; default: all. */
  readonly tables?: readonly GpuTableName[];
  /**
   * `auto` (default): PCIe bytes as often as `driverShare` allows. `exact`: every 40 ms, outside the budget, so that the
   * 32-bit counters of the driver cannot wrap unseen; what that costs is a row of `state`.
   */
  readonly pcie?: 'auto' | 'exact';
  /** Share of wall time that may be spent inside NVML, per GPU; above 0, up to 1. Default 0.005. */
  readonly driverShare?: number;
  /** Ask GPUs that the kernel has put to sleep, which wakes them. Default false. */
  readonly wake?: boolean;
  /**
   * Read in a helper process. A crash of the driver library is then a row of `state` (`crashed`) and a new helper after 1 s,
   * 2 s ... 30 s, instead of the end of this process. Costs a Node process (about 60 MB); rows come up to 0.1 s later.
   * Default false.
   */
  readonly isolate?: boolean;
  /** Interval of `gpu.slow`, ms. Default 1000 (or `intervalMs` where that is longer), like the three below. */
  readonly slowIntervalMs?: number;
  /** Interval of `gpu.process`, ms. */
  readonly processIntervalMs?: number;
  /** Interval of `gpu.gpm`, ms; at least 100, because the counters give wrong numbers over shorter windows. */
  readonly gpmIntervalMs?: number;
  /** Interval at which the driver's sample buffers are fetched into `gpu.samples`, ms. */
  readonly samplesIntervalMs?: number;
}

/**
 * Every NVIDIA GPU and MIG instance by NVML, keyed by UUID, in up to seven tables:
 *
 * - `gpu`: utilization, memory, power, clocks, temperature, P-state, throttle reasons at `intervalMs`
 * - `gpu.pcie`: bytes over PCIe, cumulative; rows are `ambiguous` where the driver's 32-bit counters may have wrapped unseen
 * - `gpu.slow`: energy, limits, BAR1, margins, throttle times, link, PCIe errors, NVLink, ECC, remapped rows, fans
 * - `gpu.process`: memory and utilization per process, with container pid and cgroup
 * - `gpu.gpm`: hardware counters over windows of at least 100 ms (Hopper and later)
 * - `gpu.samples`: the driver's own sample buffers (power every 20 ms)
 * - `gpu.event`: XIDs, ECC errors, clock and MIG changes
 * - `gpu.mig`: how many more GPU instances of each profile alone could be made, of GPUs in MIG mode
 *
 * A value that a GPU or driver does not have is null, with the reason in its field's metadata or in `state`. Calls that cost
 * more than `driverShare` allows are made more rarely, the dearest first: rows then repeat the last answer (`changed` and
 * `read` are bit masks over the value columns in their order), and `state` says the interval each really got.
 *
 * Drivers refresh most values every 100 to 200 ms, so a shorter `intervalMs` than the default 100 mostly repeats them.
 *
 * One NVML session serves all samplers and workers of the process. A GPU whose call hangs, that is lost or sleeps is a row
 * of `state`; the others go on.
 *
 * Errors: `ERR_NO_DRIVER`, `ERR_LIBRARY_MISSING`, `ERR_NVML`, `ERR_NO_DEVICE`; `WARPGAUGE_NVML` names another library.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.gpu({ intervalMs: 100, tables: ['main', 'pcie'] })] });
 * ```
 */
export function gpu(options: GpuOptions = {}): SourceSpec {
  const {
    devices,
    tables,
    pcie,
    driverShare,
    wake,
    isolate,
    slowIntervalMs,
    processIntervalMs,
    gpmIntervalMs,
    samplesIntervalMs,
    ...ticks
  } = options;
  const given: Record<string, string | undefined> = {
    devices: devices?.join('+'),
    tables: tables?.join('+'),
    pcie,
    driverShare: driverShare === undefined ? undefined : String(driverShare),
    wake: wake === undefined ? undefined : String(wake),
    isolate: isolate === undefined ? undefined : String(isolate),
    slow: slowIntervalMs === undefined ? undefined : `${slowIntervalMs}ms`,
    process: processIntervalMs === undefined ? undefined : `${processIntervalMs}ms`,
    gpm: gpmIntervalMs === undefined ? undefined : `${gpmIntervalMs}ms`,
    samples: samplesIntervalMs === undefined ? undefined : `${samplesIntervalMs}ms`,
  };
  const parsed: Record<string, string> = {};
  for (const [key, text] of Object.entries(given)) {
    const option = gpuDescriptor.options[key];
    if (text !== undefined && option !== undefined) parsed[key] = option.parse(text);
  }
  return { source: 'gpu', ...ticks, options: parsed };
}
