import type { RecordBatch } from '../../arrow.ts';
import { WarpgaugeError } from '../../errors.ts';
import { BatchCells, namesOf } from '../../monitor/recording/batch-cells.ts';
import type { OpenRecording, RecordedTable } from '../../monitor/recording/open-recording.ts';
import { isMeasured, StepReader, type StepSeries } from '../../monitor/recording/step-series.ts';
import type { TimeWindow } from '../../monitor/recording/time-window.ts';
import type { Colours, ReportMeta, ReportPanel, ReportSeries, ReportSlices } from './format.ts';
import type { Packer } from './pack.ts';
import {
  type Chosen,
  COLOURS,
  keyLabel,
  PanelChooser,
  type PanelPlan,
  SERIES_COLOURS,
} from './panels.ts';
import { SeriesCollector } from './series-collector.ts';
import { type GroupTotals, SliceCollector } from './slice-collector.ts';

/** Lines of one panel; of more those that reached highest. */
const MOST_LINES = 8;

/** Total of one column over the piece, for the table under the plots. */
export interface SeriesTotals {
  readonly panel: string;
  readonly label: string;
  readonly origin: string;
  readonly unit: string;
  readonly least: number;
  readonly mean: number | null;
  readonly largest: number;
  readonly detail: string;
  readonly simulated: boolean;
}

/** All that a page shows, besides what the manifest says. */
export interface Collected {
  readonly meta: ReportMeta;
  readonly copies: readonly GroupTotals[];
  readonly kernels: readonly GroupTotals[];
  readonly series: readonly SeriesTotals[];
  /** Lines that were left out because a panel had too many. */
  readonly leftOut: number;
}

export interface CollectOptions {
  readonly recording: OpenRecording;
  readonly window: TimeWindow;
  readonly packer: Packer;
  batches(table: RecordedTable): AsyncGenerator<RecordBatch, void>;
}

const isHost = (memory: string | null): boolean => memory === 'pageable' || memory === 'pinned';

/** Blue goes to the GPU, orange comes back; pageable memory is the lighter of both. */
function copyColours(direction: string, memory: string): (index: number) => Colours {
  if (direction === 'HtoD') return () => (memory === 'pageable' ? COLOURS.sky : COLOURS.blue);
  if (direction === 'DtoH') return () => (memory === 'pageable' ? COLOURS.amber : COLOURS.orange);
  const others = [COLOURS.green, COLOURS.purple, COLOURS.grey, COLOURS.ink];
  return (index) => others[index % others.length] as Colours;
}

async function collectCopies(
  { recording, window, batches }: CollectOptions,
  table: RecordedTable,
): Promise<SliceCollector> {
  const length = Number(window.to - window.from);
  const copies = new SliceCollector(length, true);
  const names = await namesOf(recording, table);
  for await (const batch of batches(table)) {
    const cells = new BatchCells(batch, names);
    const [start, lasted] = [cells.number('time', window.from), cells.number('duration_ns')];
    const [bytes, async] = [cells.number('bytes'), cells.number('async')];
    const [pid, stream] = [cells.number('pid'), cells.number('stream')];
    const [direction, gpu] = [cells.text('direction'), cells.text('gpu')];
    const [source, destination] = [cells.text('source_memory'), cells.text('destination_memory')];
    for (let at = 0; at < cells.rows; at++) {
      const [begin, ns] = [start(at), lasted(at) || 0];
      if (begin > length || begin + ns < 0) continue;
      const [from, to] = [source(at), destination(at)];
      const memory = [from, to].find(isHost) ?? '';
      const way = direction(at) ?? 'unknown direction';
      const label = memory === '' ? way : `${way} ${memory}`;
      const group = copies.group(label, copyColours(way, memory), way === 'DtoH');
      const how = Number.isNaN(async(at))
        ? ''
        : async(at) === 1
          ? ', asynchronous'
          : ', synchronous';
      const place = copies.place(
        `${from ?? '?'} to ${to ?? '?'}${how}, stream ${stream(at)}, process ${pid(at)}${gpu(at) === null ? '' : `, ${gpu(at)}`}`,
      );
      copies.add(begin, ns, group, place, bytes(at) || 0);
    }
  }
  return copies;
}

