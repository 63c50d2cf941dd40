/** What the counters of a cell's samples say: medians, and the few conclusions that need no other cell. */
import { median } from './bootstrap.ts';
import { bimodality, groupByRun } from './statistics.ts';
import { type Cell, PAGE_BYTES, type Sample } from './types.ts';

const PIN_UNIT_BYTES = 4096;
/** The pin counter moves in batches per processor: fewer pages than this cannot be told from none. */
const PIN_BATCH_PAGES = 64;
/** Up to this many faults are strays (a warm buffer showed 2 in a handful of samples). */
export const STRAY_FAULTS = 2;

/** Medians over the valid samples; null where the counter could not be read. */
export interface Counters {
  /** getrusage: every fault of the thread, those inside pinning too. */
  readonly faults: number;
  /** perf: faults in user mode (and kernel copies), not those inside pinning. */
  readonly faultsPerf: number | null;
  readonly pins: number | null;
  readonly dtlbMisses: number | null;
  readonly dtlbWhy: string | null;
}

export function countersOf({ samples }: Pick<Cell, 'samples'>): Counters {
  const valid = samples.filter((sample) => sample.valid);
  const of = (value: (sample: Sample) => number | null) => {
    const read = valid.map(value).filter((number) => number !== null);
    return read.length > 0 ? median(read) : null;
  };
  return {
    faults: of((sample) => sample.minflt_thread) ?? 0,
    faultsPerf: of((sample) => sample.faults_perf),
    pins: of((sample) => sample.pins_approx),
    dtlbMisses: of((sample) => sample.dtlb_miss),
    dtlbWhy: valid.find((sample) => sample.dtlb_why !== null)?.dtlb_why ?? null,
  };
}

/** Faults of a first write to the whole buffer; null for memory that is the driver's. */
export function pagesOf({ kind, bytes }: Pick<Cell, 'kind' | 'bytes'>): number | null {
  const page = PAGE_BYTES[kind];
  return page === null ? null : Math.ceil(bytes / page);
}

/** Whether the buffer was pinned inside the timed region. The count is of the whole system, in batches: approximate. */
export function isPinned({ pins }: Counters, bytes: number): boolean {
  const pages = bytes / PIN_UNIT_BYTES;
  return pages >= PIN_BATCH_PAGES && pins !== null && pins >= 0.5 * pages && pins <= 2 * pages;
}

/** Whether the faults were taken inside pinning, where perf does not see them; null when no counter tells. */
export function faultsInPinning(counters: Counters, bytes: number): boolean | null {
  if (counters.faults <= 0) return false;
  if (counters.faultsPerf !== null) return counters.faultsPerf <= 0.02 * counters.faults;
  return counters.pins === null ? null : isPinned(counters, bytes);
}

/**
 * What the counters say the cell went through: `cold` or `warm` (every page faulted, or none; `partly-faulted`
 * between), `faults-in-pinning`, `pinning` (pages pinned without a fault), `page-zeroing` (more bytes zeroed
 * than copied), `zero-pages`, `bimodal`.
 */
export function labelsOf(cell: Cell): string[] {
  const valid = cell.samples.filter((sample) => sample.valid);
  if (valid.length === 0) return [];
  const counters = countersOf(cell);
  const { faults } = counters;
  const pages = pagesOf(cell);
  const labels: string[] = [];
  if (pages !== null && faults >= 1 && faults >= 0.98 * pages) {
    labels.push('cold');
    if (faultsInPinning(counters, cell.bytes)) labels.push('faults-in-pinning');
    if (faults * (PAGE_BYTES[cell.kind] ?? 0) > 1.02 * cell.bytes) labels.push('page-zeroing');
  } else {
    labels.push(faults <= STRAY_FAULTS ? 'warm' : 'partly-faulted');
    if (isPinned(counters, cell.bytes)) labels.push('pinning');
  }
  if ((cell.page.zero_page_bytes ?? 0) > 0) labels.push('zero-pages');
  if (groupByRun(valid).some((times) => bimodality(times).bimodal)) labels.push('bimodal');
  return labels;
}
