import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export interface TraceEvent {
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
  readonly name: string;
  readonly s?: string;
  readonly id?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

export interface Trace {
  readonly otherData: Readonly<Record<string, unknown>>;
  readonly traceEvents: readonly TraceEvent[];
}

/** Nanoseconds: exact, because the format has microseconds with three decimals. */
const ns = (us: number): number => Math.round(us * 1000);

function checkNesting(track: string, slices: readonly TraceEvent[]): void {
  const sorted = [...slices].sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  const open: number[] = [];
  for (const { ts, dur = 0, name } of sorted) {
    while (open.length > 0 && (open.at(-1) as number) <= ns(ts)) open.pop();
    const around = open.at(-1);
    const end = ns(ts) + ns(dur);
    assert.ok(
      around === undefined || end <= around,
      `${name} at ${ts} crosses another slice of ${track}`,
    );
    if (end > ns(ts)) open.push(end);
  }
}

/** Reads a file as the Trace Event Format has it, and fails where a rule of the format is broken. */
export function readTrace(path: string): Trace {
  const trace = JSON.parse(readFileSync(path, 'utf8')) as Trace;
  const tracks = new Map<string, TraceEvent[]>();
  const counters = new Map<string, number>();
  const named = new Set<string>();
  const flows = new Map<number, string>();
  for (const event of trace.traceEvents) {
    const text = JSON.stringify(event);
    assert.match(event.ph, /^[XiCMsf]$/, text);
    for (const key of ['pid', 'tid'] as const) assert.ok(Number.isInteger(event[key]), text);
    assert.ok(Number.isFinite(event.ts) && typeof event.name === 'string', text);
    const track = `${event.pid}/${event.tid}`;
    if (event.ph === 'M') {
      named.add(event.name === 'process_name' ? String(event.pid) : track);
      continue;
    }
    assert.ok(named.has(String(event.pid)), `no name for the process of ${text}`);
    if (event.ph === 'C') {
      const series = `${event.pid} ${event.name} ${Object.keys(event.args ?? {})}`;
      assert.ok(event.ts > (counters.get(series) ?? -1), `${series} goes back: ${text}`);
      counters.set(series, event.ts);
      const values = Object.values(event.args ?? {});
      assert.ok(values.length === 1 && values.every((value) => typeof value === 'number'), text);
      continue;
    }
    assert.ok(named.has(track), `no name for the thread of ${text}`);
    if (event.ph === 'i') assert.match(event.s ?? '', /^[gt]$/, text);
    if (event.ph === 'X') {
      assert.ok((event.dur ?? -1) >= 0, text);
      const slices = tracks.get(track) ?? [];
      slices.push(event);
      tracks.set(track, slices);
    }
    if (event.ph === 's' || event.ph === 'f') {
      const slices = tracks.get(track) ?? [];
      const inside = slices.some(({ ts, dur = 0 }) => ts <= event.ts && event.ts < ts + dur);
      assert.ok(inside, `no slice around ${text}`);
      const ends = `${flows.get(event.id as number) ?? ''}${event.ph}`;
      assert.match(ends, /^(s|f|sf|fs)$/, `a second end: ${text}`);
      flows.set(event.id as number, ends);
    }
  }
  for (const [id, ends] of flows) assert.equal(ends.length, 2, `the arrow ${id} has one end`);
  for (const [track, slices] of tracks) checkNesting(track, slices);
  return trace;
}