async function collectKernels(
  { recording, window, batches }: CollectOptions,
  table: RecordedTable,
): Promise<SliceCollector> {
  const length = Number(window.to - window.from);
  const kernels = new SliceCollector(length, false);
  const names = await namesOf(recording, table);
  for await (const batch of batches(table)) {
    const cells = new BatchCells(batch, names);
    const [start, lasted] = [cells.number('time', window.from), cells.number('duration_ns')];
    const [pid, stream, device] = [
      cells.number('pid'),
      cells.number('stream'),
      cells.number('device'),
    ];
    const [gpu, name] = [cells.text('gpu'), cells.name('name')];
    for (let at = 0; at < cells.rows; at++) {
      const [begin, ns] = [start(at), lasted(at) || 0];
      if (begin > length || begin + ns < 0) continue;
      const uuid = gpu(at);
      const label = uuid === null ? `GPU ${device(at)}` : `GPU ${device(at)} ${uuid.slice(0, 12)}`;
      const group = kernels.group(
        label,
        (index) => SERIES_COLOURS[(index + 2) % SERIES_COLOURS.length] as Colours,
        false,
      );
      const place = kernels.place(`stream ${stream(at)}, process ${pid(at)}`);
      kernels.add(begin, ns, group, place, kernels.name((name(at) ?? 'kernel').slice(0, 300)));
    }
  }
  return kernels;
}

interface Line {
  readonly chosen: Chosen;
  readonly collector: SeriesCollector;
}

/** Reads one table of counters into lines. */
async function collectTable(
  { window, batches }: CollectOptions,
  table: RecordedTable,
  chooser: PanelChooser,
  lines: Line[],
): Promise<void> {
  const length = Number(window.to - window.from);
  const known = new Map<StepSeries, Line>();
  const chosen = new Map<string, Chosen>();
  for (const field of table.schema.fields) {
    if (!isMeasured(field, table.keys)) continue;
    const counter = field.metadata.get('kind') === 'counter';
    const unit = field.metadata.get('unit') ?? '';
    const choice = chooser.choose(table.name, field.name, counter ? `${unit}/s` : unit);
    if (choice !== null) chosen.set(field.name, choice);
  }
  if (chosen.size === 0) return;
  const reader = new StepReader(
    table,
    window.from,
    (column) => chosen.has(column),
    (series, at, value) => {
      let line = known.get(series);
      if (line === undefined) {
        const choice = chosen.get(series.column) as Chosen;
        line = { chosen: choice, collector: new SeriesCollector(series, length) };
        known.set(series, line);
        lines.push(line);
      }
      // Time that a core worked per second is cores.
      line.collector.step(at, series.unit === 'ns/s' ? value / 1e9 : value);
    },
  );
  for await (const batch of batches(table)) reader.read(batch);
  reader.end();
  for (const { collector } of known.values()) collector.end();
}

const duration = (ns: number): string =>
  ns >= 1e9
    ? `${(ns / 1e9).toPrecision(3)} s`
    : ns >= 1e6
      ? `${(ns / 1e6).toPrecision(3)} ms`
      : `${(ns / 1e3).toPrecision(3)} us`;

