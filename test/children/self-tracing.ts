// Traces its own copies (warm ones: a cold copy to the device is a registration alone) on the simulated driver, in ways that its first argument names. Used by test/monitor/cuda-trace.test.ts.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { monitor } from 'warpgauge';
import { loadBinding } from '#lib/addon';

const BYTES = 1 << 20;
const [way = 'copies', count = '1'] = process.argv.slice(2);

/** Copies a number of times from new pages, in this process. */
function copy(times: number): void {
  const binding = loadBinding();
  binding.openBackend({
    backend: 'cuda',
    device: 0,
    cudaPath: process.env['WARPGAUGE_CUDA'] ?? '',
    nvmlPath: process.env['WARPGAUGE_NVML'] ?? '',
  });
  for (let i = 0; i < times; i++) {
    binding.runSample({
      op: 'HtoD',
      pin: 'none',
      state: 'warm',
      kind: '4k',
      bytes: BYTES,
      patternSeed: i,
      numaNode: -1,
      condition: false,
      fill: true,
      flushBytes: 0,
      dropPage: -1,
      stretch: 0,
      witness: false,
    });
  }
}

const trace = (options: Partial<monitor.SampleOptions> = {}) =>
  monitor.sample({
    sources: [monitor.cudaTrace({ kinds: ['memcpy', 'api'], flushMs: 5 })],
    ...options,
  });

async function rowsOf(sampler: monitor.Sampler): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const { table, batch } of sampler) {
    if (table !== 'cuda.memcpy') continue;
    for (const row of batch) rows.push(row.toJSON() as Record<string, unknown>);
  }
  return rows;
}

async function copies(): Promise<void> {
  const found: unknown[] = [];
  // Twice: CUPTI is given back and taken again.
  for (let round = 0; round < 2; round++) {
    const sampler = await trace();
    const rows = rowsOf(sampler);
    copy(3);
    await sampler.close();
    const given = await rows;
    const htod = given.filter(
      (row) => row['direction'] === 'HtoD' && Number(row['bytes']) === BYTES,
    );
    found.push({
      copies: htod.length,
      memory: [...new Set(htod.map((row) => row['source_memory']))],
      pids: [...new Set(given.map((row) => row['pid']))],
      simulated: sampler.tables.find(({ name }) => name === 'cuda.memcpy')?.simulated,
      states: sampler.states.filter(({ state }) => state !== 'ok').map(({ reason }) => reason),
    });
  }
  console.log(JSON.stringify(found));
}

async function twice(): Promise<void> {
  await using first = await trace();
  const code = await trace().then(
    () => 'traced',
    (error: { code: string }) => error.code,
  );
  // Beside another source it is a row of `state`.
  await using other = await monitor.sample({
    sources: [monitor.cudaTrace(), monitor.vmstat()],
  });
  const state = other.states.find(({ source }) => source === 'cuda');
  console.log(
    JSON.stringify({
      code,
      state: state?.state,
      reason: state?.reason,
      first: first.tables.length > 0,
    }),
  );
}

async function workers(): Promise<void> {
  let longest = 0;
  for (let i = 0; i < Number(count); i++) {
    const worker = new Worker(new URL(import.meta.url));
    const [said] = await once(worker, 'message');
    if (said !== 'tracing') throw new Error(String(said));
    const before = performance.now();
    await worker.terminate();
    longest = Math.max(longest, performance.now() - before);
  }
  console.log(JSON.stringify({ longest: Math.round(longest) }));
}

async function worker(): Promise<void> {
  const sampler = await trace({ batchMs: 1, keepAlive: true });
  sampler[Symbol.asyncIterator]();
  parentPort?.postMessage('tracing');
}

if (!isMainThread) await worker().catch((error) => parentPort?.postMessage(String(error)));
else if (way === 'copies') await copies();
else if (way === 'twice') await twice();
else if (way === 'workers') await workers();
else if (way === 'exit') {
  await trace({ keepAlive: true });
  copy(1);
  process.exit(5);
}
