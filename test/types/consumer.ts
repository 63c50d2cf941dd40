// Compiled and never run: a strict TypeScript project that knows the package by its name alone. Whatever a user writes
// with the public types stands here once, so that a type that is missing from the exports is a compile error.
import {
  type DoctorReport,
  doctor,
  type EnvironmentRecord,
  type ErrorCode,
  environment,
  measure,
  mitigate,
  WarpgaugeError,
} from 'warpgauge';
import { nanoseconds, type Table, tableToIPC } from 'warpgauge/arrow';
import {
  type ExportedFile,
  type ExportedTable,
  type ExportFormat,
  type ExportOptions,
  type ExportProgress,
  type ExportResult,
  exportRecording,
} from 'warpgauge/export';

export async function exported(dir: string, signal: AbortSignal): Promise<readonly ExportedFile[]> {
  const format: ExportFormat = 'parquet';
  const onProgress = ({ table, rowsDone, rows }: ExportProgress) => {
    console.error(table, rowsDone / rows);
  };
  const options: ExportOptions = { format, out: 'run-parquet', tables: ['vmstat'], force: true };
  const result: ExportResult = await exportRecording(dir, { ...options, onProgress, signal });
  return result.tables.flatMap((table: ExportedTable) => (table.torn ? [] : table.files));
}

export async function profile(signal: AbortSignal): Promise<Uint8Array> {
  const options: measure.MemcpyOptions = {
    backend: 'host',
    pages: ['4k', 'thp', '2m', '1g'],
    sizes: [64 * 2 ** 20],
    states: ['cold', 'warm'],
    pins: ['none', 'register', 'hostalloc'],
    directions: ['HtoD', 'DtoH', 'vectorAdd'],
    budgetMs: 60_000,
    signal,
    onProgress: ({ ratio, remaining_ns }: measure.MemcpyProgress) => {
      const left: number | null = remaining_ns;
      console.error(ratio, left);
    },
  };
  const plan: measure.MemcpyPlan = await measure.planMemcpy(options);
  console.error(plan.estimate_total_ns, plan.pools[0]?.action);

  const result: measure.MemcpyResult = await measure.memcpy(options);
  for (const line of result.verdicts) {
    const verdict: measure.Verdict = line.verdict;
    const cause: measure.Cause | null = line.cause;
    const [low, high] = line.ci_adjusted ?? [null, null];
    console.log(line.dir, line.kind, line.speedup, low, high, verdict, cause);
  }
  const cell: measure.Cell | undefined = result.cells[0];
  const sample: measure.Sample | undefined = cell?.samples[0];
  console.log(cell?.stats?.median_gbps, sample?.t_host_ns, sample?.why_invalid);
  const document: measure.MemcpyDocument = result.document;
  console.log(document.answers.map(({ dir, text, how }) => `${dir}: ${text} ${how ?? ''}`));
  const samples: Table = result.samples;
  const time = samples.getChild('time');
  if (time !== null) console.log(nanoseconds(time));
  return tableToIPC(samples);
}

export async function memory(): Promise<bigint> {
  const request: mitigate.AllocateOptions = {
    bytes: 2 ** 30,
    pages: '1g',
    numaNode: 0,
    fallback: ['2m', 'thp'] satisfies mitigate.PageKind[],
  };
  await using region: mitigate.PageRegion = await mitigate.allocate(request);
  const granted: mitigate.GrantedPages | null = region.grantedPages;
  console.log(granted?.bytesByPageSize[2 ** 30], granted?.method, region.numaNodes.length);
  const bytes: Uint8Array<ArrayBuffer> = region.view(0, 4096);
  const whole: ArrayBuffer = region.buffer;
  return region.address + BigInt(bytes.length + whole.byteLength);
}

export async function pools(): Promise<number> {
  const status: mitigate.PagesStatus = await mitigate.pools.status();
  const plan: mitigate.ReservePlan = await mitigate.pools.plan({
    pages: [{ pageBytes: 2 ** 21, count: 16 }],
  });
  await using held: mitigate.Reservation = await mitigate.pools.reserve({
    pages: [{ pageBytes: 2 ** 21, count: 16, node: 0 }],
  });
  const grown: readonly mitigate.PoolChange[] = held.grown;
  return status.pools.length + plan.steps.length + grown.length;
}

export async function machine(): Promise<ErrorCode | null> {
  const report: DoctorReport = await doctor();
  const record: EnvironmentRecord = await environment();
  try {
    console.log(
      record.digest,
      record.identity['kernel'],
      report.lines.map(({ check, level, fix }) => [check, level, fix]),
    );
    return null;
  } catch (error) {
    if (!(error instanceof WarpgaugeError)) throw error;
    const { code, message, fix, source, status } = error;
    console.error(message, fix ?? '', source ?? '', status ?? 0);
    return code;
  }
}

export async function powerAndSweep(): Promise<readonly string[]> {
  const target: mitigate.PowerTarget = { powerLimitW: 400, smClockMhz: { min: 345, max: 1200 } };
  const plan: mitigate.ApplicablePowerPlan = await mitigate.power.plan(target);
  const warnings: readonly mitigate.PowerWarning[] = plan.warnings;
  console.error(warnings[0]?.code, plan.refusal?.code);
  await using change: mitigate.PowerChange = await plan.apply({ ttlMs: 60_000 });
  change.onDrift(({ setting, found }: mitigate.PowerDrift) => console.error(setting, found));
  const states: readonly mitigate.PowerVerified[] = change.verified.map(({ state }) => state);
  const setting: mitigate.SweepSetting = { name: 'THP', thp: { enabled: 'always' } };
  const options: mitigate.SweepOptions = { settings: [setting], workload: () => 1 };
  const result: mitigate.SweepResult = await mitigate.sweep(options);
  return [...states, ...result.front];
}

// What must not compile.
// @ts-expect-error a page kind that does not exist
void (() => mitigate.allocate({ bytes: 4096, pages: '8k' }));
// @ts-expect-error a region has no public constructor worth calling without its native part
void (() => new mitigate.PageRegion());
// @ts-expect-error the speed-up is a number, never text
void ((result: measure.MemcpyResult): string => result.verdicts[0].speedup);