/** Packs the lines of one panel, those that reached highest first where they are too many. */
async function packPanel(
  plan: PanelPlan,
  all: readonly Line[],
  packer: Packer,
  totals: SeriesTotals[],
): Promise<{ readonly panel: ReportPanel; readonly leftOut: number } | null> {
  const shown = all.filter(
    ({ collector }) => collector.mean !== null && (collector.moved || plan.still === true),
  );
  const highest = new Set(
    [...shown].sort((a, b) => b.collector.largest - a.collector.largest).slice(0, MOST_LINES),
  );
  const lines = shown.filter((line) => highest.has(line));
  if (lines.length === 0) return null;
  const keyed = new Set(lines.map(({ collector }) => keyLabel(collector.series))).size > 1;
  const series: ReportSeries[] = [];
  for (const [index, { chosen, collector }] of lines.entries()) {
    const key = keyLabel(collector.series);
    const label = keyed && key !== '' ? `${chosen.label}, ${key}` : chosen.label;
    const packed = await collector.pack(packer, label, SERIES_COLOURS[index] as Colours);
    series.push(packed);
    totals.push({
      panel: plan.title,
      label,
      origin: packed.origin,
      unit: plan.quantity,
      least: collector.least,
      mean: collector.mean,
      largest: collector.largest,
      detail: collector.whole
        ? 'every reading'
        : `min, mean, max of each ${duration(collector.binNs)}`,
      simulated: packed.simulated,
    });
  }
  const { id, title, quantity, unit } = plan;
  return { panel: { id, title, quantity, unit, series }, leftOut: shown.length - lines.length };
}

async function packSlices(
  { recording, packer }: CollectOptions,
  table: string,
  title: string,
  slices: SliceCollector | null,
): Promise<ReportSlices | null> {
  const simulated = recording.tables.find(({ name }) => name === table)?.simulated === true;
  return slices === null ? null : slices.pack(packer, title, simulated);
}

/**
 * Reads a piece of a recording into what a page shows: each table once, batch by batch. What is kept does not grow with the
 * recording beyond the resolution of lines and the number of slices that are kept one by one.
 *
 * @throws WarpgaugeError `ERR_RECORDING` where there is nothing to draw.
 */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { recording, window, packer } = options;
  const find = (name: string) =>
    recording.tables.find((table) => table.name === name && table.rows > 0);
  const [copyTable, kernelTable] = [find('cuda.memcpy'), find('cuda.kernel')];
  const copySlices = copyTable === undefined ? null : await collectCopies(options, copyTable);
  const copies = await packSlices(options, 'cuda.memcpy', 'Copies', copySlices);
  const kernelSlices =
    kernelTable === undefined ? null : await collectKernels(options, kernelTable);
  const kernels = await packSlices(options, 'cuda.kernel', 'Kernels', kernelSlices);
  const chooser = new PanelChooser(recording);
  const lines: Line[] = [];
  for (const table of recording.tables.filter(({ kind }) => kind === 'sample')) {
    await collectTable(options, table, chooser, lines);
  }
  const panels: ReportPanel[] = [];
  const series: SeriesTotals[] = [];
  let leftOut = 0;
  for (const plan of chooser.plans) {
    const of = lines.filter(({ chosen }) => chosen.plan === plan);
    const packed = await packPanel(plan, of, packer, series);
    if (packed === null) continue;
    panels.push(packed.panel);
    leftOut += packed.leftOut;
  }
  if (copies === null && kernels === null && panels.length === 0) {
    throw new WarpgaugeError('ERR_RECORDING', `${recording.dir} has nothing that a report draws`, {
      fix: 'record with --source process, perf, gpu or vmstat, or trace a CUDA program with warpgauge trace',
      source: recording.dir,
    });
  }
  const marks = (await recording.marks())
    .filter(({ time }) => time >= window.from && time <= window.to)
    .map(({ time, name }) => ({ at: Number(time - window.from), name }));
  return {
    meta: {
      schema: 'warpgauge/report/1',
      base: String(window.from),
      offset: Number(window.from - window.start),
      length: Number(window.to - window.from),
      marks,
      copies,
      kernels,
      panels,
    },
    copies: copySlices?.totals ?? [],
    kernels: kernelSlices?.totals ?? [],
    series,
    leftOut,
  };
}
