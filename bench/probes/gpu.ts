/**
 * Started by cases/gpu.ts: GPUs, `auto` or `exact`, seconds. Reads simulated GPUs (the fake driver library of test/native,
 * with the costs of calls measured on an H200, which hold the caller's CPU and one lock as the real driver does) and
 * prints what the reading cost and whether its numbers are right.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { monitor } from 'warpgauge';
import { FakeGpus, fakeLibrary, NEEDS_FAKE } from '../../test/monitor/gpu-fake.ts';
import { Skip } from '../result.ts';

export interface GpuLine {
  /** Time inside the driver library per wall time and GPU in the dearest 10 s (or in all, where that is less), %. */
  readonly sharePercent: number;
  /** 99th percentile of the lateness of ticks of the fast table, ns. */
  readonly p99LateNs: number;
  readonly missedPercent: number;
  /** Intervals between two rows of PCIe bytes: all, those marked ambiguous, and those wrong without a mark. */
  readonly intervals: number;
  readonly ambiguous: number;
  readonly wrong: number;
  /** How far the bytes between first and last row of any GPU are from what the link carried. */
  readonly errorBytes: number;
}

const INTERVAL_MS = 10;
const WARM_UP_MS = 2000;
const BATCH_MS = 100;
/** What the budget holds over. */
const WINDOW_MS = 10_000;
const LOOK_MS = 500;
/** Of a Gen5 x16 link: its 32-bit counter wraps each 86 ms. */
const BYTES_PER_SECOND = 50_000_000_000;
const SCRIPT = `
nvml.latencies = h200
nvml.refresh = h200
nvml.wait = spin
nvml.lock = slow
nvml.pcie_tx_bytes = counter(0, ${BYTES_PER_SECOND})
nvml.pcie_rx_bytes = counter(0, ${BYTES_PER_SECOND / 10})
`;

interface PcieRow {
  readonly time: bigint;
  readonly bytes: bigint;
  readonly ambiguous: boolean;
}

/** Half a wrap: what no lost or invented wrap stays below. */
const WRAP_BYTES = 2 ** 32;

function p99Late(times: readonly bigint[]): number {
  const interval = INTERVAL_MS * 1e6;
  const first = times[0] as bigint;
  const since = times.map((time) => Number(time - first));
  // The deadlines are a grid whose origin no row tells: that of the ticks that were least late. Seen from the middle one,
  // and not from the earliest: a tick that is late by more than half an interval looks like an early one.
  const phaseFrom = (origin: number) =>
    since.map((ns) => ns - origin - Math.round((ns - origin) / interval) * interval);
  const middle = quantile(phaseFrom(0), 0.5);
  const origin = middle + quantile(phaseFrom(middle), 0.02);
  const late: number[] = [];
  let next = 0;
  for (const ns of since) {
    late.push(ns - origin - next * interval);
    next = Math.floor((ns - origin) / interval + 0.1) + 1;
  }
  return quantile(late, 0.99);
}

function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] as number;
}

function checkPcie(
  gpus: readonly (readonly PcieRow[])[],
): Omit<GpuLine, 'sharePercent' | 'p99LateNs' | 'missedPercent'> {
  let [intervals, ambiguous, wrong, errorBytes] = [0, 0, 0, 0];
  for (const rows of gpus) {
    const error = (from: PcieRow, to: PcieRow): number => {
      const carried = (Number(to.time - from.time) / 1e9) * BYTES_PER_SECOND;
      return Math.abs(Number(to.bytes - from.bytes) - carried);
    };
    for (const [index, row] of rows.entries()) {
      const before = rows[index - 1];
      if (before === undefined) continue;
      intervals++;
      if (row.ambiguous) ambiguous++;
      else if (error(before, row) >= WRAP_BYTES / 2) wrong++;
    }
    const [first, last] = [rows[0], rows.at(-1)];
    if (first !== undefined && last !== undefined) {
      errorBytes = Math.max(errorBytes, error(first, last));
    }
  }
  return { intervals, ambiguous, wrong, errorBytes };
}

interface Inside {
  readonly ns: number;
  readonly elapsedNs: number;
  readonly ticks: number;
  readonly missed: number;
}

