// Samples and then ends in the way its first argument names. Used by test/monitor/exit.test.ts.
import { monitor } from 'warpgauge';
import { hangGpus, LIBRARIES, sampleGpu } from './hung-gpus.ts';

const [way = ''] = process.argv.slice(2);

const start = (): Promise<monitor.Sampler> =>
  monitor.sample({
    sources: [monitor.hugepages({ intervalMs: 0.1 }), monitor.vmstat({ intervalMs: 10 })],
    batchMs: 5,
  });

/** Blocks this thread, as a synchronous computation does. */
const block = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
};

switch (way) {
  case 'exit': {
    const samplers = [await start(), await start()];
    await samplers[0]?.[Symbol.asyncIterator]().next();
    block(20);
    process.exit(7);
    break;
  }
  case 'throw': {
    const sampler = await start();
    await sampler[Symbol.asyncIterator]().next();
    setImmediate(() => {
      throw new Error('thrown on purpose');
    });
    break;
  }
  case 'signal': {
    const sampler = await start();
    console.log('running');
    for await (const batch of sampler) if (batch.table === '') break;
    break;
  }
  case 'drain': {
    // Nothing awaits the sampler: the process ends although its threads run.
    await start();
    break;
  }
  case 'keep-alive': {
    const sampler = await monitor.sample({
      sources: [monitor.vmstat({ intervalMs: 10 })],
      keepAlive: true,
      durationMs: 300,
    });
    process.on('exit', () => console.log(sampler.stats().tables[0]?.ticks));
    break;
  }
  case 'collect': {
    // Nobody holds the sampler; its rows are seen in what the process is told of it.
    const held = new WeakRef(await start());
    for (let i = 0; i < 20; i++) {
      (globalThis as { gc?: () => void }).gc?.();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const sampler = held.deref();
    const before = sampler?.stats().tables[0]?.ticks ?? -1;
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(JSON.stringify({ before, after: sampler?.stats().tables[0]?.ticks ?? -1 }));
    await sampler?.close();
    break;
  }
  case 'blocked': {
    const sampler = await monitor.sample({
      sources: [monitor.hugepages({ intervalMs: 0.1 }), monitor.vmstat({ intervalMs: 10 })],
    });
    block(5050); // five seconds of deadlines: the first is some milliseconds after sample()
    const rows: Record<string, number> = {};
    let dropped = 0;
    const closed = sampler.close();
    for await (const { table, batch, dropped: lost } of sampler) {
      rows[table] = (rows[table] ?? 0) + batch.numRows;
      dropped += lost.rows;
    }
    await closed;
    console.log(JSON.stringify({ rows, dropped, stats: sampler.stats().tables }));
    break;
  }
  case 'hung-exit':
  case 'hung-close':
  case 'hung-throw': {
    // WARPGAUGE_ROOT has a pipe that nobody writes to in the place of a file: opening it hangs.
    await import('warpgauge/arrow'); // whose loading is none of what is timed here
    const aborter = new AbortController();
    const sampling = monitor.sample({ sources: [monitor.vmstat()], signal: aborter.signal });
    sampling.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = performance.now();
    process.on('exit', () => console.log(Math.round(performance.now() - before)));
    if (way === 'hung-exit') process.exit(0);
    if (way === 'hung-throw') throw new Error('thrown on purpose');
    aborter.abort();
    await sampling.catch((error: { code?: string }) => console.log(error.code));
    break;
  }
  case 'hung-gpus-exit':
  case 'hung-gpus-close':
  case 'hung-gpus-isolated': {
    const samplers: monitor.Sampler[] = [];
    for (const library of LIBRARIES) {
      process.env['WARPGAUGE_NVML'] = library;
      samplers.push(await sampleGpu(way === 'hung-gpus-isolated'));
    }
    await hangGpus();
    const before = performance.now();
    process.on('exit', () => console.log(Math.round(performance.now() - before)));
    if (way === 'hung-gpus-exit') process.exit(0);
    for (const sampler of samplers) await sampler.close();
    break;
  }
  default:
    throw new Error(`no such way to end: ${way}`);
}
