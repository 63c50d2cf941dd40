import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { loadBinding } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { readThp } from '../host/hugepages.ts';
import { MiB } from '../units.ts';
import { numa } from './numa.ts';
import type { GpuPlace } from './numa-topology.ts';
import { readPool } from './pool-status.ts';
import { PeakWatch, type ProcessMemory } from './process-memory.ts';

/** What a program's memory is to lie on. */
export type RunPages = '4k' | 'thp' | '2m';

export interface RunOptions {
  readonly command: readonly string[];
  /** CPUs and memory of the node of this GPU: index, UUID or PCI address. */
  readonly nearGpu?: number | string;
  /** CPUs and memory of this node. */
  readonly node?: number;
  /**
   * `4k`: no transparent huge pages (prctl), for all its memory. `thp`, `2m`: huge pages for what glibc's malloc takes, by
   * GLIBC_TUNABLES; memory that the program maps by itself, or through another allocator, is not reached.
   */
  readonly pages?: RunPages;
  /** Aborted: the signal named by its reason, else SIGTERM, goes to the command. */
  readonly signal?: AbortSignal;
}

/** How the command ended, and where its memory was. */
export interface RunResult {
  /** Its exit code, or 128 + n after signal n. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
  readonly pages: RunPages | null;
  /** The node it was bound to, or null. */
  readonly node: number | null;
  readonly cpus: readonly number[] | null;
  readonly gpu: GpuPlace | null;
  /** What smaps showed of it when it had most memory. */
  readonly memory: ProcessMemory | null;
  /** Why `memory` is null, or null. */
  readonly memory_why: string | null;
  /** What a person should know about the means: one sentence each. */
  readonly notes: readonly string[];
}

const TUNABLE = 'glibc.malloc.hugetlb';
const TUNABLE_OF: Readonly<Record<RunPages, number | null>> = { '4k': null, thp: 1, '2m': 2 };

/** GLIBC_TUNABLES with ours in place of one of that name. */
export function withTunable(before: string | undefined, value: number): string {
  const others = (before ?? '')
    .split(':')
    .filter((each) => each && !each.startsWith(`${TUNABLE}=`));
  return [...others, `${TUNABLE}=${value}`].join(':');
}

function notesFor(pages: RunPages | undefined): string[] {
  if (pages === undefined) return [];
  if (pages === '4k') {
    return ['4k: transparent huge pages are off for the program and all that it starts (prctl)'];
  }
  const notes = [`${pages}: reaches what glibc's malloc takes, and nothing else (GLIBC_TUNABLES)`];
  if (pages === 'thp' && readThp().enabled === 'never') {
    notes.push('thp: the machine has them off: sudo warpgauge thp set --enabled madvise');
  }
  const pool = pages === '2m' ? readPool(2 * MiB) : null;
  if (pages === '2m' && (pool === null || pool.free - pool.reserved <= 0)) {
    notes.push('2m: no page is free, and malloc then takes 4 KB ones: warpgauge pages reserve');
  }
  return notes;
}

/** See {@link run} of `mitigate`. */
export async function runPlaced(options: RunOptions): Promise<RunResult> {
  const { command, nearGpu, node, pages } = options;
  const [file, ...args] = command;
  if (file === undefined) throw invalidArgument('command', 'a command', command);
  if (pages !== undefined && !Object.hasOwn(TUNABLE_OF, pages)) {
    throw invalidArgument('pages', Object.keys(TUNABLE_OF).join(', '), pages);
  }
  if (!isMainThread) {
    // The thread that forks hands its own place on: in Node that is the one that calls spawn, but prctl is of the process.
    throw new WarpgaugeError('ERR_UNAVAILABLE', 'A command is started from the main thread only');
  }
  const place =
    nearGpu === undefined && node === undefined
      ? null
      : await numa.bind({
          ...(nearGpu === undefined ? {} : { nearGpu }),
          ...(node === undefined ? {} : { node }),
          threads: 'thread',
        });
  const native = loadBinding();
  const tunable = pages === undefined ? null : TUNABLE_OF[pages];
  const env =
    tunable === null
      ? process.env
      : { ...process.env, GLIBC_TUNABLES: withTunable(process.env['GLIBC_TUNABLES'], tunable) };
  const notes = notesFor(pages); // as things stand before it runs
  const doubt = place?.gpu?.disagreement ?? null;
  if (doubt !== null) notes.push(`the node of GPU ${nearGpu} is in doubt: ${doubt}`);
  const wasDisabled = native.thpDisabled() === 1;
  let child: ChildProcess;
  try {
    if (pages === '4k') native.setThpDisabled(true);
    child = spawn(file, args, { stdio: 'inherit', env });
  } finally {
    if (pages === '4k') native.setThpDisabled(wasDisabled);
    await place?.restore();
  }
  const { code, signal, memory } = await watch(child, place !== null, options.signal);
  return {
    code,
    signal,
    pages: pages ?? null,
    node: place?.node ?? null,
    cpus: place?.cpus ?? null,
    gpu: place?.gpu ?? null,
    memory,
    memory_why: memory === null ? 'it ended before its smaps could be read' : null,
    notes,
  };
}

async function watch(
  child: ChildProcess,
  nodes: boolean,
  abort: AbortSignal | undefined,
): Promise<Pick<RunResult, 'code' | 'signal' | 'memory'>> {
  const peak = child.pid === undefined ? null : new PeakWatch(child.pid, nodes);
  const onAbort = (): void => {
    child.kill((abort?.reason as NodeJS.Signals | undefined) ?? 'SIGTERM');
  };
  abort?.addEventListener('abort', onAbort, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        reject(
          new WarpgaugeError(
            'ERR_SYSCALL',
            `${child.spawnfile} cannot be started: ${error.message}`,
            {
              source: 'spawn',
              cause: error,
              ...(error.errno === undefined ? {} : { status: -error.errno }),
            },
          ),
        );
      });
      child.once('exit', (code, signal) => {
        const number = signal === null ? 0 : constants.signals[signal];
        resolve({ code: code ?? 128 + number, signal, memory: peak?.end() ?? null });
      });
    });
  } finally {
    peak?.end();
    abort?.removeEventListener('abort', onAbort);
  }
}
