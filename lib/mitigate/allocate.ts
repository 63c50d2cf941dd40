import { loadBinding, type NativeRegion } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { PAGE_BYTES, PAGE_KINDS, type PageKind } from '../page-kinds.ts';
import { formatBytes } from '../units.ts';
import { PageRegion } from './page-region.ts';

/** What {@link allocate} is asked for. */
export interface AllocateOptions {
  /** Size in bytes; the mapping is rounded up to whole pages. */
  readonly bytes: number;
  /** `4k`: base pages; `thp`: transparent 2 MB; `2m`, `1g`: from the hugetlb pools (see `mitigate.pools`). */
  readonly pages: PageKind;
  /** Every page on this NUMA node, or an error. Default: the policy of the thread. */
  readonly numaNode?: number;
  /** Never swapped out (mlock). Default false. */
  readonly lock?: boolean;
  /** Backed by a sealed memory file (`region.fd`) that another process can map. Default false. */
  readonly shared?: boolean;
  /**
   * Faults every page in before returning, and proves it. Default true. With false the first touch happens later,
   * where the `page-faults` source sees it (faults of population are invisible to perf):
   * on hugetlb pages it ends the process by SIGBUS where a page cannot be backed (cgroup limit, empty NUMA node).
   */
  readonly populate?: boolean;
  /**
   * Kinds to try in this order where `pages` cannot be had. Default none: the kind asked for or an error, never
   * other pages. `region.pages`, `region.fellBackFrom` and `region.reason` say what happened.
   */
  readonly fallback?: readonly PageKind[];
}

type Resolved = Required<Omit<AllocateOptions, 'fallback' | 'pages'>>;

function flag(name: string, value: boolean | undefined, otherwise: boolean): boolean {
  if (value !== undefined && typeof value !== 'boolean') {
    throw invalidArgument(name, 'true or false', value);
  }
  return value ?? otherwise;
}

function checkKind(name: string, value: unknown): asserts value is PageKind {
  if (!PAGE_KINDS.some((kind) => kind === value)) {
    throw invalidArgument(name, `one of ${PAGE_KINDS.join(', ')}`, value);
  }
}

function resolve(options: AllocateOptions): { kinds: PageKind[]; resolved: Resolved } {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object', options);
  }
  const { bytes, pages, numaNode = -1, fallback = [] } = options;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw invalidArgument('bytes', 'a positive integer', bytes);
  }
  checkKind('pages', pages);
  if (
    options.numaNode !== undefined &&
    !(Number.isSafeInteger(numaNode) && numaNode >= 0 && numaNode < 2 ** 31)
  ) {
    throw invalidArgument('numaNode', 'the number of a NUMA node', numaNode);
  }
  if (!Array.isArray(fallback)) throw invalidArgument('fallback', 'a list of page kinds', fallback);
  for (const kind of fallback) checkKind('fallback', kind);
  const lock = flag('lock', options.lock, false);
  const populate = flag('populate', options.populate, true);
  if (lock && !populate) {
    // mlock faults every page in, so the two contradict each other.
    throw invalidArgument('populate', 'true where lock is true', populate);
  }
  return {
    kinds: [...new Set<PageKind>([pages, ...fallback])],
    resolved: { bytes, numaNode, lock, populate, shared: flag('shared', options.shared, false) },
  };
}

/** Populating what is not there ends in the out-of-memory killer, not in an error that could be caught. */
function checkMemory(kind: PageKind, { bytes, populate }: Resolved): void {
  if (!populate || kind === '2m' || kind === '1g') return; // the kernel itself counts these
  const needed = Math.ceil(bytes / PAGE_BYTES[kind]) * PAGE_BYTES[kind];
  const available = process.availableMemory();
  if (needed <= available) return;
  throw new WarpgaugeError(
    'ERR_NO_MEMORY',
    `${formatBytes(needed)} of ${kind} pages were asked for, but only ${formatBytes(available)} of memory are available`,
    {
      fix: `ask for at most ${available} bytes, or free memory`,
      source: '/proc/meminfo MemAvailable',
    },
  );
}

async function tryKind(kind: PageKind, resolved: Resolved): Promise<NativeRegion> {
  checkMemory(kind, resolved);
  return loadBinding().allocateRegion({ ...resolved, pages: kind, threads: 0 });
}

/** Every kind was refused: the code of the one that was asked for, the reasons of all. */
function allRefused(refused: readonly { kind: PageKind; error: WarpgaugeError }[]): WarpgaugeError {
  const [asked, ...others] = refused as [(typeof refused)[number], ...typeof refused];
  if (others.length === 0) return asked.error;
  const more = others.map(({ kind, error }) => `; fallback ${kind}: ${error.message}`);
  const { code, message, fix, source, status } = asked.error;
  return new WarpgaugeError(code, message + more.join(''), {
    ...(fix === undefined ? {} : { fix }),
    ...(source === undefined ? {} : { source }),
    ...(status === undefined ? {} : { status }),
    cause: asked.error,
  });
}

/**
 * Memory on pages of the kind asked for, proven, or an error that names the knob and the command that mends it. Never
 * other pages without `fallback`, and never SIGBUS: pages are faulted in by the kernel (MADV_POPULATE_WRITE) off the
 * event loop, on several threads from 64 MiB.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_POOL_EMPTY`, `ERR_POOL_SHORT`, `ERR_CGROUP_HUGETLB_RSVD_MAX`,
 * `ERR_CGROUP_HUGETLB_MAX`, `ERR_PAGE_KIND_UNSUPPORTED`, `ERR_THP_DISABLED`, `ERR_PAGES_NOT_GRANTED`, `ERR_MEMLOCK`,
 * `ERR_NUMA_NODE`, `ERR_NO_MEMORY`, `ERR_POPULATE_UNSUPPORTED`, `ERR_PERMISSION` (mbind forbidden by a container).
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * await using region = await mitigate.allocate({ bytes: 64 * 2 ** 20, pages: 'thp' });
 * region.view(0, 4096).fill(1);
 * console.log(region.grantedPages); // { bytesByPageSize: { 2097152: 67108864 }, method: 'PAGEMAP_SCAN+smaps', ... }
 * ```
 */
export async function allocate(options: AllocateOptions): Promise<PageRegion> {
  const { kinds, resolved } = resolve(options);
  const refused: { kind: PageKind; error: WarpgaugeError }[] = [];
  for (const kind of kinds) {
    try {
      const native = await tryKind(kind, resolved);
      return new PageRegion(native, {
        bytes: resolved.bytes,
        shared: resolved.shared,
        pages: kind,
        fellBackFrom: refused[0]?.kind ?? null,
        reason: refused[0]?.error ?? null,
      });
    } catch (error) {
      if (!(error instanceof WarpgaugeError)) throw error;
      refused.push({ kind, error });
    }
  }
  throw allRefused(refused);
}
