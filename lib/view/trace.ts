import type { DirectionSummary, TraceSummary } from '../monitor/trace/summary.ts';
import { formatBytes, formatDuration } from '../units.ts';
import { type Paint, painter } from './colour.ts';
import { ABSENT, numberOf, percent, significant } from './numbers.ts';
import { formatTable, printable, type Row, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

/** Names of C++ kernels are as long as a page: what is cut is in the recording. */
const LONGEST_NAME = 60;
const UNTRACED = 20;

const right = { align: 'right' } as const;
const grouped = (value: number | null): string =>
  value === null ? ABSENT : value.toLocaleString('en-US');
const cut = (name: string): string =>
  name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 3)}...` : name;

function directionRow(sum: DirectionSummary): Row {
  return {
    cells: [
      sum.direction ?? 'unknown',
      grouped(sum.copies),
      formatBytes(sum.bytes),
      formatDuration(sum.timeNs),
      sum.gigabytesPerSecond === null ? ABSENT : significant(sum.gigabytesPerSecond, 3),
      percent(sum.pageableRatio),
      percent(sum.overlapRatio),
      grouped(sum.faultedCopies),
      grouped(sum.faults),
    ],
  };
}

function copies({ directions }: TraceSummary, paint: Paint, width: number): string[] {
  if (directions.length === 0) return ['  no copies'];
  return formatTable(
    [
      { title: 'copies' },
      { title: 'count', ...right },
      { title: 'bytes', ...right },
      { title: 'time', ...right },
      { title: 'GB/s', ...right },
      { title: 'pageable', ...right },
      { title: 'with kernels', ...right },
      { title: 'with faults', ...right },
      { title: 'faults', ...right },
    ],
    directions.map(directionRow),
    { paint, width, indent: '  ' },
  );
}

function kernels({ kernels: all }: TraceSummary, paint: Paint, width: number): string[] {
  if (all === null || all.count === 0) return [];
  const busy = all.busyNs === null ? '' : `, ${formatDuration(all.busyNs)} with at least one`;
  return [
    '',
    `  ${numberOf(all.count, 'kernel')}, ${formatDuration(all.timeNs)}${busy}`,
    ...formatTable(
      [
        { title: 'kernel' },
        { title: 'count', ...right },
        { title: 'time', ...right },
        { title: 'share', ...right },
        { title: 'longest', ...right },
      ],
      all.top.map((kernel) => ({
        cells: [
          cut(kernel.name ?? 'unknown'),
          grouped(kernel.count),
          formatDuration(kernel.timeNs),
          percent(kernel.timeRatio),
          formatDuration(kernel.maxNs),
        ],
      })),
      { paint, width, indent: '  ' },
    ),
  ];
}

function others({ memsets, synchronizations, apiCalls, hostFaults }: TraceSummary): string[] {
  const parts: string[] = [];
  if (memsets !== null && memsets.count > 0) {
    parts.push(
      `${numberOf(memsets.count, 'memset')}, ${formatBytes(memsets.bytes)}, ${formatDuration(memsets.timeNs)}`,
    );
  }
  if (synchronizations !== null && synchronizations.count > 0) {
    parts.push(
      `${numberOf(synchronizations.count, 'synchronization')}, ${formatDuration(synchronizations.timeNs)}`,
    );
  }
  if (apiCalls !== null && apiCalls.count > 0) {
    const failed = apiCalls.failed === 0 ? '' : `, ${apiCalls.failed} failed`;
    parts.push(
      `${numberOf(apiCalls.count, 'API call')}, ${formatDuration(apiCalls.timeNs)}${failed}`,
    );
  }
  if (hostFaults.seen !== null) parts.push(`${numberOf(hostFaults.seen, 'host page fault')}`);
  if (hostFaults.unseen !== null) {
    parts.push(
      `${numberOf(hostFaults.unseen, 'fault')} that perf cannot see (populate, mlock, pinning)`,
    );
  }
  return parts.length === 0 ? [] : ['', ...parts.map((part) => `  ${part}`)];
}

function processes({ processes: all }: TraceSummary, paint: Paint, width: number): string[] {
  if (all.length === 0) return [];
  const lossOf = (lost: Readonly<Record<string, number>>): string =>
    Object.entries(lost)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  return [
    '',
    ...formatTable(
      [
        { title: 'process' },
        { title: 'records', ...right },
        { title: 'state' },
        { title: 'lost' },
        { title: 'notes' },
      ],
      all.map(({ pid, command, state, reason, records, lost, simulated, detail }) => ({
        cells: [
          `${pid ?? '?'} ${cut(command ?? '')}`,
          grouped(records),
          state === 'gone' ? { text: 'gone: not flushed', style: 'yellow' } : (state ?? ABSENT),
          lossOf(lost),
          [simulated ? 'Simulated' : '', reason ?? '', detail ?? '']
            .filter((note) => note !== '')
            .join(', '),
        ],
      })),
      { paint, width, indent: '  ' },
    ),
  ];
}

function missing({ processes: all, untraced, droppedRows }: TraceSummary, width: number): string[] {
  const lines = untraced
    .slice(0, UNTRACED)
    .flatMap(({ process, reason, code }) =>
      wrap(
        `not traced: ${process ?? numberOf(code, 'more process').replace('processs', 'processes')}, ${reason}${process !== null && code !== 0 ? ` (${code})` : ''}`,
        width,
        '  ',
        '    ',
      ),
    );
  if (untraced.length > UNTRACED) lines.push(`  and ${untraced.length - UNTRACED} more`);
  if (droppedRows > 0) lines.push(`  ${numberOf(droppedRows, 'row')} lost: the disk was too slow`);
  if (all.length === 0 && untraced.length === 0) {
    lines.push(
      ...wrap(
        'CUDA was not started: no process of the command called cuInit, or those that did reach neither our memory nor the folder for their records (setuid, a container, --trace-dir below a closed folder)',
        width,
        '  ',
        '  ',
      ),
    );
  }
  return lines.length === 0 ? [] : ['', ...lines];
}

/** What `warpgauge trace` prints at its end, and `show` of a recording that it made. */
export function renderTrace(summary: TraceSummary, { colour, width }: RenderOptions): string {
  const paint = painter(colour);
  const simulated = summary.simulated ? paint('yellow', ' (Simulated)') : '';
  return [
    `${paint('bold', `${printable(summary.dir)}: CUDA`)}${simulated}`,
    ...copies(summary, paint, width),
    ...kernels(summary, paint, width),
    ...others(summary),
    ...processes(summary, paint, width),
    ...missing(summary, width),
  ].join('\n');
}
