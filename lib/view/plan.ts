import type { BackendName, CellKind, Direction, PageState, Pin } from '../measure/memcpy/types.ts';
import { formatBytes, formatDuration } from '../units.ts';
import { painter } from './colour.ts';
import { KIND_ORDER } from './memcpy-rows.ts';
import { numberOf } from './numbers.ts';
import { formatTable, printable, type Row, type TableCell, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

/** One planned cell. */
export interface PlanCellView {
  readonly id: string;
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly kind: CellKind;
  readonly bytes: number;
  readonly legal: boolean;
  readonly status: 'planned' | 'unavailable';
  readonly reason: string | null;
  readonly fix: string | null;
}

/** What `--dry-run` shows: everything that is known before the first sample. */
export interface PlanView {
  readonly backend: BackendName;
  /** Legal cells; illegal ones may be listed too and are left out here. */
  readonly cells: readonly PlanCellView[];
  readonly illegal_cells: number;
  readonly illegal_reasons: readonly string[];
  /** Touch, population and pin measurements per block that tell the causes apart. */
  readonly calibrations: number;
  /** Most memory in use at one time: buffer, staging and flush. */
  readonly memory_bytes: number;
  /** Pools the cells need; `action` says what `--reserve` would do, or that it is not asked. */
  readonly pools: readonly {
    readonly page_bytes: number;
    readonly pages: number;
    readonly action: string;
  }[];
  readonly blocks_min: number;
  /** Time budget in ns; null where the number of blocks is fixed. */
  readonly budget_ns: number | null;
  /** Estimated time of one block, ns. */
  readonly estimate_ns: number;
  readonly estimate_total_ns: number;
}

/** Cells with the same direction, pin, state, kinds, outcome and fix share a row. */
function planRows(plan: PlanView): { cells: PlanCellView[]; kinds: CellKind[] }[] {
  const byKind = new Map<string, PlanCellView[]>();
  for (const cell of plan.cells) {
    if (!cell.legal) continue;
    const key = JSON.stringify([
      cell.dir,
      cell.pin,
      cell.state,
      cell.status,
      cell.reason,
      cell.fix,
      cell.kind,
    ]);
    byKind.set(key, [...(byKind.get(key) ?? []), cell]);
  }
  const rows = new Map<string, { cells: PlanCellView[]; kinds: CellKind[] }>();
  for (const cells of byKind.values()) {
    const [head] = cells;
    if (head === undefined) continue;
    const sizes = cells.map((cell) => cell.bytes).sort((a, b) => a - b);
    const key = JSON.stringify([
      head.dir,
      head.pin,
      head.state,
      head.status,
      head.reason,
      head.fix,
      sizes,
    ]);
    const row = rows.get(key);
    if (row === undefined) rows.set(key, { cells, kinds: [head.kind] });
    else row.kinds.push(head.kind);
  }
  return [...rows.values()];
}

/** The plan for a terminal: cells, memory, pools, and how long it will take. */
export function renderPlan(plan: PlanView, options: RenderOptions): string {
  const paint = painter(options.colour);
  const planned = plan.cells.filter((cell) => cell.legal && cell.status === 'planned').length;
  const absent = plan.cells.filter((cell) => cell.legal && cell.status === 'unavailable').length;
  const proxy = plan.backend === 'host' ? ` ${paint('yellow', '(host proxy)')}` : '';
  const output = [paint('bold', `Plan of bench memcpy, backend ${plan.backend}`) + proxy];

  const rows = planRows(plan).map(({ cells, kinds }): Row => {
    const [head] = cells;
    const sizes = [...new Set(cells.map((cell) => cell.bytes))].sort((a, b) => a - b);
    const absent = head?.status === 'unavailable';
    const outcome: TableCell = absent ? { text: 'unavailable', style: 'yellow' } : 'planned';
    const why = absent ? wrap(head.reason ?? 'no reason given', options.width - 2, '    ') : [];
    const fix = head?.fix ?? null;
    return {
      cells: [
        head?.dir ?? '',
        head?.pin ?? '',
        head?.state ?? '',
        kinds.sort((a, b) => KIND_ORDER.indexOf(a) - KIND_ORDER.indexOf(b)).join(', '),
        sizes.map(formatBytes).join(', '),
        outcome,
      ],
      below: [...why, ...(fix === null ? [] : [`    ${paint('dim', 'fix:')} ${printable(fix)}`])],
    };
  });
  const columns = ['Direction', 'Pin', 'State', 'Pages', 'Sizes', 'Status'].map((title) => ({
    title,
  }));
  output.push(...formatTable(columns, rows, { paint, width: options.width }));
  const summary = `${numberOf(planned, 'cell')} planned, ${absent} unavailable, ${numberOf(plan.calibrations, 'calibration')} per block.`;
  output.push(...wrap(summary, options.width, '  '));
  if (plan.illegal_cells > 0) {
    const reasons = plan.illegal_reasons.length === 0 ? '' : `: ${plan.illegal_reasons.join('; ')}`;
    const line = `${plan.illegal_cells === 1 ? '1 combination has no meaning and is' : `${plan.illegal_cells} combinations have no meaning and are`} left out${reasons}.`;
    output.push(...wrap(line, options.width, '  '));
  }

  output.push('', `  Memory    ${formatBytes(plan.memory_bytes)} at most at one time`);
  for (const pool of plan.pools) {
    const line = `${numberOf(pool.pages, 'page')} of ${formatBytes(pool.page_bytes)}: ${pool.action}`;
    const [first = '', ...rest] = wrap(line, options.width - 12);
    output.push(`  Pool      ${first}`, ...rest.map((text) => `            ${text}`));
  }
  const stop =
    plan.budget_ns === null
      ? `exactly ${plan.blocks_min}`
      : `at least ${plan.blocks_min}, more until the intervals are narrow or ${formatDuration(plan.budget_ns)} have passed`;
  const [first = '', ...rest] = wrap(stop, options.width - 12);
  output.push(`  Blocks    ${first}`, ...rest.map((text) => `            ${text}`));
  output.push(
    `  Estimate  ${formatDuration(plan.estimate_ns)} per block, ${formatDuration(plan.estimate_total_ns)} in all`,
  );
  return `${output.join('\n')}\n`;
}