/** Of all windows of WINDOW_MS the one with the most time inside the driver. */
function dearestPercent(looks: readonly Inside[]): number {
  const percent = (from: Inside, to: Inside): number =>
    (100 * (to.ns - from.ns)) / (to.elapsedNs - from.elapsedNs);
  const windows = looks.flatMap((from) => {
    const to = looks.find(({ elapsedNs }) => elapsedNs - from.elapsedNs >= WINDOW_MS * 1e6);
    return to === undefined ? [] : [percent(from, to)];
  });
  if (windows.length > 0) return Math.max(...windows);
  return percent(looks[0] as Inside, looks.at(-1) as Inside);
}

async function main(gpus: number, pcie: 'auto' | 'exact', seconds: number): Promise<void> {
  if (NEEDS_FAKE.skip !== undefined) throw new Skip(NEEDS_FAKE.skip);
  using _fake = new FakeGpus(`devices = ${gpus}\n${SCRIPT}`, fakeLibrary('580.159'));
  // The log of the fake would be a write per call, which no driver makes.
  delete process.env['WARPGAUGE_FAKE_LOG'];
  await using sampler = await monitor.sample({
    sources: [monitor.gpu({ intervalMs: INTERVAL_MS, pcie })],
    batchMs: BATCH_MS,
    keepAlive: true,
  });
  if (!sampler.tables.every((table) => table.simulated || table.source !== 'gpu')) {
    throw new Error('a real driver is behind this');
  }
  const times: bigint[] = [];
  const links = new Map<string, PcieRow[]>();
  let counting = false;
  const taking = (async () => {
    for await (const { table, batch } of sampler) {
      if (!counting || (table !== 'gpu' && table !== 'gpu.pcie')) continue;
      const columns = batch.schema.fields.map(({ name }) => name);
      const at = (name: string) => batch.getChildAt(columns.indexOf(name));
      const stamps = batch.data.children[0]?.values as BigInt64Array;
      const uuids = at('gpu');
      if (uuids === null) throw new Error(`${table} has no column gpu`);
      for (let row = 0; row < batch.numRows; row++) {
        const time = stamps[row] as bigint;
        if (table === 'gpu') {
          if (times.at(-1) !== time) times.push(time);
          continue;
        }
        const bytes = at('tx_bytes')?.get(row) as bigint | null;
        if (bytes === null) continue;
        const uuid = String(uuids.get(row));
        const rows = links.get(uuid) ?? [];
        rows.push({ time, bytes, ambiguous: at('ambiguous')?.get(row) === true });
        links.set(uuid, rows);
      }
    }
  })();
  const inside = (): Inside => {
    const { tables, elapsedNs } = sampler.stats();
    // Calls of the driver are named by what they ask of which GPU; the rest are ticks.
    const calls = tables
      .flatMap(({ costs }) => costs)
      .filter(({ name }) => / (GPU|MIG)-/.test(name));
    if (calls.length === 0) throw new Error('no call of the driver was counted');
    const main = tables.find(({ table }) => table === 'gpu');
    return {
      ns: calls.reduce((sum, { totalNs }) => sum + totalNs, 0),
      ticks: main?.ticks ?? 0,
      missed: main?.missed ?? 0,
      elapsedNs,
    };
  };
  await sleep(Math.min(WARM_UP_MS, seconds * 1000));
  const looks = [inside()];
  counting = true;
  const until = performance.now() + seconds * 1000;
  for (let left = seconds * 1000; left > 0; left = until - performance.now()) {
    await sleep(Math.min(left, LOOK_MS));
    looks.push(inside());
  }
  counting = false;
  const [before, after] = [looks[0], looks.at(-1)] as [Inside, Inside];
  await sampler.close();
  await taking;
  const missed = after.missed - before.missed;
  const line: GpuLine = {
    sharePercent: dearestPercent(looks) / gpus,
    p99LateNs: p99Late(times),
    missedPercent: (100 * missed) / (missed + after.ticks - before.ticks),
    ...checkPcie([...links.values()]),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [gpus, pcie, seconds] = process.argv.slice(2);
try {
  await main(Number(gpus), pcie === 'exact' ? 'exact' : 'auto', Number(seconds));
} catch (error) {
  process.stderr.write(error instanceof Skip ? error.message : String((error as Error).stack));
  process.exitCode = error instanceof Skip ? 3 : 1;
}
