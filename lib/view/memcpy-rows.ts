/**
 * What the views of the memcpy benchmark show, as data: terminal, HTML page and plots take their rows from
 * here, so that they cannot say different things about one document.
 */
import type {
  Cell,
  CellKind,
  Comparison,
  Direction,
  MemcpyDocument,
  PageState,
  Pin,
  Sample,
} from '../measure/memcpy/types.ts';
import { PAGE_BYTES } from '../measure/memcpy/types.ts';
import { formatBytes, KiB } from '../units.ts';
import { interval, median, numberOf, percent, ratio } from './numbers.ts';

/** Page kinds in the order of every table and legend. */
export const KIND_ORDER: readonly CellKind[] = ['4k', '4k-split', 'thp', '2m', '1g', 'driver'];

const DIRECTION_ORDER: readonly Direction[] = ['HtoD', 'DtoH', 'vectorAdd'];
const PIN_ORDER: readonly Pin[] = ['none', 'register', 'hostalloc'];

function groupRank(one: { dir: Direction; pin: Pin; state: PageState }): number {
  return (
    DIRECTION_ORDER.indexOf(one.dir) * 100 +
    PIN_ORDER.indexOf(one.pin) * 10 +
    (one.state === 'cold' ? 0 : 1)
  );
}

/** Labels that stand beside every heading: nothing that is not a measurement of a GPU may look like one. */
export function originLabels(document: Pick<MemcpyDocument, 'proxy' | 'device'>): string[] {
  const labels: string[] = [];
  if (document.proxy) labels.push('host proxy');
  if (document.device?.simulated === true) labels.push('Simulated');
  return labels;
}

/** Cells that share direction, pin and state: one block of the matrix, one panel of a plot. */
export interface CellGroup {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly metric: Cell['metric'];
  /** `ok` cells, by size and then by kind. */
  readonly cells: readonly Cell[];
}

export function groupTitle(group: Pick<CellGroup, 'dir' | 'pin' | 'state' | 'metric'>): string {
  if (group.metric === 'register') return `${group.dir} ${group.state}, registration only`;
  const pin = group.pin === 'none' ? 'pageable' : group.pin;
  return `${group.dir} ${group.state}, ${pin}${group.metric === 'total' ? ', total time' : ''}`;
}

export function measuredGroups(document: Pick<MemcpyDocument, 'cells'>): CellGroup[] {
  const groups = new Map<string, { head: Cell; cells: Cell[] }>();
  for (const cell of document.cells) {
    if (cell.status !== 'ok') continue;
    const key = [cell.dir, cell.pin, cell.state, cell.metric].join('/');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { head: cell, cells: [cell] });
    else group.cells.push(cell);
  }
  return [...groups.values()]
    .sort((a, b) => groupRank(a.head) - groupRank(b.head))
    .map(({ head, cells }) => ({
      dir: head.dir,
      pin: head.pin,
      state: head.state,
      metric: head.metric,
      cells: cells.sort(
        (a, b) => a.bytes - b.bytes || KIND_ORDER.indexOf(a.kind) - KIND_ORDER.indexOf(b.kind),
      ),
    }));
}

/** Comparisons of each cell with its 4k cell, by the id of the larger kind. */
export function against4k(
  document: Pick<MemcpyDocument, 'comparisons' | 'cells'>,
): Map<string, Comparison> {
  const baseIds = new Set(
    document.cells.filter((cell) => cell.kind === '4k').map((cell) => cell.id),
  );
  return new Map(
    document.comparisons.filter((one) => baseIds.has(one.a)).map((one) => [one.b, one]),
  );
}

/** The verdict table: the comparisons whose intervals are corrected together, in the order of the matrix. */
export function verdictFamily(
  document: Pick<MemcpyDocument, 'comparisons' | 'family'>,
): Comparison[] {
  const names = new Set(document.family);
  return document.comparisons
    .filter((one) => names.has(`${one.a} -> ${one.b}`))
    .sort(
      (a, b) =>
        groupRank(a) - groupRank(b) ||
        a.bytes - b.bytes ||
        KIND_ORDER.indexOf(a.kind) - KIND_ORDER.indexOf(b.kind),
    );
}

/** Whether a verdict carries "this moment only"; where there is no verdict, there is nothing to carry it. */
export function isMomentary(comparison: Pick<Comparison, 'this_moment_only' | 'verdict'>): boolean {
  return comparison.this_moment_only && comparison.verdict !== 'none';
}

/** Kind of the cell that a comparison starts from, out of its id. */
export function baseKind(comparison: Pick<Comparison, 'a'>): string {
  return comparison.a.split('/')[3] ?? comparison.a;
}

