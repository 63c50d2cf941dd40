// A command on the simulated driver, traced: what it said that it did, and what the trace says.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { monitor } from 'warpgauge';

const BUILT = fileURLToPath(new URL('../../../debug/', import.meta.url));

export const COPIES: string = join(BUILT, 'programs/cuda_copies');
export const FAKE_CUDA: string = join(BUILT, 'fake/libcuda.so.1');
export const FAKE_CUPTI: string = join(BUILT, 'fake/libcupti.so');

/** Options of a test that needs the simulated driver. */
export const NEEDS_FAKE =
  existsSync(COPIES) && existsSync(FAKE_CUPTI)
    ? {}
    : { skip: 'the fake driver libraries are not built (node scripts/setup.mjs --tests)' };

/** What a command on the simulated driver finds in its environment. */
export const FAKE_ENV: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '',
  WARPGAUGE_CUDA: FAKE_CUDA,
  WARPGAUGE_CUPTI: FAKE_CUPTI,
};

/** One line of cuda_copies: what one process did. */
export interface Said {
  readonly pid: number;
  readonly role: string;
  readonly copies: readonly {
    readonly direction: string;
    readonly memory: string;
    readonly count: number;
    readonly bytes: number;
  }[];
  readonly memsets: { readonly count: number; readonly bytes: number };
  readonly kernels: number;
}

type Row = Readonly<Record<string, unknown>>;

export interface Traced {
  readonly said: readonly Said[];
  /** Rows by table, `name` columns as texts. */
  readonly rows: Readonly<Record<string, readonly Row[]>>;
  readonly states: readonly { key: string; state: string; reason: string; code: number }[];
  readonly end: monitor.CommandEnd;
  readonly simulated: boolean;
}

type Options = Partial<monitor.TraceCommandOptions>;

/** Runs `cuda_copies ARGS`, or what `options.command` says with its standard output in $OUT, to its end. */
export async function trace(
  args: readonly string[],
  options: Options = {},
  meanwhile: (traced: monitor.TracedCommand) => Promise<void> = async () => {},
): Promise<Traced> {
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-traced-'));
  const out = join(folder, 'said');
  try {
    const { command = [COPIES, ...args], ...rest } = options;
    const traced = await monitor.traceCommand({
      command: ['/bin/sh', '-c', `exec "$@" > "${out}"`, 'sh', ...command],
      env: FAKE_ENV,
      ...rest,
    });
    const other = meanwhile(traced);
    const rows: Record<string, Row[]> = {};
    for await (const { table, batch } of traced) {
      rows[table] ??= [];
      for (const row of batch) rows[table]?.push(row.toJSON() as Row);
    }
    await other;
    await traced.close(); // it has ended by itself; what it made is removed then
    return {
      said: readFileSync(out, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Said),
      rows,
      states: traced.states.map(({ key, state, reason, code }) => ({ key, state, reason, code })),
      end: await traced.ended,
      simulated: traced.tables.some(({ name, simulated }) => name === 'cuda.memcpy' && simulated),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Copies of a process by direction and memory, as cuda_copies tells them; what was not done is left out. */
export function copiesOf(rows: readonly Row[], pid: number): Said['copies'] {
  const sums = new Map<
    string,
    { direction: string; memory: string; count: number; bytes: number }
  >();
  for (const row of rows.filter((each) => each['pid'] === pid)) {
    const direction = String(row['direction']);
    const host = direction === 'DtoH' ? row['destination_memory'] : row['source_memory'];
    const memory = String(host);
    const key = `${direction} ${memory}`;
    const sum = sums.get(key) ?? { direction, memory, count: 0, bytes: 0 };
    sum.count++;
    sum.bytes += Number(row['bytes']);
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => order(a).localeCompare(order(b)));
}

export const saidCopies = ({ copies }: Said): Said['copies'] =>
  copies.filter(({ count }) => count > 0).sort((a, b) => order(a).localeCompare(order(b)));

const order = ({ direction, memory }: { direction: string; memory: string }): string =>
  `${direction} ${memory}`;
