import { invalidArgument } from '../../errors.ts';
import { parseBytes } from '../../units.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor, SourceOption } from './descriptor.ts';
import { flagOption, pidOption, pids } from './process-options.ts';
import type { TickOptions } from './tick-options.ts';

const ringBytes: SourceOption = {
  help: 'Ring of each CPU, bytes, a power of two; default up to 2 MiB each and 64 MiB together.',
  expects: 'a power of two from 4096 bytes to 1GiB',
  parse: (text) => {
    const bytes = parseBytes('ring_bytes', text);
    if (bytes < 4096 || bytes > 2 ** 30 || !Number.isInteger(Math.log2(bytes))) {
      throw invalidArgument('ring_bytes', ringBytes.expects, text);
    }
    return String(bytes);
  },
};

export const pageFaultsDescriptor: SourceDescriptor = {
  name: 'page-faults',
  help: 'Every page fault with address, instruction, thread and the mapping or region it was in.',
  defaultIntervalMs: 10,
  options: {
    pid: pidOption('pid', 'A process, with all its threads; default this one.'),
    tree: pidOption('tree', 'A process and its descendants, also those to come.'),
    system: flagOption('system', 'Every process of the machine.'),
    ring_bytes: ringBytes,
  },
  needs: 'perf events (kernel.perf_event_paranoid <= 1 for faults of the kernel, <= 0 for system)',
};

/** Options of {@link pageFaults}; at most one of `pid`, `tree` and `system`. */
export interface PageFaultsOptions extends TickOptions {
  /** A process, with all its threads, also those to come. Default: this process. */
  readonly pid?: number;
  /** A process and its descendants, also those to come. */
  readonly tree?: number;
  /** Every process of the machine. Default false. */
  readonly system?: boolean;
  /**
   * Ring of each CPU, bytes, a power of two. Default: up to 2 MiB each and 64 MiB together, less where the kernel lets
   * this user lock less (`kernel.perf_event_mlock_kb`).
   */
  readonly ringBytes?: number;
}

/**
 * Table `page-faults`, one row per fault: `time`, `kind` (`minor`, `major`), `pid`, `tid`, `cpu`, `address`,
 * `instruction`, `mapping` (path, `[heap]`, `[stack]` or `//anon`), `region` (`id` of the region of `mitigate.allocate`
 * in this process) and `page_kind` (that of the region, or `2m` and `1g` of a hugetlb mapping; null where unknown).
 *
 * `mapping` is what two witnesses say: the mappings before the fault with the kernel's records of mmap, and the mappings
 * after it. It is null where they disagree, as after a munmap or mremap, which leave no record.
 *
 * Table `page-faults.stat`, each 100 ms at most: cumulative `minor`, `major`, `lost` (the ring was full; also a row of
 * `state`), `unattributed` (rows without a mapping), `torn`, and `rings`, `ring_bytes`.
 *
 * Memory that is populated, locked or pinned (MADV_POPULATE_WRITE, mlock, cudaHostRegister) faults where perf cannot see
 * it: source `process` counts it as `faults_unseen`. A first touch is seen on `mitigate.allocate({ populate: false })`.
 *
 * Default interval 10 ms; rows carry the time of the fault itself.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_GONE`, `ERR_PERMISSION` (with the sysctl), `ERR_UNAVAILABLE`.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.pageFaults({ pid: 4711 })] });
 * ```
 */
export function pageFaults(options: PageFaultsOptions = {}): SourceSpec {
  const { pid, tree, system, ringBytes: bytes, ...rest } = options;
  return {
    source: 'page-faults',
    ...rest,
    options: {
      ...pids({ pid, tree }),
      ...(system === undefined ? {} : { system: String(system) }),
      ...(bytes === undefined ? {} : { ring_bytes: String(bytes) }),
    },
  };
}
