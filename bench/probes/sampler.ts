/** Started by cases/sampler.ts: samples for argv[2] seconds, takes every batch, and prints what came and what it cost. */
import { performance } from 'node:perf_hooks';
import { monitor } from 'warpgauge';

interface TableLine {
  /** Rows of the batches that were taken. */
  readonly delivered: number;
  readonly missed: number;
  readonly deadlines: number;
}

export interface SamplerLine {
  readonly perf: TableLine;
  readonly vmstat: TableLine;
  /** Batches. */
  readonly dropped: number;
  /** Of the event loop, 0 to 1. */
  readonly utilization: number;
}

const INTERVAL_MS = { perf: 0.1, vmstat: 10 } as const;
const EVENTS = [
  'task-clock',
  'page-faults',
  'context-switches',
  'cpu-migrations',
  'minor-faults',
  'major-faults',
];

async function main(seconds: number): Promise<void> {
  const durationMs = seconds * 1000;
  await using sampler = await monitor.sample({
    sources: [
      monitor.perf({ events: EVENTS, intervalMs: INTERVAL_MS.perf }),
      monitor.vmstat({ intervalMs: INTERVAL_MS.vmstat }),
    ],
    durationMs,
    keepAlive: true,
  });
  const rows = new Map<string, number>();
  const before = performance.eventLoopUtilization();
  for await (const { table, batch } of sampler) {
    rows.set(table, (rows.get(table) ?? 0) + batch.numRows);
  }
  const { utilization } = performance.eventLoopUtilization(before);
  const { tables } = sampler.stats();
  const line = (name: keyof typeof INTERVAL_MS): TableLine => ({
    delivered: rows.get(name) ?? 0,
    missed: tables.find(({ table }) => table === name)?.missed ?? Number.NaN,
    deadlines: Math.floor(durationMs / INTERVAL_MS[name]),
  });
  const dropped = tables.reduce((sum, { droppedBatches }) => sum + droppedBatches, 0);
  const result: SamplerLine = { perf: line('perf'), vmstat: line('vmstat'), dropped, utilization };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

void main(Number(process.argv[2]));
