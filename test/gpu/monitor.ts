/**
 * The part of `npm run test:gpu` about Monitor: PCIe bytes against known copies, power, energy and utilization against
 * nvidia-smi, and the cost of every NVML call on this machine.
 */
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { monitor } from 'warpgauge';
import { GiB, MiB } from '#lib/units';
import { programPath } from './program.ts';

/** What the issue of Monitor asks for: bytes on the link per byte of payload, and how far sizes may differ. */
const BYTES_PER_PAYLOAD = { least: 0.98, most: 1.25, spread: 1.02 };
/** Two readers of one sensor that is renewed each 100 ms, over several seconds of one steady load. */
const AGREEMENT = 0.03;
/** Steps of 1 % of NVML, read at other moments. */
const UTILIZATION_AGREEMENT = 0.05;
const COPIED = 8 * GiB;
const PIECES = [MiB, 16 * MiB, 256 * MiB, GiB];
const SPIN_SECONDS = 6;

interface PcieRow {
  readonly at: bigint;
  readonly tx: bigint;
  readonly rx: bigint;
  readonly ambiguous: boolean;
}

interface GpuRow {
  readonly at: bigint;
  readonly power: number | null;
  readonly average: number | null;
  readonly utilization: number | null;
}

interface Work {
  readonly bytes: number;
  readonly begin_ns: number;
  readonly end_ns: number;
}

/** gpu_load, answering one line of work at a time. */
class Load {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;

  constructor() {
    const libcuda = process.env['WARPGAUGE_CUDA'] ?? 'libcuda.so.1';
    this.#child = spawn(programPath('gpu_load'), [libcuda, '0'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error('gpu_load ended early');
    return value;
  }

  async work(request: string): Promise<Work> {
    this.#child.stdin.write(`${request}\n`);
    return JSON.parse(await this.line()) as Work;
  }

  close(): void {
    this.#child.stdin.end();
    this.#lines.close();
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Everything the samplers gave so far, kept as plain rows. */
class Collected {
  readonly pcie: PcieRow[] = [];
  readonly gpu: GpuRow[] = [];
  /** The driver's own readings of power, each 20 ms on an H200. */
  readonly samples: { readonly at: bigint; readonly watts: number }[] = [];
  readonly energy: { readonly at: bigint; readonly joules: number }[] = [];

  take(table: string, rows: Iterable<Record<string, unknown>>, times: BigInt64Array): void {
    let index = 0;
    for (const row of rows) {
      const at = times[index++] as bigint;
      if (table === 'gpu.pcie' && typeof row['tx_bytes'] === 'bigint') {
        this.pcie.push({
          at,
          tx: row['tx_bytes'],
          rx: row['rx_bytes'] as bigint,
          ambiguous: row['ambiguous'] === true,
        });
      } else if (table === 'gpu') {
        this.gpu.push({
          at,
          power: row['power_watts'] as number | null,
          average: row['power_average_watts'] as number | null,
          utilization: row['gpu_utilization_ratio'] as number | null,
        });
      } else if (table === 'gpu.samples' && typeof row['power_watts'] === 'number') {
        this.samples.push({ at, watts: row['power_watts'] });
      } else if (table === 'gpu.slow' && typeof row['energy_joules'] === 'number') {
        this.energy.push({ at, joules: row['energy_joules'] });
      }
    }
  }
}

/** nvidia-smi's own reading of the first GPU, or why there is none. */
async function askSmi(): Promise<
  { power: number; average: number; utilization: number } | { reason: string }
> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', [
      '--query-gpu=power.draw.instant,power.draw.average,utilization.gpu',
      '--format=csv,noheader,nounits',
      '--id=0',
    ]);
    const [power = Number.NaN, average = Number.NaN, utilization = Number.NaN] = stdout
      .split(',')
      .map(Number);
    return { power, average, utilization: utilization / 100 };
  } catch (error) {
    return { reason: (error as Error).message.split('\n')[0] ?? 'nvidia-smi failed' };
  }
}

export interface MonitorCheck {
  readonly passed: boolean;
  readonly measured: Readonly<Record<string, unknown>>;
}

