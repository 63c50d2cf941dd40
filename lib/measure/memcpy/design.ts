/**
 * Which cells an experiment has, which of them have a meaning, and what memory they need. Pure: looks at
 * options, never at the machine.
 */
import type { ErrorCode } from '../../errors.ts';
import { formatBytes, GiB, MiB } from '../../units.ts';
import {
  DEFAULT_LARGE_SIZE,
  DEFAULT_PIN_SIZE,
  DEFAULT_SIZES,
  type ResolvedOptions,
} from './options.ts';
import { createRandom } from './random.ts';
import {
  type BackendName,
  type CellKey,
  type CellKind,
  cellId,
  type Direction,
  PAGE_BYTES,
  type PageState,
  type Pin,
} from './types.ts';

/** Something that is run once in every block. */
export interface PlannedCell extends CellKey {
  readonly id: string;
  readonly metric: 'copy' | 'register' | 'total';
  readonly legal: boolean;
  /** Why an illegal or unavailable cell is not run; null: it is. */
  reason: string | null;
  fix: string | null;
  code: ErrorCode | null;
}

export interface PlannedCalibration {
  readonly id: string;
  readonly op: 'touch' | 'populate' | 'pin';
  readonly kind: CellKind;
  readonly bytes: number;
}

export interface Design {
  readonly cells: readonly PlannedCell[];
  readonly calibrations: readonly PlannedCalibration[];
}

const ZERO_PAGE_REASON =
  'a source that was never written reads the shared zero page: HtoD of cold pages exists only as registration (pin=register)';
const HOSTALLOC_REASON =
  'driver memory is allocated, written and pinned in one call: it has one kind (driver) and is warm';
const VECTOR_HOSTALLOC_REASON = 'vectorAdd compares page kinds; driver memory has one';

/** Why a combination means nothing; null when it is legal. */
export function illegalReason(
  dir: Direction,
  pin: Pin,
  state: PageState,
  kind: CellKind,
): string | null {
  if (pin === 'hostalloc') {
    if (dir === 'vectorAdd') return VECTOR_HOSTALLOC_REASON;
    if (state === 'cold' || kind !== 'driver') return HOSTALLOC_REASON;
    return null;
  }
  if (kind === 'driver') return HOSTALLOC_REASON;
  if (kind === '4k-split' && state === 'cold') {
    return '4k-split is first touched as huge pages: it is a control for warm cells only';
  }
  if (dir === 'HtoD' && state === 'cold' && pin === 'none') return ZERO_PAGE_REASON;
  return null;
}

/** Bytes of all pages that one sample maps at a time. */
export function mappedBytes(key: Pick<CellKey, 'dir' | 'kind' | 'bytes'>): number {
  const page =
    key.kind === 'thp' || key.kind === '4k-split' ? 2 * MiB : (PAGE_BYTES[key.kind] ?? 4096);
  return Math.ceil(key.bytes / page) * page * (key.dir === 'vectorAdd' ? 3 : 1);
}

function metricOf(dir: Direction, pin: Pin, state: PageState): PlannedCell['metric'] {
  if (dir === 'vectorAdd') return 'total';
  return dir === 'HtoD' && pin === 'register' && state === 'cold' ? 'register' : 'copy';
}

function planned(key: CellKey): PlannedCell {
  const reason = illegalReason(key.dir, key.pin, key.state, key.kind);
  return {
    ...key,
    id: cellId(key),
    metric: metricOf(key.dir, key.pin, key.state),
    legal: reason === null,
    reason,
    fix: null,
    code: reason === null ? null : 'ERR_ILLEGAL_CELL',
  };
}

function sizesOf(
  options: ResolvedOptions,
  dir: Direction,
  pin: Pin,
  state: PageState,
): readonly number[] {
  const asked = options.sizes;
  if (asked !== null) {
    return pin === 'none' || options.pins !== null
      ? asked
      : asked.filter((bytes) => bytes === DEFAULT_PIN_SIZE);
  }
  if (pin !== 'none' || dir === 'vectorAdd') return [DEFAULT_PIN_SIZE];
  return dir === 'DtoH' && state === 'cold'
    ? [...DEFAULT_SIZES, DEFAULT_LARGE_SIZE]
    : DEFAULT_SIZES;
}

/** Every cell the options ask for, legal or not. */
export function designCells(options: ResolvedOptions, backend: BackendName): PlannedCell[] {
  const kinds: CellKind[] = options.pages.includes('4k')
    ? [...options.pages]
    : ['4k', ...options.pages];
  const cells: PlannedCell[] = [];
  for (const dir of options.directions) {
    for (const pin of options.pins ?? (['none', 'register', 'hostalloc'] as const)) {
      if (backend === 'host' && (dir === 'vectorAdd' || pin === 'hostalloc')) continue;
      for (const state of options.states) {
        for (const bytes of sizesOf(options, dir, pin, state)) {
          if (pin === 'hostalloc') {
            if (dir !== 'vectorAdd' || options.pins !== null) {
              cells.push(planned({ dir, pin, state, kind: 'driver', bytes }));
            }
            continue;
          }
          const withControl: CellKind[] = state === 'warm' ? [...kinds, '4k-split'] : kinds;
          for (const kind of withControl) cells.push(planned({ dir, pin, state, kind, bytes }));
        }
      }
    }
  }
  if (backend === 'host') cells.push(...hostOnlyRows(options));
  return cells;
}

