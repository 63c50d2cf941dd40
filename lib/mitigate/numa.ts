import { readdirSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { loadBinding } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import type { GpuPlace, NumaNode, NumaStatus } from './numa-topology.ts';
import type { PageRegion } from './page-region.ts';

/** Where threads and memory are to be; one of `node` and `nearGpu`. */
export interface NumaBindOptions {
  /** A NUMA node. */
  readonly node?: number;
  /** The node of a GPU: its index, UUID or PCI address. */
  readonly nearGpu?: number | string;
  /**
   * `process` (default): every thread that this process has now; those it starts later inherit from the one that starts
   * them. `thread`: the calling one. Memory is always that of the calling thread: the kernel sets no other's policy.
   */
  readonly threads?: 'process' | 'thread';
  /** `bind` (default): from this node or not at all. `preferred`: from others when it is full. `none`: as it was. */
  readonly memory?: 'bind' | 'preferred' | 'none';
  /** Folder that stands for `/`. Default: `WARPGAUGE_ROOT`, else `/`. */
  readonly root?: string;
}

/** Threads and memory that were bound, and read back; {@link restore} puts back what was there. */
export interface NumaBinding extends AsyncDisposable {
  readonly node: number;
  /** CPUs of the node that this process may use. */
  readonly cpus: readonly number[];
  /** Threads that were bound. */
  readonly threads: number;
  /** Where the node of the GPU comes from, or null. */
  readonly gpu: GpuPlace | null;
  restore(): Promise<void>;
}

/**
 * NUMA placement. It ends with the process, so that there is no journal; nothing else on the machine feels it.
 *
 * @example
 * ```ts
 * await using near = await mitigate.numa.bind({ nearGpu: 0 });
 * await using region = await mitigate.allocate({ bytes: 2 ** 30, pages: '2m' });
 * mitigate.numa.residency(region); // { 1: 512 }
 * ```
 */
export interface Numa {
  /** Nodes, GPUs and what this process may use. Needs no privilege. */
  status(options?: { readonly root?: string }): Promise<NumaStatus>;
  /**
   * Errors: `ERR_NUMA_NODE`, `ERR_NO_DEVICE`, `ERR_UNAVAILABLE` (the GPU's node is unknown, or its CPUs are not ours),
   * `ERR_REFUSED`, `ERR_INVALID_ARGUMENT`. After each of them all is as before.
   */
  bind(options: NumaBindOptions): Promise<NumaBinding>;
  /** Pages of a region (at most 65,536, evenly chosen) by node; `-1`: not there yet. */
  residency(region: PageRegion): Readonly<Record<number, number>>;
  /** Moves a region to a node, and verifies that all its pages are there. */
  move(region: PageRegion, node: number): void;
}

const MPOL = { default: 0, preferred: 1, bind: 2 } as const;
const MOST_PAGES = 65_536;

export const numa: Numa = {
  async status(options = {}) {
    const { readNumaStatus } = await import('./numa-topology.ts');
    return await readNumaStatus(options.root);
  },
  async bind(options) {
    const { node, gpu } = await choose(options);
    return new Binding(node, gpu, options);
  },
  residency(region) {
    return Object.fromEntries(loadBinding().regionNodes(region.buffer, MOST_PAGES));
  },
  move(region, node) {
    if (!Number.isSafeInteger(node) || node < 0) {
      throw invalidArgument('node', 'the number of a NUMA node', node);
    }
    loadBinding().moveRegion(region.buffer, node);
    const elsewhere = Object.entries(numa.residency(region)).filter(
      ([where]) => Number(where) !== node && where !== '-1',
    );
    if (elsewhere.length === 0) return;
    const left = elsewhere.map(([where, pages]) => `${pages} on node ${where}`).join(', ');
    throw new WarpgaugeError('ERR_REFUSED', `Not all pages moved to node ${node}: ${left}`, {
      source: 'mbind',
      fix: 'Free memory on that node, or unpin the pages',
    });
  },
};

/** The node that is meant, with its CPUs. */
export async function choose(
  options: NumaBindOptions,
): Promise<{ readonly node: NumaNode; readonly gpu: GpuPlace | null }> {
  const { nearGpu, root } = options;
  if ((options.node === undefined) === (nearGpu === undefined)) {
    throw invalidArgument('node', 'one of node and nearGpu', options.node);
  }
  const { readGpuPlaces, readNodes } = await import('./numa-topology.ts');
  const nodes = readNodes(root);
  let wanted = options.node;
  let gpu: GpuPlace | null = null;
  if (nearGpu !== undefined) {
    const { gpus, why } = await readGpuPlaces(root);
    gpu = gpus.find((each) => [each.index, each.uuid, each.pci_address].includes(nearGpu)) ?? null;
    if (gpu === null) {
      const there = gpus.map(({ index, pci_address }) => `${index} (${pci_address})`).join(', ');
      throw new WarpgaugeError('ERR_NO_DEVICE', `There is no GPU ${nearGpu}: ${why ?? there}`, {
        fix: 'warpgauge numa status',
      });
    }
    if (gpu.node === null) {
      throw new WarpgaugeError('ERR_UNAVAILABLE', `The node of GPU ${nearGpu} is ${gpu.source}`, {
        source: gpu.source,
        fix: 'Name the node: warpgauge run --node N',
      });
    }
    wanted = gpu.node;
  }
  const node = nodes.find((each) => each.node === wanted);
  if (node === undefined) {
    const there = nodes.map((each) => each.node).join(', ') || 'none';
    throw new WarpgaugeError(
      'ERR_NUMA_NODE',
      `NUMA node ${wanted} does not exist; this machine has: ${there}`,
      { source: '/sys/devices/system/node', fix: `Choose a node that exists: ${there}` },
    );
  }
  return { node, gpu };
}

class Binding implements NumaBinding {
  readonly node: number;
  readonly cpus: readonly number[];
  readonly gpu: GpuPlace | null;
  readonly #affinities = new Map<number, readonly number[]>();
  readonly #policy: { readonly mode: number; readonly nodes: readonly number[] };
  readonly #memory: boolean;
  #restored = false;

  constructor(node: NumaNode, gpu: GpuPlace | null, options: NumaBindOptions) {
    const native = loadBinding();
    const { threads = 'process', memory = 'bind' } = options;
    this.node = node.node;
    this.gpu = gpu;
    // What a cpuset or taskset forbids stays forbidden.
    const allowed = new Set(native.threadAffinity(0));
    this.cpus = node.cpus.filter((cpu) => allowed.has(cpu));
    if (this.cpus.length === 0) {
      throw new WarpgaugeError(
        'ERR_UNAVAILABLE',
        `This process may run on no CPU of node ${node.node} (${node.cpus.join(',') || 'none'})`,
        {
          source: 'sched_getaffinity',
          fix: 'Start it without taskset, or allow these CPUs in its cpuset',
        },
      );
    }
    this.#policy = native.memoryPolicy();
    this.#memory = memory !== 'none';
    try {
      for (const tid of threads === 'thread' ? [0] : threadIds()) this.#bindThread(tid);
      if (this.#memory)
        native.setMemoryPolicy(MPOL[memory === 'bind' ? 'bind' : 'preferred'], [node.node]);
      this.#verify();
    } catch (error) {
      this.#restore();
      throw error;
    }
  }

  get threads(): number {
    return this.#affinities.size;
  }

  #bindThread(tid: number): void {
    const native = loadBinding();
    try {
      const before = native.threadAffinity(tid);
      native.setThreadAffinity(tid, this.cpus);
      this.#affinities.set(tid, before);
    } catch (error) {
      // A thread that ended meanwhile needs no place.
      if (!(error instanceof WarpgaugeError && error.code === 'ERR_GONE')) throw error;
    }
  }

  #verify(): void {
    const native = loadBinding();
    const now = native.threadAffinity(0);
    const policy = native.memoryPolicy();
    const bound = now.every((cpu) => this.cpus.includes(cpu));
    const ours = !this.#memory || (policy.nodes.length === 1 && policy.nodes[0] === this.node);
    if (bound && ours) return;
    throw new WarpgaugeError(
      'ERR_REFUSED',
      `Binding to node ${this.node} reads back as CPUs ${now.join(',')} and memory of nodes ${policy.nodes.join(',') || 'any'}`,
      { source: bound ? 'get_mempolicy' : 'sched_getaffinity' },
    );
  }

  #restore(): void {
    if (this.#restored) return;
    this.#restored = true;
    const native = loadBinding();
    for (const [tid, cpus] of this.#affinities) {
      try {
        native.setThreadAffinity(tid, cpus);
      } catch {
        // That thread has ended.
      }
    }
    if (this.#memory) native.setMemoryPolicy(this.#policy.mode, this.#policy.nodes);
  }

  async restore(): Promise<void> {
    this.#restore();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#restore();
  }
}

/** All threads of this process, the calling one first. A worker binds itself and its siblings alike. */
function threadIds(): number[] {
  const others = readdirSync('/proc/self/task').map(Number);
  return isMainThread ? [0, ...others.filter((tid) => tid !== process.pid)] : [0, ...others];
}
