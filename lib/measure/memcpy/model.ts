/**
 * Two physical numbers per page kind, which carry over to other sizes where a ratio does not: what a fault
 * costs and how fast bytes move. And the size from which a kind beats 4 KB pages.
 */
import { formatBytes } from '../../units.ts';
import { median } from './bootstrap.ts';
import { countersOf, STRAY_FAULTS } from './counters.ts';
import type { BreakEven, Cell, Comparison, CostModel } from './types.ts';

interface Point {
  readonly bytes: number;
  readonly faults: number;
  /** Not a stray: a buffer of one huge page has one fault when cold, so there the state decides. */
  readonly faulting: boolean;
  readonly ns: number;
}

/**
 * t = a + b·bytes + c·faults per kind, direction and pin, by least squares over the medians of the cells. The fit
 * is not weighted, so the large sizes decide: there the cost of a byte is that of memory and not of a cache.
 * Registrations are left out; they move no byte.
 */
export function fitModels(cells: readonly Cell[]): CostModel[] {
  const groups = new Map<string, Cell[]>();
  for (const cell of cells) {
    if (cell.status !== 'ok' || cell.metric === 'register') continue;
    if (!cell.samples.some((sample) => sample.valid)) continue;
    const key = `${cell.dir}/${cell.pin}/${cell.kind}`;
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()].map((group) => {
    const { kind, dir, pin } = group[0] as Cell;
    return { kind, dir, pin, ...fit(group) };
  });
}

function fit(group: readonly Cell[]): Pick<CostModel, 'ns_per_fault' | 'gbps' | 'r2' | 'why'> {
  const points = group.map(pointOf);
  const nothing = { ns_per_fault: null, gbps: null, r2: null };
  const sizes = new Set(points.map((point) => point.bytes)).size;
  if (sizes < 2) return { ...nothing, why: 'one size: a cost per byte needs two or more' };
  const faulting = points.filter((point) => point.faulting);

  if (faulting.length === 0) {
    const line = leastSquares(points, (point) => [1, point.bytes]);
    const gbps = line && positive(line.coefficients[1]);
    if (!line || gbps === null) return { ...nothing, why: 'time does not grow with size' };
    const why = 'no faults in the timed region: their cost needs cold cells';
    return { ns_per_fault: null, gbps: 1 / gbps, r2: line.r2, why };
  }
  if (faulting.length === points.length) {
    return {
      ...nothing,
      why: 'cold cells alone: the cost of a fault and of a byte need warm cells too',
    };
  }
  const plane = leastSquares(points, (point) => [1, point.bytes, point.faults]);
  if (!plane) {
    return { ...nothing, why: 'the sizes and states measured do not tell bytes from faults' };
  }
  const [, perByte, perFault] = plane.coefficients;
  const nsPerByte = positive(perByte);
  const nsPerFault = positive(perFault);
  const negative = [nsPerByte === null && 'GB/s', nsPerFault === null && 'ns per fault'].filter(
    Boolean,
  );
  return {
    ns_per_fault: nsPerFault,
    gbps: nsPerByte === null ? null : 1 / nsPerByte,
    r2: plane.r2,
    why: negative.length > 0 ? `the fit gives no positive ${negative.join(' and ')}` : null,
  };
}

function pointOf(cell: Cell): Point {
  const valid = cell.samples.filter((sample) => sample.valid);
  const { faults } = countersOf(cell);
  return {
    bytes: cell.bytes,
    faults,
    faulting: faults > STRAY_FAULTS || (cell.state === 'cold' && faults > 0),
    ns: median(valid.map((sample) => sample.t_host_ns)),
  };
}

function positive(value: number | undefined): number | null {
  return value !== undefined && value > 0 && Number.isFinite(value) ? value : null;
}

interface Fit {
  readonly coefficients: readonly number[];
  readonly r2: number;
}

