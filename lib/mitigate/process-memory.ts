import { readdirSync, readFileSync } from 'node:fs';
import { parseKeyValues } from '../host/sysfs.ts';

/** On which pages the memory of a process and of what it started lies, as smaps tells. */
export interface ProcessMemory {
  /** Time since the start of the command. */
  readonly at_ms: number;
  readonly processes: number;
  /** Resident, without hugetlb pages, which the kernel counts apart. */
  readonly rss_bytes: number;
  readonly anonymous_bytes: number;
  /** Part of it on transparent huge pages. */
  readonly thp_bytes: number;
  /** On pages of the hugetlb pools. */
  readonly hugetlb_bytes: number;
  /** By NUMA node; null where it was not asked for. */
  readonly nodes: Readonly<Record<string, number>> | null;
}

/** A process and all that it started and that is still there. */
function treeOf(pid: number): number[] {
  const found = [pid];
  for (const parent of found) {
    try {
      for (const tid of readdirSync(`/proc/${parent}/task`)) {
        const children = readFileSync(`/proc/${parent}/task/${tid}/children`, 'latin1');
        found.push(...children.split(' ').filter(Boolean).map(Number));
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** null: none of them can be looked at (any more). */
export function readProcessMemory(
  pid: number,
  options: { readonly atMs: number; readonly nodes: boolean },
): ProcessMemory | null {
  const sum = { rss: 0, anonymous: 0, thp: 0, hugetlb: 0 };
  const nodes: Record<string, number> = {};
  let processes = 0;
  for (const each of treeOf(pid)) {
    try {
      // The nodes first: of a process that ends in between the sums cannot be read either, and it is not counted. The other
      // way round its memory would count, and lie nowhere.
      const placed = options.nodes ? readFileSync(`/proc/${each}/numa_maps`, 'latin1') : '';
      const values = parseKeyValues(readFileSync(`/proc/${each}/smaps_rollup`, 'latin1'));
      const of = (name: string): number => values.get(name) ?? 0;
      if (!values.has('Rss')) continue;
      sum.rss += of('Rss');
      sum.anonymous += of('Anonymous');
      sum.thp += of('AnonHugePages') + of('ShmemPmdMapped');
      sum.hugetlb += of('Private_Hugetlb') + of('Shared_Hugetlb');
      processes += 1;
      addNodes(placed, nodes);
    } catch {
      // It has ended meanwhile, or is not ours to look at.
    }
  }
  if (processes === 0) return null;
  return {
    at_ms: Math.round(options.atMs),
    processes,
    rss_bytes: sum.rss,
    anonymous_bytes: sum.anonymous,
    thp_bytes: sum.thp,
    hugetlb_bytes: sum.hugetlb,
    nodes: options.nodes ? nodes : null,
  };
}

/** Lines such as `7f… bind:0 anon=512 N0=512 kernelpagesize_kB=4`: pages by node, in pages of that size. */
function addNodes(text: string, nodes: Record<string, number>): void {
  for (const line of text.split('\n')) {
    const pageKb = /\bkernelpagesize_kB=(\d+)/.exec(line)?.[1];
    if (pageKb === undefined) continue;
    for (const [, node = '', pages] of line.matchAll(/\bN(\d+)=(\d+)/g)) {
      nodes[node] = (nodes[node] ?? 0) + Number(pages) * Number(pageKb) * 1024;
    }
  }
}

/** Of the time of a command, what looking may take of a CPU in the long run ... */
const SHARE = 0.01;
/** ... and what it may take besides: enough for some looks at a command that is over before its share would suffice. */
const FREE_MS = 100;

/** Looks at a process until it ends, and keeps the moment at which it had most. */
export class PeakWatch {
  #peak: ProcessMemory | null = null;
  #timer: NodeJS.Timeout | undefined;
  #spentMs = 0;
  readonly #begun = performance.now();
  readonly #pid: number;
  readonly #nodes: boolean;

  constructor(pid: number, nodes: boolean) {
    this.#pid = pid;
    this.#nodes = nodes;
    this.#next(2);
  }

  /** Soon at first, for commands that are over in a moment. */
  #next(delayMs: number): void {
    this.#timer = setTimeout(() => {
      // Its cost is CPU time, in the kernel and under a lock of that process: not what a busy machine makes us wait.
      const before = process.cpuUsage();
      this.look();
      const { user, system } = process.cpuUsage(before);
      this.#spentMs += (user + system) / 1000;
      const affordableMs = (this.#spentMs - FREE_MS) / SHARE - (performance.now() - this.#begun);
      this.#next(Math.max(Math.min(delayMs * 1.5, 100), affordableMs));
    }, delayMs);
  }

  look(): void {
    const atMs = performance.now() - this.#begun;
    const now = readProcessMemory(this.#pid, { atMs, nodes: this.#nodes });
    const size = (memory: ProcessMemory): number => memory.rss_bytes + memory.hugetlb_bytes;
    if (now !== null && (this.#peak === null || size(now) >= size(this.#peak))) this.#peak = now;
  }

  /** The peak, or null when it was over before anybody could look. */
  end(): ProcessMemory | null {
    clearTimeout(this.#timer);
    return this.#peak;
  }
}
