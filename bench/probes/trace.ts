/**
 * Started by cases/trace.ts: traces the program argv[5], which makes argv[4] records a second for argv[3] seconds, into the
 * folder argv[2]; blocks its own JavaScript for a second in the middle; prints what arrived and what it cost.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { monitor } from 'warpgauge';
import { recordWith } from '#lib/monitor/recording/record';
import { MiB } from '#lib/units';

export interface TraceLine {
  readonly made: number;
  /** First to last record. */
  readonly madeNs: number;
  readonly rows: number;
  readonly dropped: number;
  /** Times our thread in the program found the ring full. */
  readonly waits: number;
  readonly childNs: number;
  readonly readerNs: number;
  readonly earlyBytes: number;
  readonly lateBytes: number;
  readonly childEarlyBytes: number;
  readonly childLateBytes: number;
}

const BLOCKED_MS = 1000;
/**
 * A sixty-fourth of it is one process's: 32,768 records, 16 ms at two million a second, where the default gives 4 ms. On two
 * busy processors no thread of ours is scheduled in time for that.
 */
const BUFFER_BYTES = 256 * MiB;
const LOOK_MS = 100;
const FAKE = resolve('out/debug/fake');

/** Resident set of a process, bytes; 0 when it has ended. */
function residentBytes(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kib ?? 0) * 1024;
  } catch {
    return 0;
  }
}

async function main(out: string, seconds: number, rate: number, program: string): Promise<void> {
  const made = Math.round(seconds * rate);
  const most = [0, 0, 0, 0];
  const childMost = [0, 0, 0, 0];
  let traced: Awaited<ReturnType<typeof monitor.traceCommand>> | undefined;
  let start = 0;
  const recording = await recordWith(
    async ({ sources, ...sampling }) => {
      traced = await monitor.traceCommand({
        ...sampling,
        sources,
        command: [program, '--generate', String(made), '--rate', String(rate)],
        kinds: ['memcpy', 'kernel'],
        bufferBytes: BUFFER_BYTES,
        output: 'stderr',
        env: {
          ...process.env,
          WARPGAUGE_CUDA: `${FAKE}/libcuda.so.1`,
          WARPGAUGE_CUPTI: `${FAKE}/libcupti.so`,
        },
      });
      start = performance.now();
      return traced;
    },
    { out, sources: [] },
  );
  if (traced === undefined) throw new Error('nothing was traced');
  const { pid, ended } = traced;
  let blocked = false;
  const look = setInterval(() => {
    const share = (performance.now() - start) / (seconds * 1000);
    const quarter = Math.min(3, Math.floor(4 * share));
    most[quarter] = Math.max(most[quarter] ?? 0, process.memoryUsage.rss());
    childMost[quarter] = Math.max(childMost[quarter] ?? 0, residentBytes(pid));
    if (share >= 0.5 && !blocked) {
      blocked = true;
      const until = performance.now() + BLOCKED_MS;
      while (performance.now() < until);
    }
  }, LOOK_MS);
  const { code } = await ended;
  clearInterval(look);
  const { tables: stats } = traced.stats();
  const readerNs = stats
    .filter(({ table }) => table === 'cuda.memcpy')
    .flatMap(({ costs }) => costs)
    .reduce((sum, { totalNs }) => sum + totalNs, 0);
  await recording.close();
  await recording.done;
  if (code !== 0 || !blocked) throw new Error(`the program ended with ${code}`);

  const opened = await monitor.openRecording(out);
  let rows = 0;
  let first = 0n;
  let last = 0n;
  for (const name of ['cuda.memcpy', 'cuda.kernel']) {
    rows += opened.tables.find((table) => table.name === name)?.rows ?? 0;
    for await (const batch of opened.batches(name)) {
      const times = batch.getChild('time')?.data[0]?.values as BigInt64Array;
      const [head = 0n, tail = 0n] = [times[0], times.at(-1)];
      if (first === 0n || head < first) first = head;
      if (tail > last) last = tail;
    }
  }
  const processes = (await opened.table('cuda.process')).toArray();
  const end = processes.at(-1)?.toJSON() as Record<string, bigint | number | null>;
  const line: TraceLine = {
    made,
    madeNs: Number(last - first),
    rows,
    dropped: Number(end['dropped']) + Number(end['dropped_cupti']),
    waits: Number(end['waits']),
    childNs: Number(end['cpu_ns']),
    readerNs,
    earlyBytes: most[1] ?? 0,
    lateBytes: most[3] ?? 0,
    childEarlyBytes: childMost[1] ?? 0,
    childLateBytes: childMost[3] ?? 0,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [out = '', seconds, rate, program = ''] = process.argv.slice(2);
void main(out, Number(seconds), Number(rate), program);