/** What the host proxy cannot do at all: one row each, so that nobody misses them in silence. */
function hostOnlyRows(options: ResolvedOptions): PlannedCell[] {
  const rows: PlannedCell[] = [];
  const add = (key: CellKey, what: string): void => {
    rows.push({
      ...key,
      id: cellId(key),
      metric: metricOf(key.dir, key.pin, key.state),
      legal: true,
      reason: `${what} needs a CUDA device; the host proxy has none`,
      fix: 'run on a machine with an NVIDIA GPU and --backend cuda',
      code: 'ERR_NO_DEVICE',
    });
  };
  const bytes = options.sizes?.at(-1) ?? DEFAULT_PIN_SIZE;
  const state = options.states.at(-1) ?? 'warm';
  if (options.directions.includes('vectorAdd')) {
    add({ dir: 'vectorAdd', pin: 'none', state, kind: '4k', bytes }, 'vectorAdd');
  }
  const copy = options.directions.find((dir) => dir !== 'vectorAdd');
  if (copy !== undefined && (options.pins ?? ['hostalloc']).includes('hostalloc')) {
    add({ dir: copy, pin: 'hostalloc', state: 'warm', kind: 'driver', bytes }, 'pin=hostalloc');
  }
  return rows;
}

/**
 * Touch (a user fault), populate (a fault inside the kernel) and pin costs of each kind, at the largest size that is
 * measured cold and warm. Other sizes are scaled by their faults: touching 1 GiB as well would make a block a third
 * longer. Cells that will not run need none.
 */
export function designCalibrations(
  cells: readonly PlannedCell[],
  backend: BackendName,
): PlannedCalibration[] {
  const out = new Map<string, PlannedCalibration>();
  const add = (op: PlannedCalibration['op'], kind: CellKind, bytes: number): void => {
    const id = `${op}/${kind}/${bytes}`;
    out.set(id, { id, op, kind, bytes });
  };
  const legal = cells.filter((cell) => cell.reason === null && cell.kind !== 'driver');
  const largest = (of: readonly PlannedCell[]): number =>
    Math.max(0, ...of.map((cell) => cell.bytes));

  const cold = legal.filter(
    (cell) => cell.state === 'cold' && cell.dir !== 'HtoD' && cell.pin === 'none',
  );
  const warmSizes = new Set(
    legal.filter((cell) => cell.state === 'warm').map((cell) => cell.bytes),
  );
  const size = largest(cold.filter((cell) => warmSizes.has(cell.bytes))) || largest(cold);
  for (const cell of cold) if (cell.bytes === size) add('touch', cell.kind, cell.bytes);

  const coldPins = legal.filter((cell) => cell.metric === 'register');
  for (const cell of coldPins)
    if (cell.bytes === largest(coldPins)) add('populate', cell.kind, cell.bytes);

  // A GPU driver may pin pageable memory chunk by chunk while it copies; the host proxy never does.
  if (backend === 'cuda') {
    const warm = legal.filter(
      (cell) => cell.state === 'warm' && cell.pin === 'none' && cell.dir !== 'vectorAdd',
    );
    for (const cell of warm) if (cell.bytes === largest(warm)) add('pin', cell.kind, cell.bytes);
  }
  return [...out.values()];
}

/** Hugetlb pages of each size that the largest sample of the runnable cells needs at one time. */
export function poolNeeds(design: Design): ReadonlyMap<number, number> {
  const needs = new Map<number, number>();
  const demand = (kind: CellKind, bytes: number): void => {
    if (kind !== '2m' && kind !== '1g') return;
    const page = kind === '2m' ? 2 * MiB : GiB;
    needs.set(page, Math.max(needs.get(page) ?? 0, bytes / page));
  };
  for (const cell of design.cells) if (cell.reason === null) demand(cell.kind, mappedBytes(cell));
  for (const { kind, bytes } of design.calibrations)
    demand(kind, mappedBytes({ dir: 'DtoH', kind, bytes }));
  return needs;
}

/** The order of one block: every item once, from the seed alone. */
export function blockOrder<T>(items: readonly T[], seed: number, run: number, block: number): T[] {
  return createRandom(`${seed}/order/${run}/${block}`).shuffle(items);
}

/** Seed of the data pattern: unique to (cell, sample), exact in a double. */
export function patternSeed(seed: number, id: string, run: number, block: number): number {
  return Math.floor(createRandom(`${seed}/data/${id}/${run}/${block}`).next() * 2 ** 48);
}

/** One line that names how many combinations were left out, and why. */
export function illegalSummary(cells: readonly PlannedCell[]): {
  count: number;
  reasons: readonly string[];
} {
  const illegal = cells.filter((cell) => !cell.legal);
  return { count: illegal.length, reasons: [...new Set(illegal.map((cell) => cell.reason ?? ''))] };
}

/** Refuses cells whose buffers alone would take more than 60 % of the available memory. */
export function refuseTooLarge(cells: readonly PlannedCell[], availableBytes: number): void {
  for (const cell of cells) {
    const bytes = mappedBytes(cell);
    if (cell.reason === null && bytes > 0.6 * availableBytes) {
      cell.reason = `needs ${formatBytes(bytes)}, more than 60 % of the ${formatBytes(availableBytes)} available`;
      cell.fix = 'choose smaller --sizes, or free memory';
      cell.code = 'ERR_TOO_LARGE';
    }
  }
}
