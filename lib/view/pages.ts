import type {
  PagesStatus,
  PersistentPools,
  PlanStep,
  ReservePlan,
  SettleReport,
} from '../mitigate/index.ts';
import { describeChange } from '../mitigate/pool-change.ts';
import { formatBytes, KiB } from '../units.ts';
import { painter } from './colour.ts';
import { formatTable, type Row, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const ABSENT = '-';
const count = (value: number | null): string => (value === null ? ABSENT : String(value));
const size = (bytes: number | null): string => (bytes === null ? ABSENT : formatBytes(bytes));
const right = (title: string) => ({ title, align: 'right' as const });

/** Pools, limits, policy, memory and reservations as text. */
export function renderPagesStatus(status: PagesStatus, options: RenderOptions): string {
  const paint = painter(options.colour);
  const layout = { paint, width: options.width };
  const { memory, thp } = status;
  const output = [paint('bold', 'Pools (pages)')];
  if (status.pools.length === 0) output.push('  this kernel has no huge page pools');
  output.push(
    ...formatTable(
      [
        { title: 'size' },
        { title: 'node' },
        ...['total', 'free', 'reserved', 'surplus', 'overcommit', 'available'].map(right),
        right('splits into'),
      ],
      status.pools.map((pool) => ({
        cells: [
          formatBytes(pool.page_kb * KiB),
          pool.node === null ? 'all' : String(pool.node),
          count(pool.nr),
          count(pool.free),
          count(pool.resv),
          count(pool.surplus),
          count(pool.overcommit),
          count(pool.available),
          size(pool.demote_kb === null ? null : pool.demote_kb * KiB),
        ],
      })),
      layout,
    ),
    '',
    paint('bold', 'cgroup limits'),
  );
  if (status.cgroup_hugetlb_why !== null) output.push(`  none: ${status.cgroup_hugetlb_why}`);
  output.push(
    ...formatTable(
      [{ title: 'size' }, right('limit'), right('used'), right('refused'), { title: 'file' }],
      status.cgroup_hugetlb.map((limit) => ({
        cells: [
          formatBytes(limit.page_kb * KiB),
          limit.bytes === null ? 'no limit' : formatBytes(limit.bytes),
          size(limit.current_bytes),
          count(limit.refused),
          limit.file,
        ],
      })),
      layout,
    ),
    '',
    paint('bold', 'Transparent huge pages'),
  );
  const words = Object.entries({
    enabled: thp.enabled,
    defrag: thp.defrag,
    shmem_enabled: thp.shmem_enabled,
    use_zero_page: thp.use_zero_page,
    'khugepaged/defrag': thp.khugepaged_defrag,
  }).map(([name, value]) => `${name} ${value ?? ABSENT}`);
  const sizes = Object.entries(thp.sizes)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([kilobytes, policy]) => `${formatBytes(Number(kilobytes) * KiB)} ${policy}`);
  output.push(`  ${thp.enabled === null ? 'none on this kernel' : words.join(', ')}`);
  if (sizes.length > 0) output.push(...wrap(sizes.join(', '), options.width, '  by size: ', '  '));
  output.push(
    '',
    `Memory: ${size(memory.available_bytes)} available, ${size(memory.free_bytes)} free of ${size(memory.total_bytes)}`,
  );
  if (status.reservations.length > 0) {
    output.push('', paint('bold', 'Added by warpgauge and not given back'));
    output.push(
      ...formatTable(
        [{ title: 'state' }, right('pid'), { title: 'pages' }, { title: 'command' }],
        status.reservations.map((held) => ({
          cells: [
            held.state,
            count(held.pid),
            held.outstanding.map(describeChange).join(', '),
            held.command ?? held.path,
          ],
        })),
        layout,
      ),
    );
    const advice = new Set(status.reservations.map(({ state }) => ADVICE[state]));
    for (const line of advice) if (line !== undefined) output.push(`  ${line}`);
  }
  return output.join('\n');
}

const ADVICE: Readonly<Record<string, string>> = {
  committed: 'committed pages go back with: sudo warpgauge pages release',
  abandoned: 'abandoned pages go back with: sudo warpgauge pages recover',
};

/** What reserve would do, and why it would refuse. */
export function renderPagesPlan(plan: ReservePlan, options: RenderOptions): string {
  const layout = { paint: painter(options.colour), width: options.width };
  const rows: Row[] = plan.steps.map((step) => ({
    cells: [
      formatBytes(step.pageBytes),
      step.node === null ? 'all' : String(step.node),
      count(step.count),
      count(step.available),
      count(step.growth),
      changeOfStep(step),
    ],
  }));
  const columns = [
    { title: 'size' },
    { title: 'node' },
    ...['wanted', 'available', 'to add'].map(right),
    { title: 'change' },
  ];
  const output = formatTable(columns, rows, layout);
  output.push(
    `  ${formatBytes(plan.growthBytes)} to add, at most ${formatBytes(plan.limitBytes)} allowed`,
  );
  if (plan.refusal !== null) {
    output.push(`  refused: ${plan.refusal.message} (${plan.refusal.code})`);
    if (plan.refusal.fix !== undefined) output.push(`  fix: ${plan.refusal.fix}`);
  }
  return output.join('\n');
}

function changeOfStep({ demote, growth, file, from, to }: PlanStep): string {
  const split =
    demote === null
      ? []
      : [`split ${demote.pages} x ${formatBytes(demote.pageBytes)}: ${demote.file}`];
  const write = growth === 0 ? [] : [`${file}: ${to - growth} -> ${to}`];
  const changes = [...split, ...write].join(', then ');
  return changes === '' ? `nothing to do (${from} are there)` : changes;
}

/** How a person makes the pools of a plan outlive a boot. */
export function renderPersistent(persistent: PersistentPools): string {
  const { kernelParameters, sysctl, unit } = persistent;
  return [
    '',
    'After every boot (warpgauge writes none of this):',
    '',
    '# kernel parameters (GRUB_CMDLINE_LINUX in /etc/default/grub); the only way that finds 1 GiB pages for sure',
    kernelParameters,
    ...(sysctl === null ? [] : ['', '# or /etc/sysctl.d/90-huge-pages.conf', sysctl]),
    '',
    '# or /etc/systemd/system/huge-pages.service, then: systemctl enable huge-pages',
    unit.trimEnd(),
  ].join('\n');
}

/** What release or recover did, one line per journal. */
export function renderSettled(report: SettleReport, mode: 'release' | 'recover'): string {
  if (report.journals.length === 0) return `nothing to ${mode} (looked in ${report.stateDir})`;
  return report.journals
    .map((journal) => {
      const pages = (list: typeof journal.returned): string => list.map(describeChange).join(', ');
      const parts = [`${journal.outcome}: ${journal.state}, pid ${count(journal.pid)}`];
      if (journal.returned.length > 0) parts.push(`gave back ${pages(journal.returned)}`);
      if (journal.remaining.length > 0) parts.push(`still in use: ${pages(journal.remaining)}`);
      if (journal.gone.length > 0) parts.push(`taken by others: ${pages(journal.gone)}`);
      if (journal.error !== null) parts.push(`${journal.error.message} (${journal.error.code})`);
      if (journal.error?.fix) parts.push(`fix: ${journal.error.fix}`);
      return parts.join('; ');
    })
    .join('\n');
}
