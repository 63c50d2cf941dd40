import type { OpenRecording } from '../../monitor/recording/open-recording.ts';
import type { StepSeries } from '../../monitor/recording/step-series.ts';
import type { Colours, Quantity } from './format.ts';

type Hue = 'blue' | 'sky' | 'orange' | 'amber' | 'green' | 'purple' | 'grey' | 'ink';

/** Okabe and Ito's colours, as in the plots of the benchmark, and lighter ones of the same hue for dark paper. */
export const COLOURS: Readonly<Record<Hue, Colours>> = {
  blue: ['#0072b2', '#4fb0ee'],
  sky: ['#56b4e9', '#9bd4f5'],
  orange: ['#d55e00', '#ff8c42'],
  amber: ['#e69f00', '#ffc35a'],
  green: ['#009e73', '#35cfa0'],
  purple: ['#aa4499', '#dd88cc'],
  grey: ['#6b6b6b', '#a8a8a8'],
  ink: ['#3d3d3d', '#d0d0d0'],
};

export const SERIES_COLOURS: readonly Colours[] = [
  COLOURS.blue,
  COLOURS.orange,
  COLOURS.green,
  COLOURS.purple,
  COLOURS.amber,
  COLOURS.sky,
  COLOURS.ink,
  COLOURS.grey,
];

/** Columns that belong into a panel. */
interface Choice {
  readonly table: RegExp;
  readonly column: RegExp;
  /** What it is called in the legend; `$1` is the first group of `column`. */
  readonly label: string;
}

export interface PanelPlan {
  readonly id: string;
  readonly title: string;
  readonly quantity: Quantity;
  readonly unit: string;
  /** The first list of which the recording has a table; the others say the same in a poorer way. */
  readonly choices: readonly (readonly Choice[])[];
  /** Shown also when it never moved: that a GPU was idle is an answer. */
  readonly still?: boolean;
}

const instance = (name: string): RegExp => new RegExp(`^${name}(@\\w+)?$`);
const any = (name: string, column: RegExp, label: string): Choice => ({
  table: instance(name),
  column,
  label,
});

const PM = /^pm-sampling(@\w+)?(\.[\w-]+)?$/;

/** What a report draws under the copies, from the top. */
export const PANELS: readonly PanelPlan[] = [
  {
    id: 'faults',
    title: 'Host page faults',
    quantity: 'per second',
    unit: 'faults',
    choices: [
      [
        any('process', /^minor_faults$/, 'minor'),
        any('process', /^major_faults$/, 'major'),
        any('process', /^faults_unseen$/, 'unseen by perf (populated, pinned)'),
      ],
      [
        any('page-faults\\.stat', /^minor$/, 'minor'),
        any('page-faults\\.stat', /^major$/, 'major'),
      ],
      [any('perf', /^(page|minor|major)_faults$/, '$1')],
      [any('cgroup', /^page_faults$/, 'all'), any('cgroup', /^major_faults$/, 'major')],
      [any('vmstat', /^pgfault$/, 'all of the machine'), any('vmstat', /^pgmajfault$/, 'major')],
    ],
  },
  {
    id: 'pcie',
    title: 'PCIe bytes',
    quantity: 'bytes/s',
    unit: 'bytes/s',
    still: true,
    choices: [
      [
        { table: PM, column: /pcie.*(rx|read).*bytes/, label: 'host to GPU' },
        { table: PM, column: /pcie.*(tx|write).*bytes/, label: 'GPU to host' },
      ],
      [
        any('gpu\\.pcie', /^rx_bytes(_per_second)?$/, 'host to GPU'),
        any('gpu\\.pcie', /^tx_bytes(_per_second)?$/, 'GPU to host'),
      ],
      [
        any('gpu\\.gpm', /^pcie_rx_bytes_per_second$/, 'host to GPU'),
        any('gpu\\.gpm', /^pcie_tx_bytes_per_second$/, 'GPU to host'),
      ],
    ],
  },
  {
    id: 'utilization',
    title: 'GPU utilization',
    quantity: 'share',
    unit: '%',
    still: true,
    choices: [
      [
        any('gpu', /^gpu_utilization_ratio$/, 'NVML: a kernel runs'),
        { table: PM, column: /^((?:sm|gr|tensor|dram)\w*)_ratio$/, label: '$1' },
      ],
      [any('gpu\\.gpm', /^((?:sm|dram|graphics)\w*)_ratio$/, '$1')],
    ],
  },
  {
    id: 'gpu-memory',
    title: 'GPU memory in use',
    quantity: 'bytes',
    unit: 'bytes',
    choices: [[any('gpu', /^memory_used_bytes$/, 'used')]],
  },
  {
    id: 'power',
    title: 'GPU power',
    quantity: 'number',
    unit: 'W',
    choices: [[any('gpu', /^power_watts$/, 'power')]],
  },
  {
    id: 'processor',
    title: 'CPU cores in use',
    quantity: 'number',
    unit: 'cores',
    choices: [
      [any('process', /^cpu_(user|system)_ns$/, '$1')],
      [any('cgroup', /^cpu_(user|system)_ns$/, '$1')],
    ],
  },
  {
    id: 'memory',
    title: 'Host memory',
    quantity: 'bytes',
    unit: 'bytes',
    choices: [
      [
        any('process', /^rss_(anon|file|shmem)_bytes$/, 'resident $1'),
        any('process', /^(hugetlb|locked|pinned)_bytes$/, '$1'),
      ],
      [any('meminfo', /^mem_(available)_bytes$/, '$1')],
    ],
  },
];

