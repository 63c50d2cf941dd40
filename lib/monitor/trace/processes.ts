import type { OpenRecording } from '../recording/open-recording.ts';
import { BatchColumns } from './batch-columns.ts';

/** A program that attached to the trace, as its last row says: a process that becomes another by exec is two of them. */
export interface ProcessSummary {
  /** In our pid namespace; null: not known. */
  readonly pid: number | null;
  readonly startTicks: number | null;
  readonly command: string | null;
  /** `tracing`, `ended` (it flushed all), `gone` (killed, left by _exit, or replaced by exec), `refused`. */
  readonly state: string | null;
  /** Why it is not, or not wholly, traced. */
  readonly reason: string | null;
  /** CUptiResult or errno of `reason`. */
  readonly code: number | null;
  readonly detail: string | null;
  readonly cuptiPath: string | null;
  readonly cuptiVersion: number | null;
  readonly driverVersion: number | null;
  readonly simulated: boolean;
  readonly records: number;
  /** Records that did not become rows, by why. */
  readonly lost: Readonly<Record<LossName, number>>;
  /** CPU time of the tracing thread in the process. */
  readonly cpuNs: number;
}

const LOSSES = {
  dropped: 'dropped',
  droppedCupti: 'dropped_cupti',
  withoutTime: 'without_time',
  droppedNames: 'dropped_names',
  unknown: 'unknown',
  rejected: 'rejected',
  overwritten: 'lost_overwritten',
} as const;
type LossName = keyof typeof LOSSES;

/** A process of the trace's reach that gave no records, and why. */
export interface UntracedProcess {
  /** Pid and command; null: several, of which only the number is known. */
  readonly process: string | null;
  /** `no_free_lane`, `untraceable_EACCES`, `busy`, `no_cupti` ... */
  readonly reason: string;
  /** Number of processes where they are not named, else CUptiResult or errno; 0: none. */
  readonly code: number;
}

interface Entry {
  summary: ProcessSummary;
}

const isOver = ({ state }: ProcessSummary): boolean => state === 'gone' || state === 'ended';

/**
 * Which of the programs with the same pid, start and command a row is about. One that is over has said its last word: what
 * comes then is of another, which replaced it by exec with the same command line. Only a program whose records are still
 * being read says it again, and its CPU time stands still.
 */
function entryOf(known: readonly Entry[], row: ProcessSummary): Entry | undefined {
  const again = ({ summary }: Entry): boolean =>
    isOver(summary) &&
    summary.state === row.state &&
    summary.cpuNs === row.cpuNs &&
    row.cpuNs > 0 &&
    summary.records <= row.records;
  return known.find(again) ?? known.find(({ summary }) => !isOver(summary));
}

/** The last row of each program. */
export async function readProcesses(
  recording: OpenRecording,
  names: ReadonlyMap<number, string>,
): Promise<ProcessSummary[]> {
  const known = new Map<string, Entry[]>();
  /** By the time of the last row. */
  const last = new Set<Entry>();
  for await (const batch of recording.batches('cuda.process')) {
    const columns = new BatchColumns(batch);
    const named = (column: string): ((row: number) => string | null) => {
      const id = columns.number(column);
      return (row) => names.get(id(row) ?? -1) ?? null;
    };
    const number = (column: string) => columns.number(column);
    const [pid, startTicks, code] = [number('pid'), number('start_ticks'), number('code')];
    const [command, detail, cuptiPath] = [named('command'), named('detail'), named('cupti_path')];
    const [state, reason] = [columns.text('state'), columns.text('reason')];
    const [cuptiVersion, driverVersion] = [number('cupti_version'), number('driver_version')];
    const [records, cpuNs] = [number('records'), number('cpu_ns')];
    const simulated = columns.flag('simulated');
    const losses = Object.entries(LOSSES).map(([name, column]) => [name, number(column)] as const);
    for (let row = 0; row < columns.rows; row++) {
      const summary: ProcessSummary = {
        pid: pid(row),
        startTicks: startTicks(row),
        command: command(row),
        state: state(row),
        reason: reason(row),
        code: code(row),
        detail: detail(row),
        cuptiPath: cuptiPath(row),
        cuptiVersion: cuptiVersion(row),
        driverVersion: driverVersion(row),
        simulated: simulated(row) ?? false,
        records: records(row) ?? 0,
        lost: Object.fromEntries(
          losses.map(([name, of]) => [name, of(row) ?? 0]),
        ) as ProcessSummary['lost'],
        cpuNs: cpuNs(row) ?? 0,
      };
      // A program that execs keeps pid and start: the command tells the two apart, unless it is the same.
      const key = `${summary.pid} ${summary.startTicks} ${summary.command}`;
      const own = known.get(key) ?? [];
      known.set(key, own);
      const entry = entryOf(own, summary) ?? { summary };
      if (!own.includes(entry)) own.push(entry);
      entry.summary = summary;
      last.delete(entry);
      last.add(entry);
    }
  }
  return [...last].map(({ summary }) => summary);
}

/** Rows of the table `state` about processes that were not traced. */
export async function readStates(recording: OpenRecording): Promise<UntracedProcess[]> {
  // By process: one that had to wait is `ok` later, and of those without a name the last row has the number.
  const untraced = new Map<string, UntracedProcess>();
  if (!recording.tables.some(({ name }) => name === 'state')) return [];
  for await (const batch of recording.batches('state')) {
    const columns = new BatchColumns(batch);
    const text = (column: string) => columns.text(column);
    const [table, key, state, reason] = [text('table'), text('key'), text('state'), text('reason')];
    const code = columns.number('code');
    for (let row = 0; row < columns.rows; row++) {
      if (table(row) !== 'cuda.process') continue;
      const name = key(row) ?? '';
      if (state(row) === 'ok') untraced.delete(name);
      if (state(row) !== 'unavailable') continue;
      untraced.set(name, {
        process: name || null,
        reason: reason(row) ?? '',
        code: code(row) ?? 0,
      });
    }
  }
  return [...untraced.values()];
}
