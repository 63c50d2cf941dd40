import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

interface SimulatedNode {
  total: number;
  free: number;
  surplus: number;
}

/**
 * Simulated: the page pools of a machine that this one is not (several nodes, too little memory), as a
 * tree of files. A write to nr_hugepages does what mm/hugetlb.c does: grow as far as memory goes, shrink
 * free pages only, and make the rest surplus.
 */
export class SimulatedPools {
  readonly root: string;
  readonly stateDir: string;
  readonly nodes: SimulatedNode[];
  /** Every write, in order: `path=value`. */
  readonly writes: string[] = [];
  reserved = 0;
  overcommit = 0;
  /** Pages that memory still has for the pools. */
  spare: number;
  /** What compaction frees. */
  compactable = 0;
  readonly #pageKb: number;

  constructor(
    t: TestContext,
    options: { pageKb?: number; nodes: SimulatedNode[]; spare: number; availableKb?: number },
  ) {
    this.root = mkdtempSync(join(tmpdir(), 'warpgauge-pools-'));
    t.after(() => rmSync(this.root, { recursive: true, force: true }));
    this.stateDir = join(this.root, 'state');
    this.nodes = options.nodes;
    this.spare = options.spare;
    this.#pageKb = options.pageKb ?? 2048;
    const available = options.availableKb ?? 64 * 1024 * 1024;
    this.put('/proc/meminfo', `MemAvailable:   ${available} kB\nHugepagesize:   2048 kB\n`);
    this.put('/proc/sys/kernel/random/boot_id', '11111111-2222-3333-4444-555555555555\n');
    this.flush();
  }

  put(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  sum(field: keyof SimulatedNode): number {
    return this.nodes.reduce((sum, node) => sum + node[field], 0);
  }

  file(node?: number): string {
    const name = `hugepages-${this.#pageKb}kB/nr_hugepages`;
    return node === undefined
      ? `/sys/kernel/mm/hugepages/${name}`
      : `/sys/devices/system/node/node${node}/hugepages/${name}`;
  }

  /** Shows the counters in the tree; call it after changing them. */
  flush(): void {
    const machine = dirname(this.file());
    this.put(`${machine}/nr_hugepages`, `${this.sum('total')}\n`);
    this.put(`${machine}/free_hugepages`, `${this.sum('free')}\n`);
    this.put(`${machine}/surplus_hugepages`, `${this.sum('surplus')}\n`);
    this.put(`${machine}/resv_hugepages`, `${this.reserved}\n`);
    this.put(`${machine}/nr_overcommit_hugepages`, `${this.overcommit}\n`);
    for (const [index, node] of this.nodes.entries()) {
      const dir = dirname(this.file(index));
      this.put(`${dir}/nr_hugepages`, `${node.total}\n`);
      this.put(`${dir}/free_hugepages`, `${node.free}\n`);
      this.put(`${dir}/surplus_hugepages`, `${node.surplus}\n`);
    }
  }

  /** Stands in for writing a file of the machine. */
  readonly write = async (path: string, text: string): Promise<void> => {
    this.writes.push(`${path}=${text}`);
    if (path === '/proc/sys/vm/compact_memory') {
      this.spare += this.compactable;
      this.compactable = 0;
      return;
    }
    const at = [undefined, ...this.nodes.keys()].find((node) => this.file(node) === path);
    const allowed = at === undefined ? this.nodes : [this.nodes[at] as SimulatedNode];
    const persistent = (): number => allowed.reduce((sum, n) => sum + n.total - n.surplus, 0);
    const wanted = Number(text);
    for (const node of allowed) {
      while (persistent() < wanted && node.surplus > 0) node.surplus--;
    }
    for (let turn = 0; persistent() < wanted && this.spare > 0; turn++, this.spare--) {
      const node = allowed[turn % allowed.length] as SimulatedNode;
      node.total++;
      node.free++;
    }
    // min_count of the kernel: pages in use or promised stay.
    const used = (): number => this.sum('total') - this.sum('free') + this.reserved;
    const total = (): number => this.sum('total') - this.sum('surplus');
    for (const node of allowed) {
      while (persistent() > wanted && total() > used() && node.free > 0) {
        node.total--;
        node.free--;
        this.spare++;
      }
      while (persistent() > wanted && node.total > node.surplus) node.surplus++;
    }
    this.flush();
  };

  /** What a tree's file says. */
  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8').trim();
  }
}