/** Sources whose columns are chosen above; all columns of other tables (fed by the application) become panels. */
const KNOWN =
  /^(vmstat|meminfo|hugepages|pressure|cpu|disk|net|numa|perf|page-faults|process|cgroup|pcie|thermal|gpu|pm-sampling|cuda|clock|state|mark|span)([.@]|$)/;
const MOST_OWN = 12;

export interface Chosen {
  readonly plan: PanelPlan;
  readonly label: string;
}

/** Which columns of a recording a report draws, and where. */
export class PanelChooser {
  readonly #choices = new Map<PanelPlan, readonly Choice[]>();
  readonly #own = new Map<string, PanelPlan>();

  constructor({ tables }: OpenRecording) {
    const has = ({ table, column }: Choice): boolean =>
      tables.some(
        (one) =>
          one.rows > 1 &&
          table.test(one.name) &&
          one.schema.fields.some(
            (field) => column.test(field.name) && !field.metadata.has('reason'),
          ),
      );
    for (const plan of PANELS) {
      const choice = plan.choices.find((list) => list.some(has));
      if (choice !== undefined) this.#choices.set(plan, choice);
    }
  }

  /** All panels that may have something to show, in their order. */
  get plans(): readonly PanelPlan[] {
    return [...PANELS, ...this.#own.values()];
  }

  choose(table: string, column: string, unit: string): Chosen | null {
    for (const [plan, choices] of this.#choices) {
      const choice = choices.find((one) => one.table.test(table) && one.column.test(column));
      if (choice === undefined) continue;
      const [, group = ''] = choice.column.exec(column) ?? [];
      return { plan, label: choice.label.replace('$1', group) };
    }
    if (KNOWN.test(table) || table.endsWith('.name')) return null;
    return { plan: this.#planOfOwn(table, column, unit), label: column };
  }

  /** A panel for a column of a table that the application fed. */
  #planOfOwn(table: string, column: string, unit: string): PanelPlan {
    const id = `${table} ${column}`;
    const known = this.#own.get(id);
    if (known !== undefined) return known;
    const quantity: Quantity =
      unit === 'bytes/s' || unit === 'bytes'
        ? unit
        : column.endsWith('_ratio')
          ? 'share'
          : 'number';
    const plan = { id, title: id, quantity, unit: unit === '1' ? '' : unit, choices: [] };
    if (this.#own.size < MOST_OWN) this.#own.set(id, plan);
    return plan;
  }
}

/** Label of a series among others of its panel: which process or GPU it is of, where there are several. */
export function keyLabel({ keys }: StepSeries): string {
  return Object.entries(keys)
    .filter(([name]) => name !== 'start_time' && name !== 'start_ticks')
    .map(([name, value]) => (name === 'gpu' ? value.slice(0, 12) : `${name} ${value}`))
    .join(', ');
}
