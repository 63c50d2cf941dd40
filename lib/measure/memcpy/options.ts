import { type ErrorRecord, invalidArgument, WarpgaugeError } from '../../errors.ts';
import { formatBytes, GiB, KiB, MiB } from '../../units.ts';
import {
  type BackendName,
  CACHES,
  type CacheState,
  DIRECTIONS,
  type Direction,
  PAGE_KINDS,
  type PageKind,
  type PageState,
  PINS,
  type Pin,
  STATES,
} from './types.ts';

/** What `measure.memcpy()` takes. Every field has a default; see each. */
export interface MemcpyOptions {
  /** `auto` (default) takes `cuda` where a device answers, else the host proxy. */
  readonly backend?: 'auto' | BackendName;
  /** CUDA device ordinal, default 0. */
  readonly device?: number;
  /** NUMA node of the host buffers; default: the GPU's node where known, else the thread's own policy. */
  readonly node?: number;
  /** Processor the copying thread is pinned to; default: the last one this process may use. */
  readonly cpu?: number;
  /** Default: all four. 4k is always measured too, as the base of every ratio. */
  readonly pages?: readonly PageKind[];
  /** Bytes of the host buffer; default 64 KiB, 1, 16, 64 MiB in all cells and 1 GiB for cold DtoH. */
  readonly sizes?: readonly number[];
  /** Default: both. */
  readonly states?: readonly PageState[];
  /** Default: `none` at every size, `register` and `hostalloc` at 64 MiB. */
  readonly pins?: readonly Pin[];
  /** Default: all three. */
  readonly directions?: readonly Direction[];
  /** Whether the caches are flushed before the timed region; default `flushed`. */
  readonly cache?: CacheState;
  /** Exactly this many blocks per run. Below 10: ratios, but no verdicts. Excludes `budgetMs`. */
  readonly blocks?: number;
  /** Time to add blocks in after the tenth, ms; default 60,000. */
  readonly budgetMs?: number;
  /** Fresh child processes, each with blocks of its own; default 1. */
  readonly runs?: number;
  /** Pause between runs, ms; default 5,000: the physical layout of 4 KB pages changes with time. */
  readonly runIntervalMs?: number;
  /** Seed of order, data and resampling; default: drawn from the clock and printed. */
  readonly seed?: number;
  /** Grow hugetlb pools by what the run needs and give exactly that back; default false. Needs root. */
  readonly reserve?: boolean;
  /**
   * `auto` (default): after the blocks, CUPTI watches three more copies of each cell, for a third timer and a check of the
   * memory kind. `off`: CUPTI is not loaded. CUDA backend only.
   */
  readonly cupti?: 'auto' | 'off';
  /** Stops the run at the next sample; what was measured is kept and marked `interrupted`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MemcpyProgress) => void;
  /** Recorded as `argv` and in the reproduce line. */
  readonly argv?: readonly string[];
  /** What a test breaks on purpose, to see that it is noticed. Never set outside tests. */
  readonly hooks?: TestHooks;
}

export interface MemcpyProgress {
  readonly stage: 'reserve' | 'warm-up' | 'measure' | 'witness' | 'analyse' | 'release';
  /** 1-based; 0 outside `measure`. */
  readonly block: number;
  /** Blocks that will surely run. */
  readonly blocks: number;
  readonly run: number;
  readonly runs: number;
  readonly cell: string | null;
  /** 0 to 1 of the time expected. */
  readonly ratio: number;
  readonly elapsed_ns: number;
  readonly remaining_ns: number | null;
}

/** Deliberate faults. Each names the guard that must notice it. */
export interface TestHooks {
  /** Off: cold samples meet memory that the hypervisor took back (conditioning). */
  readonly conditioning?: boolean;
  /** Off: warm sources are never written (zero-page guard). */
  readonly fill?: boolean;
  /** This 4 KB page of the host buffer is not copied, in cells whose id starts with `cell` (verification). */
  readonly drop?: { readonly cell: string; readonly page: number };
  /** The timed region of cells whose id starts with `cell` takes this share longer (power). */
  readonly stretch?: { readonly cell: string; readonly share: number };
  /** The child kills itself instead of running this cell (child protocol). */
  readonly kill?: { readonly cell: string; readonly block: number };
}

/** Options with every default in place, checked. */
export interface ResolvedOptions {
  readonly backend: 'auto' | BackendName;
  readonly device: number;
  readonly node: number | null;
  readonly cpu: number | null;
  readonly pages: readonly PageKind[];
  /** null: the default grid. */
  readonly sizes: readonly number[] | null;
  readonly states: readonly PageState[];
  /** null: `none` everywhere, `register` and `hostalloc` at 64 MiB. */
  readonly pins: readonly Pin[] | null;
  readonly directions: readonly Direction[];
  readonly cache: CacheState;
  readonly blocks: number | null;
  readonly budgetNs: number | null;
  readonly runs: number;
  readonly runIntervalMs: number;
  readonly seed: number;
  readonly reserve: boolean;
  readonly cupti: 'auto' | 'off';
  readonly signal: AbortSignal | null;
  readonly onProgress: ((progress: MemcpyProgress) => void) | null;
  readonly argv: readonly string[];
  readonly hooks: TestHooks;
}

