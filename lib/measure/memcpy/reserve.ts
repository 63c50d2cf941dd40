/** Grows the hugetlb pools for one run and gives exactly that back. The only change a benchmark makes. */
import { type ErrorCode, WarpgaugeError } from '../../errors.ts';
import type { PageRequest } from '../../mitigate/pool-plan.ts';
import type { Reservation } from '../../mitigate/pool-reserve.ts';
import type { MemcpyPlan } from './plan.ts';
import type { ReservedPool } from './types.ts';

/** Refusals of a size that the run can do without: its rows say why. */
const MAY_DO_WITHOUT: readonly ErrorCode[] = [
  'ERR_NO_MEMORY',
  'ERR_RESERVE_LIMIT',
  'ERR_PAGE_KIND_UNSUPPORTED',
];

export interface RunReservation {
  readonly warnings: readonly string[];
  release(): Promise<readonly ReservedPool[]>;
}

/**
 * Reserves what the plan lacks. Missing permission, or a size the machine has no contiguous memory for, is no
 * failure: the cells come out unavailable with the command. Another holder of the lock is.
 */
export async function reservePools(
  plan: MemcpyPlan,
  signal: AbortSignal | null,
): Promise<RunReservation> {
  let wanted: PageRequest[] = plan.pools
    .filter((pool) => pool.action === 'reserve')
    .map((pool) => ({
      pageBytes: pool.page_bytes,
      count: pool.pages,
      ...(plan.node === null ? {} : { node: plan.node }),
    }))
    .sort((a, b) => a.pageBytes - b.pageBytes);
  const warnings: string[] = [];
  while (wanted.length > 0) {
    try {
      const { pools } = await import('../../mitigate/pools.ts');
      const reservation = await pools.reserve({
        pages: wanted,
        ...(signal === null ? {} : { signal }),
      });
      return { warnings: [...warnings, ...reservation.notes], release: () => release(reservation) };
    } catch (error) {
      if (!(error instanceof WarpgaugeError)) throw error;
      if (error.code === 'ERR_PERMISSION' || error.code === 'ERR_INTERRUPTED') {
        warnings.push(
          `--reserve changed nothing: ${error.message}${error.fix ? `; ${error.fix}` : ''}`,
        );
        break;
      }
      if (!MAY_DO_WITHOUT.includes(error.code)) throw error;
      warnings.push(error.message);
      wanted = fewer(wanted);
    }
  }
  return { warnings, release: async () => [] };
}

/**
 * What to ask for after a refusal. The larger the page, the likelier that no contiguous memory is left for it; and fewer
 * of it still serve most cells: vectorAdd alone needs three buffers.
 */
export function fewer(wanted: readonly PageRequest[]): PageRequest[] {
  const largest = wanted.at(-1);
  if (largest === undefined) return [];
  const count = largest.count <= 8 ? largest.count - 1 : Math.floor(largest.count / 2);
  return count > 0 ? [...wanted.slice(0, -1), { ...largest, count }] : wanted.slice(0, -1);
}

async function release(reservation: Reservation): Promise<readonly ReservedPool[]> {
  const report = await reservation.release();
  return reservation.grown.map(({ pageBytes, node, pages }) => ({
    page_bytes: pageBytes,
    node,
    pages,
    returned:
      report.returned.find((back) => back.pageBytes === pageBytes && back.node === node)?.pages ??
      0,
  }));
}
