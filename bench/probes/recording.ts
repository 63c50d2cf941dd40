/** Started by cases/recording.ts: records into the folder argv[2] for argv[3] seconds; prints its memory and what is on disk. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { monitor } from 'warpgauge';
import { DataType, type Schema } from 'warpgauge/arrow';

interface Files {
  readonly fileBytes: number;
  /** Rows x widths of the columns: no validity, names, padding or headers. */
  readonly rawBytes: number;
}

export interface RecordingLine {
  /** Resident set before the recording begins, libraries loaded. */
  readonly baseBytes: number;
  /** The largest of those taken while it runs. */
  readonly mostBytes: number;
  readonly fast: Files;
  readonly slow: Files;
}

const EVENTS = [
  'task-clock',
  'page-faults',
  'context-switches',
  'cpu-migrations',
  'minor-faults',
  'major-faults',
];
const FAST = 'perf';
/** Of the recorder itself: events, and its clocks once a second. */
const OWN = ['state', 'mark', 'span', 'clock'];
const LOOK_MS = 50;

function rowBits(schema: Schema): number {
  return schema.fields.reduce((bits, { type }) => {
    if (DataType.isBool(type)) return bits + 1;
    if (DataType.isDictionary(type)) return bits + 32;
    if (DataType.isInt(type)) return bits + type.bitWidth;
    if (DataType.isFloat(type) || DataType.isTimestamp(type)) return bits + 64;
    throw new Error(`the width of ${String(type)} is not known`);
  }, 0);
}

async function main(out: string, seconds: number): Promise<void> {
  const slow = { intervalMs: 1000 };
  const baseBytes = process.memoryUsage.rss();
  const recording = await monitor.record({
    out,
    sources: [
      monitor.perf({ events: EVENTS, intervalMs: 0.1 }),
      monitor.vmstat(slow),
      monitor.meminfo(slow),
      monitor.cpu(slow),
      monitor.disk(slow),
      monitor.net(slow),
    ],
    durationMs: seconds * 1000,
  });
  let mostBytes = baseBytes;
  const look = setInterval(() => {
    mostBytes = Math.max(mostBytes, process.memoryUsage.rss());
  }, LOOK_MS);
  await recording.done;
  clearInterval(look);

  const { tables } = await monitor.openRecording(out);
  const measure = (names: readonly string[]): Files => {
    const files = { fileBytes: 0, rawBytes: 0 };
    for (const { name, rows, schema } of tables.filter((table) => names.includes(table.name))) {
      if (rows === 0) throw new Error(`${name} has no rows`);
      files.fileBytes += statSync(join(out, `${name}.arrows`)).size;
      files.rawBytes += (rows * rowBits(schema)) / 8;
    }
    return files;
  };
  const names = tables.map(({ name }) => name).filter((name) => !OWN.includes(name));
  const line: RecordingLine = {
    baseBytes,
    mostBytes,
    fast: measure([FAST]),
    slow: measure(names.filter((name) => name !== FAST)),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [out = '', seconds] = process.argv.slice(2);
void main(out, Number(seconds));
