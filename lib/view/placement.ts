import type { NumaStatus, RunResult, ThpPlan, ThpStatus } from '../mitigate/index.ts';
import { formatBytes } from '../units.ts';
import { painter } from './colour.ts';
import { formatTable, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

/** Numbers as the kernel writes lists: 0-3,8. */
export function formatList(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    let end = i;
    while (numbers[end + 1] === (numbers[end] as number) + 1) end += 1;
    parts.push(end === i ? `${numbers[i]}` : `${numbers[i]}-${numbers[end]}`);
    i = end + 1;
  }
  return parts.join(',') || 'none';
}

const size = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes));

/** Nodes, GPUs and what this process may use. */
export function renderNumaStatus(status: NumaStatus, options: RenderOptions): string {
  const paint = painter(options.colour);
  const layout = { paint, width: options.width };
  const output = [paint('bold', 'NUMA nodes')];
  if (status.nodes.length === 0) output.push('  this kernel tells of none');
  output.push(
    ...formatTable(
      [{ title: 'node' }, { title: 'CPUs' }, { title: 'memory' }, { title: 'free' }],
      status.nodes.map(({ node, cpus, total_bytes, free_bytes }) => ({
        cells: [`${node}`, formatList(cpus), size(total_bytes), size(free_bytes)],
      })),
      layout,
    ),
    '',
    paint('bold', 'GPUs'),
  );
  if (status.gpus_why !== null) output.push(`  none: ${status.gpus_why}`);
  output.push(
    ...formatTable(
      [
        { title: 'GPU' },
        { title: 'PCI address' },
        { title: 'node' },
        { title: 'CPUs' },
        { title: 'source' },
      ],
      status.gpus.map((gpu) => ({
        cells: [
          `${gpu.index}${gpu.simulated ? ' (simulated)' : ''}`,
          gpu.pci_address,
          gpu.node === null ? 'unknown' : `${gpu.node}`,
          gpu.node === null ? '-' : formatList(gpu.cpus),
          gpu.source,
        ],
      })),
      layout,
    ),
    ...status.gpus.flatMap(({ index, disagreement }) =>
      disagreement === null ? [] : wrap(disagreement, options.width, `  GPU ${index}: `, '    '),
    ),
    '',
    `This process: CPUs ${formatList(status.allowed_cpus)}, memory of nodes ${formatList(status.allowed_nodes)}`,
    `Automatic balancing: ${status.balancing === null ? 'not told' : status.balancing === 0 ? 'off' : 'on'}`,
  );
  return output.join('\n');
}

export function renderThpStatus(status: ThpStatus): string {
  const { policy, choices, changes } = status;
  if (policy.enabled === null) return 'This kernel has no transparent huge pages';
  const lines = (['enabled', 'defrag', 'shmem_enabled'] as const).flatMap((name) => {
    const words = choices[name];
    return words === undefined ? [] : [`${name.padEnd(14)} ${policy[name]}  (${words.join(' ')})`];
  });
  for (const change of changes) {
    const what = change.outstanding.map(({ target, prior }) => `${target} was ${prior}`).join(', ');
    lines.push(`${change.state}, pid ${change.pid}: ${what || 'nothing is left of it'}`);
  }
  if (changes.some(({ state }) => state === 'committed')) {
    lines.push('put back what was there with: sudo warpgauge thp release');
  }
  return lines.join('\n');
}

export function renderThpPlan(plan: ThpPlan): string {
  const lines = plan.steps.map(({ file, from, to }) => `${file}: ${from} -> ${to}`);
  if (lines.length === 0) lines.push('nothing to do: the machine is set so');
  if (plan.refusal !== null) {
    lines.push(`refused: ${plan.refusal.message} (${plan.refusal.code})`);
    if (plan.refusal.fix !== undefined) lines.push(`fix: ${plan.refusal.fix}`);
  }
  return lines.join('\n');
}

/** What a command's memory lay on. */
export function renderRun(result: RunResult): string {
  const { memory, node, cpus, gpu } = result;
  const lines = [...result.notes];
  if (node !== null) {
    const near = gpu === null ? '' : `, near GPU ${gpu.index} (${gpu.source})`;
    lines.push(`bound to node ${node}, CPUs ${formatList(cpus ?? [])}${near}`);
  }
  if (memory === null) return [...lines, `pages unknown: ${result.memory_why}`].join('\n');
  const { processes, rss_bytes, anonymous_bytes, thp_bytes, hugetlb_bytes } = memory;
  const many = processes === 1 ? '' : ` of ${processes} processes`;
  lines.push(
    `at its peak, ${(memory.at_ms / 1000).toFixed(2)} s after the start: ${formatBytes(rss_bytes)} resident${many}, ${formatBytes(anonymous_bytes)} of it anonymous; ${formatBytes(thp_bytes)} on transparent huge pages, ${formatBytes(hugetlb_bytes)} on hugetlb pages (smaps)`,
  );
  if (memory.nodes !== null) {
    const nodes = Object.entries(memory.nodes).map(
      ([at, bytes]) => `node ${at}: ${formatBytes(bytes)}`,
    );
    lines.push(`by node: ${nodes.join(', ') || 'none'}`);
  }
  return lines.join('\n');
}
