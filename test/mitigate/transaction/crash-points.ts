import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { settingOf } from '#lib/mitigate/transaction/file-operation';

const CHILD = fileURLToPath(new URL('../../children/change-machine.js', import.meta.url));
const THP = '/sys/kernel/mm/transparent_hugepage';
const POOLS = '/sys/kernel/mm/hugepages';

/** What a crash test watches, in a tree of plain files that keep what is written to them. */
export const WATCHED: readonly string[] = [
  `${POOLS}/hugepages-2048kB/nr_hugepages`,
  `${POOLS}/hugepages-1048576kB/nr_hugepages`,
  `${THP}/enabled`,
  `${THP}/defrag`,
  `${THP}/shmem_enabled`,
];

/** Simulated: the files of a machine's pools and THP policy. Pages are always free, so a write does what it says. */
export class SimulatedMachine {
  readonly root: string;

  constructor(t: TestContext, from?: SimulatedMachine) {
    this.root = mkdtempSync(join(tmpdir(), 'warpgauge-crash-'));
    t.after(() => this.remove());
    if (from !== undefined) {
      cpSync(from.root, this.root, { recursive: true });
      return;
    }
    this.put('/proc/meminfo', 'MemAvailable: 4294967296 kB\nHugepagesize: 2048 kB\n');
    for (const size of ['2048', '1048576']) {
      const folder = `${POOLS}/hugepages-${size}kB`;
      this.put(`${folder}/free_hugepages`, '1000');
      for (const name of ['resv', 'surplus', 'nr_overcommit']) {
        this.put(`${folder}/${name}_hugepages`, '0');
      }
    }
    this.boot('one');
  }

  get stateDir(): string {
    return join(this.root, 'state');
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  put(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), `${text}\n`);
  }

  /** Starts the machine anew: pools and policy are as after every boot. */
  boot(id: string): void {
    this.put('/proc/sys/kernel/random/boot_id', id);
    this.put(WATCHED[0] as string, '10');
    this.put(WATCHED[1] as string, '1');
    this.put(`${THP}/enabled`, 'always [madvise] never');
    this.put(`${THP}/defrag`, 'always defer [madvise] never');
    this.put(`${THP}/shmem_enabled`, 'always advise [never]');
  }

  /** The watched files as one text. */
  state(): string {
    return WATCHED.map((path) => settingOf(readFileSync(join(this.root, path), 'utf8'))).join(' ');
  }

  /** Lines of all journals, and writes to the watched files that they tell of. */
  journalLines(): { readonly lines: number; readonly mutating: number } {
    const folder = join(this.stateDir, 'journal');
    if (!existsSync(folder)) return { lines: 0, mutating: 0 };
    const text = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
    const lines = text.join('').split('\n').slice(0, -1);
    const mutating = lines.filter((line) => line.includes('"type":"intent"')).length;
    return { lines: lines.length, mutating };
  }
}

/** Runs the child without anybody watching; how it ended. */
export function runChild(
  machine: SimulatedMachine,
  args: string[],
): NodeJS.Signals | number | null {
  const { signal, status } = spawnSync(process.execPath, [CHILD, machine.root, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return signal ?? status;
}

/** Calls that change a file, or that others could see. */
const CALLS = ['write', 'pwrite64', 'fsync', 'flock', 'ftruncate', 'rename', 'unlink'] as const;

/** A system call of a run at which another run of the same can be killed. */
export interface CrashPoint {
  readonly call: string;
  /** The n-th of its name on the thread, or on the file. */
  readonly nth: number;
  /** Of the file, below the root, without what is random in it. */
  readonly file: string;
  /** A watched file, written by another thread. */
  readonly watched: boolean;
}

export const cannotTrace: string | false =
  spawnSync('strace', ['-e', 'trace=none', 'true']).status === 0
    ? false
    : 'strace is missing or may not trace here: apt-get install -y strace';

interface Run {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly log: string;
}

async function trace(machine: SimulatedMachine, options: string[], args: string[]): Promise<Run> {
  const log = join(machine.root, 'strace.log');
  const child: ChildProcess = spawn(
    'strace',
    [
      '-y',
      '-qq',
      '-e',
      'signal=none',
      ...options,
      '-o',
      log,
      process.execPath,
      CHILD,
      machine.root,
      ...args,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, UV_THREADPOOL_SIZE: '1' } },
  );
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return { code, signal, log: readFileSync(log, 'utf8') };
}

/** `journal/pools-*.jsonl`: a name without what differs from run to run. */
function placeOf(line: string, root: string): string | null {
  const path = /<(\/[^>]*)>/.exec(line)?.[1] ?? /"(\/[^"]*)"/.exec(line)?.[1];
  if (path === undefined || !path.startsWith(`${root}/`)) return null;
  return path.slice(root.length + 1).replace(/(journal\/[a-z]+)-.*/, '$1-*');
}

/** Runs the child to its end and lists the system calls that touch files below the root. */
export async function findPoints(machine: SimulatedMachine, args: string[]): Promise<CrashPoint[]> {
  const other = new SimulatedMachine({ after: () => {} } as unknown as TestContext, machine);
  const points: CrashPoint[] = [];
  // The first thread alone: all but the writes to the watched files are made there.
  const main = await trace(machine, ['-e', `trace=${CALLS.join()}`], args);
  if (main.code !== 0) throw new Error(`the child ended with ${main.signal ?? main.code}`);
  const counts = new Map<string, number>();
  for (const line of main.log.split('\n')) {
    const call = /^(\w+)\(/.exec(line)?.[1];
    if (call === undefined) continue;
    const nth = (counts.get(call) ?? 0) + 1;
    counts.set(call, nth);
    const file = placeOf(line, machine.root);
    if (file !== null) points.push({ call, nth, file, watched: false });
  }
  const paths = WATCHED.flatMap((path) => ['-P', join(other.root, path)]);
  const workers = await trace(other, ['-f', '-e', 'trace=write', ...paths], args);
  const written = new Map<string, number>();
  for (const line of workers.log.split('\n')) {
    const file = placeOf(line, other.root);
    if (file === null) continue;
    const nth = (written.get(file) ?? 0) + 1;
    written.set(file, nth);
    points.push({ call: 'write', nth, file, watched: true });
  }
  other.remove();
  return points;
}

/** Runs the child and kills it as it enters the call; whether that was the call that was meant. */
export async function killAt(
  machine: SimulatedMachine,
  point: CrashPoint,
  args: string[],
): Promise<{ readonly killed: boolean; readonly there: boolean }> {
  const { call, nth, file, watched } = point;
  const where = watched ? ['-f', '-P', join(machine.root, file)] : [];
  const inject = `inject=${call}:signal=KILL:when=${nth}`;
  const run = await trace(machine, ['-e', `trace=${call}`, '-e', inject, ...where], args);
  const last = run.log
    .trim()
    .split('\n')
    .filter((line) => line.includes(`${call}(`))
    .at(-1);
  return { killed: run.signal === 'SIGKILL', there: placeOf(last ?? '', machine.root) === file };
}