// Normal equations with columns scaled to length 1: bytes and faults differ by six orders of magnitude. Null where
// the columns depend on each other.
function leastSquares(points: readonly Point[], columns: (point: Point) => number[]): Fit | null {
  const rows = points.map(columns);
  const width = rows[0]?.length ?? 0;
  if (rows.length < width) return null;
  const scale = Array.from({ length: width }, (_, k) =>
    Math.hypot(...rows.map((row) => at(row, k))),
  );
  if (scale.some((length) => length === 0)) return null;
  const x = rows.map((row) => row.map((value, k) => value / at(scale, k)));
  const y = points.map((point) => point.ns);
  const matrix = Array.from({ length: width }, (_, i) => [
    ...Array.from({ length: width }, (_, j) =>
      x.reduce((sum, row) => sum + at(row, i) * at(row, j), 0),
    ),
    x.reduce((sum, row, n) => sum + at(row, i) * at(y, n), 0),
  ]);
  const solution = solve(matrix);
  if (!solution) return null;
  const mean = y.reduce((sum, value) => sum + value, 0) / y.length;
  let residual = 0;
  let total = 0;
  x.forEach((row, n) => {
    const fitted = row.reduce((sum, value, k) => sum + value * at(solution, k), 0);
    residual += (at(y, n) - fitted) ** 2;
    total += (at(y, n) - mean) ** 2;
  });
  return {
    coefficients: solution.map((value, k) => value / at(scale, k)),
    r2: total > 0 ? 1 - residual / total : 1,
  };
}

/** Gauss elimination with pivoting on an augmented matrix; null where a pivot is nothing but rounding. */
function solve(matrix: readonly (readonly number[])[]): number[] | null {
  const m = matrix.map((row) => [...row]);
  const n = m.length;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(at(m[i], k)) > Math.abs(at(m[pivot], k))) pivot = i;
    }
    const row = m[pivot] as number[];
    m[pivot] = m[k] as number[];
    m[k] = row;
    if (Math.abs(at(row, k)) < 1e-9) return null;
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = at(m[i], k) / at(row, k);
      m[i] = (m[i] as number[]).map((value, j) => value - factor * at(row, j));
    }
  }
  return m.map((row, k) => at(row, n) / at(row, k));
}

function at(values: readonly number[] | undefined, index: number): number {
  return (values as readonly number[])[index] as number;
}

/**
 * The size from which each kind beats 4 KB pages, by direction, pin and state: where the ratio crosses 1 between
 * the largest size at which it is surely below and the smallest larger size at which it is surely above (by the raw
 * 95 % intervals), interpolated on a logarithmic scale.
 */
export function breakEvens(comparisons: readonly Comparison[]): BreakEven[] {
  const groups = new Map<string, Comparison[]>();
  for (const line of comparisons) {
    if (line.kind === '4k-split') continue;
    const key = `${line.dir}/${line.pin}/${line.state}/${line.kind}`;
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  return [...groups.values()].map((group) => {
    const { dir, pin, state, kind } = group[0] as Comparison;
    return { dir, pin, state, kind, ...crossing(group) };
  });
}

function crossing(group: readonly Comparison[]): Pick<BreakEven, 'bytes' | 'why'> {
  const lines = [...group].sort((x, y) => x.bytes - y.bytes);
  const sizes = lines.map((line) => formatBytes(line.bytes)).join(', ');
  const not = (why: string) => ({ bytes: null, why });
  if (lines.length < 2) return not(`one size (${sizes})`);
  if (lines.some((line) => line.ci95 === null)) return not('too few blocks for an interval');
  const below = lines.findLastIndex((line) => (line.ci95?.[1] ?? 1) < 1);
  const above = lines.findIndex((line, i) => i > below && (line.ci95?.[0] ?? 1) > 1);
  if (below < 0 && above < 0) return not(`no clear difference at any size (${sizes})`);
  if (below < 0) return not(`not slower at any size measured (${sizes})`);
  if (above < 0) {
    const last = formatBytes((lines[below] as Comparison).bytes);
    return not(`not faster at any size above ${last} (${sizes})`);
  }
  // Between the two the ratio may wander around 1: the last crossing upwards counts.
  let from = above - 1;
  while (from > below && (lines[from] as Comparison).speedup > 1) from--;
  const [low, high] = [lines[from] as Comparison, lines[from + 1] as Comparison];
  const part = -Math.log(low.speedup) / (Math.log(high.speedup) - Math.log(low.speedup));
  return { bytes: Math.round(low.bytes * (high.bytes / low.bytes) ** part), why: null };
}
