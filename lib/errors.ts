/**
 * Stable codes of every error this package throws or reports. The native side uses the same texts
 * (`Status::code()` in native/core/status.h).
 */
export type ErrorCode =
  // using the library
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_CLOSED'
  | 'ERR_ADDON_LOAD'
  | 'ERR_INTERRUPTED'
  // libraries and devices
  | 'ERR_LIBRARY_MISSING'
  | 'ERR_NO_DRIVER'
  | 'ERR_NO_DEVICE'
  | 'ERR_CUDA'
  | 'ERR_NVML'
  | 'ERR_CUPTI'
  | 'ERR_SYMBOL_MISSING'
  // sources of counters
  /** The machine lacks what a source needs (a cgroup v2 hierarchy, a PMU, a file): a state, not a fault. */
  | 'ERR_UNAVAILABLE'
  /** Someone else holds what only one can have: the hardware counters of a GPU, CUPTI in a process. */
  | 'ERR_BUSY'
  | 'ERR_UNKNOWN_SOURCE'
  | 'ERR_UNKNOWN_EVENT'
  /** A process, cgroup or device that was named does not exist (any more). */
  | 'ERR_GONE'
  // recordings
  | 'ERR_RECORDING'
  // page-backed memory
  | 'ERR_PAGE_KIND_UNSUPPORTED'
  | 'ERR_POOL_EMPTY'
  | 'ERR_POOL_SHORT'
  | 'ERR_CGROUP_HUGETLB_MAX'
  | 'ERR_CGROUP_HUGETLB_RSVD_MAX'
  | 'ERR_THP_DISABLED'
  | 'ERR_PAGES_NOT_GRANTED'
  | 'ERR_MEMLOCK'
  | 'ERR_NUMA_NODE'
  | 'ERR_NO_MEMORY'
  | 'ERR_POPULATE_UNSUPPORTED'
  | 'ERR_SYSCALL'
  // pools and other changes to the machine
  | 'ERR_PERMISSION'
  | 'ERR_LOCKED'
  | 'ERR_JOURNAL'
  | 'ERR_RESERVE_LIMIT'
  /** The machine is no longer what a plan was made for. */
  | 'ERR_STALE_PLAN'
  /** Processes use what was to be changed: see `holders`. */
  | 'ERR_IN_USE'
  /** A setting was written and reads back as something else: `source` names it. */
  | 'ERR_REFUSED'
  // the benchmark
  | 'ERR_IO_URING'
  | 'ERR_ZERO_PAGES'
  | 'ERR_DATA_MISMATCH'
  | 'ERR_TOO_LARGE'
  | 'ERR_ILLEGAL_CELL'
  | 'ERR_CHILD_DIED'
  | 'ERR_OUTPUT';

/** What an error can say besides its code and message. */
export interface ErrorDetails {
  /** The exact command or setting that mends it. */
  readonly fix?: string;
  /** Where the failure came from: a library, a system call or a file. */
  readonly source?: string;
  /** The number `source` gave: errno, CUresult or nvmlReturn_t. */
  readonly status?: number;
  /** Processes that stand in the way, as far as we may see them. */
  readonly holders?: readonly Holder[];
  /** What the caller lacks: `CAP_SYS_ADMIN`, or a device node or file that it may not open. */
  readonly capability?: string;
  readonly cause?: unknown;
}

/** A process that holds a device or a lock. */
export interface Holder {
  readonly pid: number;
  /** null: gone meanwhile, or not ours to look at. */
  readonly command: string | null;
}

/**
 * The one error class of this package: `code` is stable, `message` is for people.
 *
 * @example
 * ```ts
 * import { mitigate, WarpgaugeError } from 'warpgauge';
 * try {
 *   await mitigate.allocate({ bytes: 2 ** 30, pages: '1g' });
 * } catch (error) {
 *   if (error instanceof WarpgaugeError && error.code === 'ERR_POOL_EMPTY') console.error(error.fix);
 * }
 * ```
 */
export class WarpgaugeError extends Error {
  readonly code: ErrorCode;
  readonly fix?: string;
  readonly source?: string;
  readonly status?: number;
  readonly holders?: readonly Holder[];
  readonly capability?: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details.fix !== undefined) this.fix = details.fix;
    if (details.source !== undefined) this.source = details.source;
    if (details.status !== undefined) this.status = details.status;
    if (details.holders !== undefined) this.holders = details.holders;
    if (details.capability !== undefined) this.capability = details.capability;
  }

  /** One plain object for JSON output and for the pipe between processes. */
  toJSON(): ErrorRecord {
    return {
      code: this.code,
      message: this.message,
      fix: this.fix ?? null,
      source: this.source ?? null,
      status: this.status ?? null,
      ...(this.holders === undefined ? {} : { holders: this.holders }),
      ...(this.capability === undefined ? {} : { capability: this.capability }),
    };
  }
}

WarpgaugeError.prototype.name = 'WarpgaugeError';

/** A {@link WarpgaugeError} as plain data. */
export interface ErrorRecord {
  readonly code: ErrorCode;
  readonly message: string;
  readonly fix: string | null;
  readonly source: string | null;
  readonly status: number | null;
  readonly holders?: readonly Holder[];
  readonly capability?: string;
}

/** The sentence every bad argument gets: what was expected, what was given. */
export function invalidArgument(name: string, expected: string, actual: unknown): WarpgaugeError {
  const shown = typeof actual === 'string' ? JSON.stringify(actual) : String(actual);
  return new WarpgaugeError(
    'ERR_INVALID_ARGUMENT',
    `Expected ${expected} for ${name} but received ${shown} of type ${actual === null ? 'null' : typeof actual}`,
  );
}
