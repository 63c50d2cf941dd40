import type { RecordedTable } from '../../monitor/recording/open-recording.ts';
import { StepReader, type StepSeries } from '../../monitor/recording/step-series.ts';
import { edges, gpuProcess, labelled, ORDER, type TraceContext } from './context.ts';

/**
 * Columns that are drawn unless all are asked for, by the first part of a table's name. Tables that are not here (GPU, PM
 * sampling, tables of the application) have all their columns drawn.
 */
const CHOSEN: Readonly<Record<string, RegExp>> = {
  vmstat:
    /^(pgfault|pgmajfault|pswpin|pswpout|pgmigrate_success|thp_fault_alloc|thp_split_page|compact_stall|nr_free_pages)$/,
  meminfo: /^(mem_available_bytes|mlocked_bytes|page_tables_bytes|anon_huge_pages_bytes)$/,
  hugepages: /^(free_hugepages|nr_hugepages)$/,
  pressure: /_total_ns$/,
  cpu: /^(user_ns|system_ns|ctxt|procs_running)$/,
  disk: /^(read_bytes|write_bytes)$/,
  net: /^(receive_bytes|transmit_bytes)$/,
  numa: /^(numa_miss|other_node|mem_free_bytes)$/,
  process:
    /^(minor_faults|major_faults|faults_perf|faults_unseen|rss_anon_bytes|rss_bytes|pinned_bytes|locked_bytes|cpu_user_ns|cpu_system_ns)$/,
  cgroup:
    /^(cpu_usage_ns|cpu_throttled_ns|memory_current_bytes|page_faults|major_faults|some_total_ns)$/,
  pcie: /errors?$/,
  thermal: /./,
};

/** Columns that describe the reading and not the machine. */
const ASIDE = /^(window_ns|time_enabled_ns|time_running_ns|start_ticks|rings|ring_bytes)$/;

/** Whether a column is drawn without being asked for. */
export function isChosen(table: string, column: string): boolean {
  if (ASIDE.test(column)) return false;
  const [source = ''] = table.split(/[.@]/);
  return CHOSEN[source]?.test(column) ?? true;
}

interface Drawn {
  readonly pid: number;
  readonly name: string;
  /** The first value waits until a second one differs: what never moves is no track. */
  waiting: { readonly at: number; readonly value: number } | null;
  last: number;
  lastAt: number;
}

const rounded = (value: number): number => Number(value.toPrecision(7));

/** Numbers of one sample table as counter tracks; only changes are written, since a value holds until the next one. */
export async function writeCounters(
  context: TraceContext,
  table: RecordedTable,
  all: boolean,
): Promise<void> {
  const { file, tracks, window } = context;
  const { from, to } = edges(context);
  const drawn = new Map<StepSeries, Drawn>();
  const begin = (series: StepSeries): Drawn => {
    const { gpu, ...others } = series.keys;
    const pid =
      gpu === undefined || gpu === '-'
        ? tracks.process(`counters ${table.name}`, labelled(table.name, table), ORDER.counters)
        : gpuProcess(context, table, gpu, Number.NaN);
    const key = Object.values(gpu === undefined ? series.keys : others).join(' ');
    const name = [key, `${table.name} ${series.column}`].filter((part) => part !== '').join(' ');
    return { pid, name, waiting: null, last: Number.NaN, lastAt: Number.NEGATIVE_INFINITY };
  };
  const reader = new StepReader(
    table,
    window.start,
    (column) => all || isChosen(table.name, column),
    (series, at, value) => {
      if (at < from || at > to || Number.isNaN(value)) return;
      let one = drawn.get(series);
      if (one === undefined) {
        one = begin(series);
        drawn.set(series, one);
      }
      const shown = rounded(value);
      if (at <= one.lastAt || shown === one.last) return;
      const first = Number.isNaN(one.last);
      one.last = shown;
      one.lastAt = at;
      if (first) {
        one.waiting = { at, value: shown };
        return;
      }
      const { pid, name, waiting } = one;
      if (waiting !== null) file.counter(pid, waiting.at, name, series.unit, waiting.value);
      one.waiting = null;
      file.counter(pid, at, name, series.unit, shown);
    },
  );
  if (reader.empty) return;
  for await (const batch of context.batches(table)) {
    reader.read(batch);
    context.count(table, batch.numRows);
  }
  await file.flush();
}