/** Why, in one sentence: cause, share with interval and method, and the numbers behind it. */
export function causeText(comparison: Comparison): string | null {
  const { cause, share, share_ci95: ci, explanation } = comparison;
  const parts: string[] = [];
  if (cause !== null) {
    // The explanation usually states the share itself; once is enough.
    const said = share === null || (explanation?.includes(percent(share)) ?? false);
    const between = ci === null ? '' : ` ${interval(ci, (end) => String(Math.round(end * 100)))}`;
    parts.push(`cause: ${cause}${said ? '' : ` ${percent(share)}${between} of the gap`}`);
  }
  if (explanation !== null) parts.push(explanation);
  if (comparison.verdict_reason !== null) parts.push(comparison.verdict_reason);
  if (comparison.total_speedup !== null) {
    const what = comparison.metric === 'copy' ? 'registration and release' : 'release';
    parts.push(`with ${what} ${ratio(comparison.total_speedup)}`);
  }
  const runs = comparison.run_speedups;
  if (runs.length > 1) {
    parts.push(`${runs.length} runs: ${ratio(Math.min(...runs))} to ${ratio(Math.max(...runs))}`);
  }
  return parts.length === 0 ? null : parts.join('; ');
}

/** How the shares of the causes were found, each method once; `null` without any share. */
export function shareMethods(family: readonly Comparison[]): string | null {
  // Lines whose method differs in its particulars alone (from which size a cost was scaled) are told together.
  const methods = new Map<string, Set<string>>();
  for (const method of family.flatMap((one) => one.share_method ?? [])) {
    const [, name = method, particulars = ''] = /^(.*): (.*)$/.exec(method) ?? [];
    const known = methods.get(name) ?? new Set<string>();
    for (const one of particulars.split(', ')) if (one !== '') known.add(one);
    methods.set(name, known);
  }
  const texts = [...methods].map(([name, known]) =>
    known.size === 0 ? name : `${name}: ${[...known].join(', ')}`,
  );
  return texts.length === 0 ? null : `Share of the gap: ${texts.join('; ')}.`;
}

/**
 * Warnings that say the same of many cells, as one line each; the JSON keeps them all. Such a warning starts
 * with the id of its cell; what stands in parentheses may differ from cell to cell.
 */
function groupWarnings(warnings: readonly string[]): string[] {
  const groups = new Map<string, { about: string; texts: string[] }>();
  for (const text of warnings) {
    const [, id = '', rest = ''] = /^([\w-]+(?:\/[\w-]+)+)(:? .*)$/.exec(text) ?? [];
    const key = id === '' ? text : rest.replace(/ \([^()]*\)/, '');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { about: id, texts: [text] });
    else group.texts.push(text);
  }
  return [...groups].flatMap(([rest, { about, texts }]) =>
    about === '' || texts.length <= 2
      ? texts
      : [`${about} and ${texts.length - 1} other cells${rest.replace(/^ has /, ' have ')}`],
  );
}

/** What a reader must know before using the numbers: partial results, invalid samples, warnings of the run. */
export function notesOf(document: MemcpyDocument): string[] {
  const notes: string[] = [];
  if (!document.complete) {
    const why = document.interrupted ? 'interrupted' : `stopped by ${document.design.stopped_by}`;
    notes.push(`this result is partial (${why}): the cells hold the samples taken until then`);
  }
  const told = document.warnings.some((warning) => /\binvalid\b/.test(warning));
  if (document.n_invalid > 0 && !told) {
    notes.push(
      `invalid samples: ${document.n_invalid}, kept in the JSON with the reason, left out of the statistics`,
    );
  }
  return [...notes, ...groupWarnings(document.warnings)];
}

/** Counters of one cell: medians over its valid samples, `null` where no sample has them. */
export interface CellCounters {
  readonly faultsPerf: number | null;
  readonly faultsRusage: number | null;
  readonly pins: number | null;
  /** Share of the timed region spent in the kernel. */
  readonly sysShare: number | null;
  /** Time per page of the cell's own kind. */
  readonly nsPerPage: number | null;
  /** pin = register: registration, copy and release together; else `null`. */
  readonly totalNs: number | null;
}

function registeredTotal(sample: Sample): number | null {
  const { register, copy, unregister } = sample.phases_ns;
  return register === null || copy === null || unregister === null
    ? null
    : register + copy + unregister;
}

export function countersOf(cell: Cell): CellCounters {
  const valid = cell.samples.filter((sample) => sample.valid);
  const of = (read: (sample: Sample) => number | null): number | null =>
    median(valid.map(read).filter((value) => value !== null));
  const page = PAGE_BYTES[cell.kind];
  return {
    faultsPerf: of((sample) => sample.faults_perf),
    faultsRusage: of((sample) => sample.minflt_thread),
    pins: of((sample) => sample.pins_approx),
    sysShare: of((sample) => (sample.sys_ns === null ? null : sample.sys_ns / sample.t_host_ns)),
    totalNs: cell.pin === 'register' && cell.metric === 'copy' ? of(registeredTotal) : null,
    nsPerPage:
      page === null || cell.stats === null
        ? null
        : cell.stats.median_ns / Math.ceil(cell.bytes / page),
  };
}

