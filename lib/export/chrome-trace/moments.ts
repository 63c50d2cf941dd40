import { BatchCells, namesOf } from '../../monitor/recording/batch-cells.ts';
import type { RecordedTable } from '../../monitor/recording/open-recording.ts';
import { edges, hostProcess, labelled, ORDER, type TraceContext } from './context.ts';
import { argumentsOf, argumentsText } from './event-file.ts';

/** More rows of an event table than this become one instant per millisecond, kind and process. */
const EACH = 100_000;
const MILLISECOND = 1e6;

/** Marks as instants across all tracks. */
export async function writeMarks(context: TraceContext): Promise<void> {
  const { file, tracks, window } = context;
  const { from, to } = edges(context);
  for (const { time, name, attributes } of await context.recording.marks()) {
    const at = Number(time - window.start);
    if (at < from || at > to) continue;
    const pid = tracks.process('marks', 'marks', ORDER.marks);
    file.instant(
      pid,
      tracks.thread(pid, 'marks', 'marks'),
      at,
      name,
      'g',
      argumentsText(attributes ?? {}),
    );
  }
  await file.flush();
}

/** Rows of an event table (page faults, Xid errors, states) as instants: each, or counted per millisecond where they are many. */
export async function writeEvents(context: TraceContext, table: RecordedTable): Promise<void> {
  const { file, tracks, window } = context;
  const { from, to } = edges(context);
  const names = await namesOf(context.recording, table);
  const faults = table.name.startsWith('page-faults');
  const what = faults ? 'page fault' : table.name;
  const columns = table.schema.fields
    .map(({ name }) => name)
    .filter((name) => !['time', 'pid', 'tid'].includes(name));
  const counts = new Map<string, { pid: number; kind: string; n: number }>();
  let bucket = -1;
  const processOf = (pid: number): number =>
    Number.isNaN(pid)
      ? tracks.process(`events ${table.name}`, labelled(table.name, table), ORDER.spans)
      : hostProcess(context, table, pid);
  const passBucket = (): void => {
    for (const { pid, kind, n } of counts.values()) {
      const process = processOf(pid);
      const tid = tracks.thread(process, what, `${what}s per ms`, 4);
      file.instant(process, tid, bucket * MILLISECOND, `${n} ${kind}`, 't', `"count":${n}`);
    }
    counts.clear();
  };
  for await (const batch of context.batches(table)) {
    const cells = new BatchCells(batch, names);
    const time = cells.number('time', window.start);
    const [pid, tid, kind] = [cells.number('pid'), cells.number('tid'), cells.text('kind')];
    const args = argumentsOf(columns.map((column) => [column, cells.name(column)]));
    let rows = 0;
    for (let at = 0; at < cells.rows; at++) {
      const now = time(at);
      if (now < from || now > to) continue;
      rows++;
      const name = [kind(at), what].filter((part) => part !== null).join(' ');
      if (table.rows > EACH) {
        const number = Math.floor(now / MILLISECOND);
        if (number !== bucket) passBucket();
        bucket = number;
        const key = `${pid(at)} ${name}`;
        const count = counts.get(key) ?? { pid: pid(at), kind: `${name}s`, n: 0 };
        count.n++;
        counts.set(key, count);
        continue;
      }
      const process = processOf(pid(at));
      const thread = Number.isNaN(tid(at))
        ? tracks.thread(process, what, what, 4)
        : tracks.thread(process, `${what} ${tid(at)}`, `${what}s of thread ${tid(at)}`, 4);
      file.instant(process, thread, now, name, 't', args(at));
    }
    context.count(table, rows);
  }
  passBucket();
  await file.flush();
}