/** Sizes of the default grid that every legal cell gets. */
export const DEFAULT_SIZES: readonly number[] = [64 * KiB, MiB, 16 * MiB, 64 * MiB];
/** Only cold DtoH is worth its time at this size by default. */
export const DEFAULT_LARGE_SIZE: number = GiB;
/** Where `register` and `hostalloc` are measured unless pins are asked for. */
export const DEFAULT_PIN_SIZE: number = 64 * MiB;
/** Blocks below which no verdict is given, and that every budget pays for. */
export const MIN_BLOCKS = 10;
/** No buffer can be larger than what one process can map on x86-64. */
const MAX_BYTES = 2 ** 43;

function oneOf<T extends string>(name: string, allowed: readonly T[], value: unknown): T {
  if (!allowed.includes(value as T))
    throw invalidArgument(name, `one of ${allowed.join(', ')}`, value);
  return value as T;
}

function listOf<T extends string>(
  name: string,
  allowed: readonly T[],
  values: readonly unknown[],
): readonly T[] {
  if (!Array.isArray(values) || values.length === 0) {
    throw invalidArgument(name, `a list of ${allowed.join(', ')}`, values);
  }
  const checked = values.map((value) => oneOf(name, allowed, value));
  const twice = checked.find((value, i) => checked.indexOf(value) !== i);
  if (twice !== undefined) throw invalidArgument(name, 'each value once', checked.join(','));
  // In the order of the tables, whatever the order of the request.
  return allowed.filter((value) => checked.includes(value));
}

function integer(name: string, expected: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalidArgument(name, expected, value);
  return value;
}

function checkSizes(sizes: readonly number[]): readonly number[] {
  if (!Array.isArray(sizes) || sizes.length === 0)
    throw invalidArgument('sizes', 'a list of sizes in bytes', sizes);
  for (const bytes of sizes) {
    integer('sizes', `a size from 4 KiB to ${formatBytes(MAX_BYTES)}`, bytes, 4096, MAX_BYTES);
    if (bytes % 4096 !== 0) throw invalidArgument('sizes', 'whole 4 KiB pages', bytes);
  }
  if (new Set(sizes).size !== sizes.length)
    throw invalidArgument('sizes', 'each size once', sizes.join(','));
  return [...sizes].sort((a, b) => a - b);
}

/** Checks every option and fills in the defaults. Throws `ERR_INVALID_ARGUMENT`. */
export function resolveOptions(options: MemcpyOptions): ResolvedOptions {
  if (options.blocks !== undefined && options.budgetMs !== undefined) {
    throw invalidArgument(
      'blocks and budget',
      'one of the two',
      `${options.blocks} blocks and ${options.budgetMs} ms`,
    );
  }
  return {
    backend: oneOf('backend', ['auto', 'cuda', 'host'], options.backend ?? 'auto'),
    device: integer('device', 'a device number from 0', options.device ?? 0, 0, 1023),
    node:
      options.node === undefined
        ? null
        : integer('node', 'a NUMA node from 0 to 63', options.node, 0, 63),
    cpu:
      options.cpu === undefined
        ? null
        : integer('cpu', 'a processor number from 0', options.cpu, 0, 1023),
    pages: listOf('pages', PAGE_KINDS, options.pages ?? PAGE_KINDS),
    sizes: options.sizes === undefined ? null : checkSizes(options.sizes),
    states: listOf('states', STATES, options.states ?? STATES),
    pins: options.pins === undefined ? null : listOf('pins', PINS, options.pins),
    directions: listOf('directions', DIRECTIONS, options.directions ?? DIRECTIONS),
    cache: oneOf('cache', CACHES, options.cache ?? 'flushed'),
    blocks:
      options.blocks === undefined
        ? null
        : integer('blocks', 'a number of blocks from 1', options.blocks, 1, 10_000),
    budgetNs:
      options.blocks !== undefined
        ? null
        : integer(
            'budget',
            'a time from 1 s to 24 h',
            options.budgetMs ?? 60_000,
            1000,
            86_400_000,
          ) * 1e6,
    runs: integer('runs', 'a number of runs from 1 to 100', options.runs ?? 1, 1, 100),
    runIntervalMs: integer(
      'runIntervalMs',
      'a time in ms',
      options.runIntervalMs ?? 5000,
      0,
      3_600_000,
    ),
    seed: integer(
      'seed',
      'an integer from 0 to 2^32-1',
      options.seed ?? Date.now() % 2 ** 32,
      0,
      2 ** 32 - 1,
    ),
    reserve: options.reserve ?? false,
    cupti: oneOf('cupti', ['auto', 'off'], options.cupti ?? 'auto'),
    signal: options.signal ?? null,
    onProgress: options.onProgress ?? null,
    argv: options.argv ?? [],
    hooks: options.hooks ?? {},
  };
}

/** An error of any origin as plain data. */
export function errorRecord(error: unknown): ErrorRecord {
  if (error instanceof WarpgaugeError) return error.toJSON();
  return {
    code: 'ERR_SYSCALL',
    message: error instanceof Error ? error.message : String(error),
    fix: null,
    source: null,
    status: null,
  };
}