export async function checkMonitor(): Promise<MonitorCheck> {
  const { nanoseconds } = await import('warpgauge/arrow');
  const sampler = await monitor.sample({
    sources: [
      monitor.gpu({ intervalMs: 20, pcie: 'exact', gpmIntervalMs: 100, slowIntervalMs: 1000 }),
    ],
  });
  const collected = new Collected();
  const reading = (async () => {
    for await (const { table, batch } of sampler) {
      const time = batch.getChild('time');
      if (time === null) continue;
      const rows = batch.toArray() as Iterable<Record<string, unknown>>;
      collected.take(table, rows, nanoseconds(time as never));
    }
  })();
  const load = new Load();
  let passed = true;
  const say = (ok: boolean, text: string): void => {
    passed &&= ok;
    console.log(`${ok ? 'pass' : 'FAIL'}  ${text}`);
  };
  const measured: Record<string, unknown> = {};
  try {
    if ((await load.line()) !== 'ready') throw new Error('gpu_load did not start');
    const utc = monitor.now() - process.hrtime.bigint();
    const bytesOver = (begin: bigint, end: bigint) => {
      const before = collected.pcie.findLast((row) => row.at <= begin);
      const after = collected.pcie.find((row) => row.at >= end);
      if (before === undefined || after === undefined)
        throw new Error('no gpu.pcie rows around the copies');
      const between = collected.pcie.filter((row) => row.at > before.at && row.at <= after.at);
      return {
        tx: Number(after.tx - before.tx),
        rx: Number(after.rx - before.rx),
        ns: Number(after.at - before.at),
        ambiguous: between.filter((row) => row.ambiguous).length,
        rows: between.length,
      };
    };
    // Our own polling and the driver's housekeeping cross the link too: what an idle second carries is taken off.
    await sleep(2500);
    const idleEnd = monitor.now() - 500_000_000n;
    const idle = bytesOver(idleEnd - 1_500_000_000n, idleEnd);
    const ratios: { direction: string; piece: number; ratio: number; ambiguous: number }[] = [];
    for (const direction of ['htod', 'dtoh'] as const) {
      for (const piece of PIECES) {
        await sleep(200);
        const work = await load.work(`${direction} ${piece} ${COPIED}`);
        await sleep(600);
        const seen = bytesOver(BigInt(work.begin_ns) + utc, BigInt(work.end_ns) + utc);
        const key = direction === 'htod' ? 'rx' : 'tx';
        const ratio = (seen[key] - (idle[key] * seen.ns) / idle.ns) / work.bytes;
        ratios.push({ direction, piece, ratio, ambiguous: seen.ambiguous });
        const { least, most } = BYTES_PER_PAYLOAD;
        say(
          ratio >= least && ratio <= most && seen.ambiguous === 0,
          `PCIe bytes per payload byte, ${direction} in pieces of ${piece / MiB} MiB: ${ratio.toFixed(4)} ` +
            `(${least} to ${most}), ${seen.ambiguous} of ${seen.rows} rows ambiguous`,
        );
      }
    }
    const all = ratios.map(({ ratio }) => ratio);
    const spread = Math.max(...all) / Math.min(...all);
    say(
      spread <= BYTES_PER_PAYLOAD.spread,
      `over sizes and directions: ${median(all).toFixed(4)} within ${((spread - 1) * 100).toFixed(2)} % (at most 2 %)`,
    );
    measured['pcie_bytes_per_payload_byte'] = { idle, ratios, median: median(all), spread };

    // A steady load, seen by two readers.
    const spinning = load.work(`spin ${SPIN_SECONDS}`);
    await sleep(2500);
    const begin = monitor.now();
    const smi: { power: number; average: number; utilization: number }[] = [];
    for (let sample = 0; sample < 10; sample++) {
      const answer = await askSmi();
      if ('reason' in answer) {
        console.log(`skipped  power and utilization against nvidia-smi: ${answer.reason}`);
        break;
      }
      smi.push(answer);
      await sleep(150);
    }
    const end = monitor.now();
    await spinning;
    await sleep(500);
    const rows = collected.gpu.filter((row) => row.at >= begin && row.at <= end);
    const ours = (field: 'power' | 'average' | 'utilization') =>
      median(rows.flatMap((row) => row[field] ?? []));
    if (smi.length > 0) {
      for (const field of ['power', 'average', 'utilization'] as const) {
        const theirs = median(smi.map((each) => each[field]));
        const gap = Math.abs(ours(field) - theirs);
        const ok =
          field === 'utilization' ? gap <= UTILIZATION_AGREEMENT : gap / theirs <= AGREEMENT;
        say(ok, `${field} under load: ${ours(field).toFixed(3)}, nvidia-smi ${theirs.toFixed(3)}`);
        measured[`${field}_under_load`] = { ours: ours(field), nvidia_smi: theirs };
      }
    }
    // Energy is not among what nvidia-smi can be asked for: its mean power is held to the mean of the driver's buffer of power samples. A row
    // repeats the last answer until the budget allows the next call, so only rows with a new value count.
    const renewed = collected.energy.filter(
      (row, index) => index > 0 && row.joules !== collected.energy[index - 1]?.joules,
    );
    const [first, last] = [renewed[0], renewed.at(-1)];
    if (first !== undefined && last !== undefined && last.at > first.at) {
      const seconds = Number(last.at - first.at) / 1e9;
      const watts = (last.joules - first.joules) / seconds;
      const read = collected.samples
        .filter(({ at }) => at >= first.at && at <= last.at)
        .map(({ watts }) => watts);
      const mean = read.reduce((sum, each) => sum + each, 0) / read.length;
      say(
        Math.abs(watts - mean) / mean <= 0.05,
        `energy over ${seconds.toFixed(1)} s: ${watts.toFixed(1)} W in the mean, power samples ${mean.toFixed(1)} W (within 5 %)`,
      );
      measured['energy'] = { seconds, mean_watts: watts, power_mean_watts: mean };
    } else say(false, `energy: only ${renewed.length} readings`);
  } finally {
    load.close();
    measured['tables'] = sampler.stats().tables;
    measured['states'] = sampler.states.map((state) => ({ ...state, time: String(state.time) }));
    await sampler.close();
    await reading;
  }
  const costs = (
    measured['tables'] as readonly {
      costs: readonly { name: string; calls: number; p50Ns: number; p99Ns: number }[];
    }[]
  )
    .flatMap((table) => table.costs)
    .sort((a, b) => b.p50Ns - a.p50Ns);
  for (const cost of costs) {
    console.log(
      `    ${cost.name}: ${(cost.p50Ns / 1000).toFixed(1)} us median, ${(cost.p99Ns / 1000).toFixed(1)} us p99, ${cost.calls} calls`,
    );
  }
  return { passed, measured };
}