/** `2 MiB`, or each size with its share where the kernel granted a mixture; `null` where nothing was proven. */
export function provenPages(cell: Cell): string | null {
  const proven = Object.entries(cell.page.verified_bytes_by_kb ?? {}).filter(
    ([, bytes]) => bytes > 0,
  );
  if (proven.length === 0) return null;
  const total = proven.reduce((sum, [, bytes]) => sum + bytes, 0);
  return proven
    .map(([kb, bytes]) => {
      const size = formatBytes(Number(kb) * KiB);
      return proven.length === 1 ? size : `${size} ${Math.round((100 * bytes) / total)} %`;
    })
    .join(' + ');
}

/** How the page sizes of the measured cells were proven. */
export function provenMethods(document: Pick<MemcpyDocument, 'cells'>): string {
  const methods = new Set(
    document.cells.flatMap((cell) => (cell.status === 'ok' ? (cell.page.method ?? []) : [])),
  );
  return methods.size === 0 ? 'nothing' : [...methods].join('; ');
}

/** Why an `ok` cell shows no statistics: the reasons of its invalid samples. */
export function whyNoStats(cell: Cell): string {
  const reasons = new Set(cell.samples.flatMap((sample) => sample.why_invalid ?? []));
  return reasons.size === 0 ? 'no samples' : `no valid sample: ${[...reasons].join('; ')}`;
}

/** Cells that gave no number for one and the same reason. */
export interface MissingRow {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
  readonly kinds: readonly CellKind[];
  readonly sizes: readonly number[];
  readonly status: 'unavailable' | 'failed';
  readonly reason: string;
  readonly fix: string | null;
}

export function missingRows(document: Pick<MemcpyDocument, 'cells'>): MissingRow[] {
  const byKind = new Map<string, { cell: Cell; reason: string; sizes: number[] }>();
  for (const cell of document.cells) {
    if (!cell.legal || cell.status === 'ok') continue;
    const reason = cell.reason ?? cell.error?.message ?? 'no reason given';
    const key = JSON.stringify([
      cell.dir,
      cell.pin,
      cell.state,
      cell.status,
      reason,
      cell.fix,
      cell.kind,
    ]);
    const row = byKind.get(key);
    if (row === undefined) byKind.set(key, { cell, reason, sizes: [cell.bytes] });
    else row.sizes.push(cell.bytes);
  }
  const rows = new Map<string, MissingRow & { kinds: CellKind[] }>();
  for (const { cell, reason, sizes } of byKind.values()) {
    sizes.sort((a, b) => a - b);
    const key = JSON.stringify([
      cell.dir,
      cell.pin,
      cell.state,
      cell.status,
      reason,
      cell.fix,
      sizes,
    ]);
    const row = rows.get(key);
    if (row === undefined) {
      rows.set(key, {
        dir: cell.dir,
        pin: cell.pin,
        state: cell.state,
        kinds: [cell.kind],
        sizes,
        status: cell.status === 'failed' ? 'failed' : 'unavailable',
        reason,
        fix: cell.fix ?? cell.error?.fix ?? null,
      });
    } else row.kinds.push(cell.kind);
  }
  return [...rows.values()];
}

/** The one line about combinations that mean nothing; `null` where there are none. */
export function illegalLine(document: Pick<MemcpyDocument, 'cells' | 'design'>): string | null {
  const number = document.design.illegal_cells;
  if (number === 0) return null;
  const reasons = new Set(
    document.cells.filter((cell) => !cell.legal).flatMap((cell) => cell.reason ?? []),
  );
  const what =
    number === 1
      ? '1 combination has no meaning and was left out'
      : `${number} combinations have no meaning and were left out`;
  return reasons.size === 0 ? `${what}.` : `${what}: ${[...reasons].join('; ')}.`;
}

/** How the document came to be, in one sentence part each: backend, device, order, seed. */
export function runFacts(document: MemcpyDocument): string[] {
  const { design, device } = document;
  const facts: string[] = [];
  if (device !== null) {
    const link =
      device.pcie_gen === null || device.pcie_width === null
        ? ''
        : `, PCIe ${device.pcie_gen} x${device.pcie_width}`;
    facts.push(`${device.name}${link}, driver ${device.driver ?? 'unknown'}`);
  } else if (document.proxy) {
    facts.push("host proxy: no GPU took part, CPU copies stand in for the driver's staging copies");
  }
  facts.push(
    `started ${document.started}, ${(document.duration_ns / 1e9).toFixed(1)} s`,
    `seed ${document.seed}`,
    `${numberOf(design.blocks, 'block')} (stopped by ${design.stopped_by})`,
    numberOf(design.runs, 'run'),
    `cache ${design.cache}`,
  );
  if (document.cpu !== null) facts.push(`CPU ${document.cpu}`);
  if (document.numa_node !== null) facts.push(`NUMA node ${document.numa_node}`);
  return facts;
}
