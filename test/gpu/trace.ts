/**
 * The part of `npm run test:gpu` about CUDA tracing: counts and bytes of known copies, CUPTI's durations against CUDA
 * events, what tracing costs a copy loop, PyTorch where there is one, and PM sampling of another process's copies.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { monitor } from 'warpgauge';
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { StateRow } from '#lib/monitor/types';
import { MiB } from '#lib/units';
import { copiesProgram, programPath } from './program.ts';

/** CUPTI's duration of a large pinned copy against CUDA events around it. */
const EVENT_AGREEMENT = 0.02;
const SLOW_DOWN_GOAL = 0.03;
const PM_SPREAD = 1.05;
const COPY_BYTES = 16 * MiB;
const COPIES = 20;
const PM_PIECES = [16 * MiB, 64 * MiB, 256 * MiB];
const PM_BYTES = 4096 * MiB;

export interface TraceCheck {
  readonly passed: boolean;
  readonly measured: Readonly<Record<string, unknown>>;
}

interface Seen {
  readonly copies: ReadonlyMap<string, { readonly count: number; readonly bytes: number }>;
  readonly kernels: number;
  readonly states: readonly StateRow[];
  readonly code: number;
}

/** Runs a command under trace and adds up its copies by direction and kind of host memory. */
async function traceOnce(command: readonly string[]): Promise<Seen> {
  const traced = await monitor.traceCommand({ command, output: 'stderr' });
  const copies = new Map<string, { count: number; bytes: number }>();
  let kernels = 0;
  const ended = traced.ended.then(() => traced.close());
  for await (const { table, batch } of traced) {
    if (table === 'cuda.kernel') kernels += batch.numRows;
    if (table !== 'cuda.memcpy') continue;
    for (const row of batch.toArray() as Iterable<Record<string, unknown>>) {
      const host = row['direction'] === 'HtoD' ? row['source_memory'] : row['destination_memory'];
      const key = `${row['direction']} ${host}`;
      const sum = copies.get(key) ?? { count: 0, bytes: 0 };
      copies.set(key, { count: sum.count + 1, bytes: sum.bytes + Number(row['bytes']) });
    }
  }
  await ended;
  return { copies, kernels, states: traced.states, code: (await traced.ended).code };
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Mean throughput that plain_copy reports, by itself or under trace. */
async function plainCopy(isTraced: boolean): Promise<number> {
  const libcuda = process.env['WARPGAUGE_CUDA'] ?? 'libcuda.so.1';
  const args = [libcuda, '0', String(COPY_BYTES), '30'];
  const program = programPath('plain_copy');
  const cli = new URL(import.meta.resolve('#lib/cli/main')).pathname;
  const out = `/tmp/warpgauge-gpu-trace-${process.pid}`;
  const [command, words]: [string, string[]] = isTraced
    ? [process.execPath, [cli, 'trace', '--force', '--out', out, '--', program, ...args]]
    : [program, args];
  const { stdout } = await promisify(execFile)(command, words);
  const { htod_gbps: up } = JSON.parse(stdout) as { htod_gbps: number[] };
  return median(up);
}

export async function checkTrace(isSimulated: boolean): Promise<TraceCheck> {
  const measured: Record<string, unknown> = {};
  let passed = true;
  const say = (ok: boolean, text: string): void => {
    passed &&= ok;
    console.log(`${ok ? 'pass' : 'FAIL'}  ${isSimulated ? 'Simulated  ' : ''}${text}`);
  };

  const work = [
    '--pageable',
    '7',
    '--pinned',
    `${COPIES}`,
    '--dtoh',
    `${COPIES}`,
    '--kernels',
    '9',
  ];
  const seen = await traceOnce([copiesProgram(), ...work, '--bytes', String(COPY_BYTES)]);
  const expected = { 'HtoD pageable': 7, 'HtoD pinned': COPIES, 'DtoH pinned': COPIES };
  for (const [key, count] of Object.entries(expected)) {
    const { count: got = 0, bytes = 0 } = seen.copies.get(key) ?? {};
    say(
      got === count && bytes === count * COPY_BYTES,
      `${key}: ${got} copies of ${count}, ${bytes} bytes of ${count * COPY_BYTES}`,
    );
  }
  say(seen.kernels === 9, `${seen.kernels} kernels of 9`);

  const document = await runMemcpy({
    backend: 'cuda',
    sizes: [COPY_BYTES, 256 * MiB],
    pages: ['4k'],
    pins: ['hostalloc'],
    states: ['warm'],
    directions: ['HtoD', 'DtoH'],
    blocks: 1,
    seed: 1,
  });
  for (const { id, cupti, cupti_why: why } of document.cells.filter((cell) => cell.legal)) {
    if (cupti === null || cupti.event_ns === null) {
      say(false, `${id}: no third timer: ${why ?? 'no events'}`);
      continue;
    }
    const ratio = cupti.copy_ns / cupti.event_ns;
    say(
      cupti.agrees && (isSimulated || Math.abs(ratio - 1) <= EVENT_AGREEMENT),
      `${id}: CUPTI ${Math.round(cupti.copy_ns)} ns, events ${Math.round(cupti.event_ns)} ns (${isSimulated ? 'not compared: simulated' : 'within 2 %'}), ${cupti.memory.join()}`,
    );
  }
  measured['third_timer'] = document.cells.map(({ id, cupti }) => ({ id, cupti }));

  const plain: number[] = [];
  const traced: number[] = [];
  for (let round = 0; round < 5; round++) {
    plain.push(await plainCopy(false));
    traced.push(await plainCopy(true));
  }
  const slowDown = median(plain) / median(traced) - 1;
  measured['slow_down'] = { plain_gbps: plain, traced_gbps: traced, share: slowDown };
  const goal = `goal ${SLOW_DOWN_GOAL * 100} %`;
  console.log(
    `      tracing slows a loop of pinned copies by ${(slowDown * 100).toFixed(2)} % (${goal})`,
  );

  if (isSimulated) return { passed, measured };
  passed = (await checkTorch(say)) && passed;
  measured['pm_sampling'] = await checkPmSampling(say);
  return { passed, measured };
}

/** What a small PyTorch program copies, exactly; skipped where python3 has no torch with CUDA. */
async function checkTorch(say: (ok: boolean, text: string) => void): Promise<boolean> {
  const program = `
import torch
x = torch.ones(4 * 1024 * 1024)
for _ in range(5): y = x.cuda()
p = x.pin_memory()
for _ in range(3): y = p.cuda(non_blocking=True)
torch.cuda.synchronize()
z = (y @ y).item()
`;
  const probe = await promisify(execFile)('python3', [
    '-c',
    'import torch; assert torch.cuda.is_available()',
  ]).catch((error: Error) => error);
  if (probe instanceof Error) {
    console.log('skipped  PyTorch: python3 has no torch that sees a GPU');
    return true;
  }
  const { copies } = await traceOnce(['python3', '-c', program]);
  const bytes = 16 * MiB;
  for (const [key, count] of [
    ['HtoD pageable', 5],
    ['HtoD pinned', 3],
  ] as const) {
    const { count: got = 0, bytes: sum = 0 } = copies.get(key) ?? {};
    say(got >= count && sum >= count * bytes, `PyTorch ${key}: ${got} copies, ${sum} bytes`);
  }
  return true;
}

/** PCIe bytes per payload byte that PM sampling sees of copies of another process. */
async function checkPmSampling(say: (ok: boolean, text: string) => void): Promise<unknown> {
  const sampler = await monitor.sample({ sources: [monitor.pmSampling({ intervalMs: 1 })] });
  const rows: { at: bigint; bytes: number }[] = [];
  const { nanoseconds } = await import('warpgauge/arrow');
  const reading = (async () => {
    for await (const { table, batch } of sampler) {
      const time = batch.getChild('time');
      if (table !== 'pm-sampling' || time === null) continue;
      const times = nanoseconds(time as never);
      const read = batch.getChild('pcie_read_bytes');
      for (let i = 0; i < batch.numRows; i++)
        rows.push({ at: times[i] as bigint, bytes: Number(read?.get(i) ?? 0) });
    }
  })();
  const refused = sampler.states.find(({ state }) => state === 'unavailable');
  const results: { piece: number; ratio: number }[] = [];
  if (refused !== undefined) {
    console.log(`skipped  PM sampling: ${refused.reason}`);
  } else {
    const libcuda = process.env['WARPGAUGE_CUDA'] ?? 'libcuda.so.1';
    const load: ChildProcess = spawn(programPath('gpu_load'), [libcuda, '0'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let said = '';
    load.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const line = async (n: number): Promise<string> => {
      for (let i = 0; i < 600; i++) {
        const lines = said.split('\n');
        if (lines.length > n + 1) return lines[n] as string;
        await sleep(100);
      }
      throw new Error('gpu_load does not answer');
    };
    await line(0);
    const utc = monitor.now() - process.hrtime.bigint();
    for (const [index, piece] of PM_PIECES.entries()) {
      load.stdin?.write(`htod ${piece} ${PM_BYTES}\n`);
      const done = JSON.parse(await line(index + 1)) as { begin_ns: number; end_ns: number };
      await sleep(500);
      const [begin, end] = [BigInt(done.begin_ns) + utc, BigInt(done.end_ns) + utc];
      const inside = rows.filter(({ at }) => at >= begin && at <= end + 2_000_000n);
      const bytes = inside.reduce((sum, row) => sum + row.bytes, 0);
      results.push({ piece, ratio: bytes / PM_BYTES });
    }
    load.stdin?.end();
    const ratios = results.map(({ ratio }) => ratio);
    const spread = Math.max(...ratios) / Math.min(...ratios);
    say(
      spread <= PM_SPREAD && Math.min(...ratios) > 0.9,
      `PM sampling of another process: ${ratios.map((ratio) => ratio.toFixed(4)).join(', ')} PCIe bytes per payload byte (within 5 %)`,
    );
  }
  await sampler.close();
  await reading;
  return { results, refused: refused?.reason ?? null };
}
