import { loadBinding, type NativePageProof, type NativeRegion } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { PAGE_BYTES, type PageKind } from '../page-kinds.ts';

/** What the kernel really mapped, proven after the first touch and not assumed from what was asked for. */
export interface GrantedPages {
  /** Bytes of the mapping by page size in bytes, such as `{ 2097152: 67108864 }`. */
  readonly bytesByPageSize: Readonly<Record<number, number>>;
  /** Part of them that is the kernel's shared zero page; 0 in a populated region. */
  readonly zeroPageBytes: number;
  /** Bytes that no page stands behind yet; 0 in a populated region. */
  readonly untouchedBytes: number;
  /**
   * How this was found: `PAGEMAP_SCAN`, `PAGEMAP_SCAN+smaps` (the size of huge pages comes from smaps), or `smaps`
   * alone before Linux 6.7, where zero pages count as untouched.
   */
  readonly method: string;
  /**
   * Minor faults that population took, by getrusage of the threads that did it: a second witness beside the
   * mapping. null where they were not counted (`populate: false`, a later `prove()`, hugetlb pages on older kernels).
   */
  readonly faults: number | null;
  /** Pages of the kind in the mapping; null for shared `thp`, whose pages are joined after their faults. */
  readonly expectedFaults: number | null;
}

/** What `allocate` found out besides the native region. */
export interface RegionFacts {
  readonly bytes: number;
  readonly pages: PageKind;
  readonly shared: boolean;
  readonly fellBackFrom: PageKind | null;
  readonly reason: WarpgaugeError | null;
}

function granted(
  proof: NativePageProof,
  faults: number | null,
  expectedFaults: number | null,
): GrantedPages {
  const bytesByPageSize: Record<number, number> = {};
  const add = (pageBytes: number, bytes: number) => {
    if (bytes > 0) bytesByPageSize[pageBytes] = (bytesByPageSize[pageBytes] ?? 0) + bytes;
  };
  add(PAGE_BYTES['4k'], proof.bytes4k);
  add(PAGE_BYTES.thp, proof.bytesThp);
  add(PAGE_BYTES['2m'], proof.bytes2m);
  add(PAGE_BYTES['1g'], proof.bytes1g);
  return {
    bytesByPageSize,
    zeroPageBytes: proof.bytesZero,
    untouchedBytes: proof.bytesAbsent,
    method: proof.method,
    faults,
    expectedFaults,
  };
}

/**
 * Memory on pages of one proven kind, made by `mitigate.allocate`. It lives until `close()` or until nothing refers
 * to it, its buffer or a view any more.
 *
 * It is absent in a child of fork, and cannot be transferred to another thread.
 */
export class PageRegion {
  /** Bytes asked for. */
  readonly bytes: number;
  /** Bytes of the mapping: `bytes` rounded up to whole pages. What lies beyond `bytes` is mapped but not in `buffer`. */
  readonly mappedBytes: number;
  /** Where the region starts: a multiple of 2 MB for every kind, of 1 GB for `1g`. */
  readonly address: bigint;
  /** The kind that was granted: what was asked for, or the fallback that was. */
  readonly pages: PageKind;
  /** The proof; null with `populate: false`, where no page exists yet (see {@link PageRegion.prove}). */
  readonly grantedPages: GrantedPages | null;
  /** NUMA nodes the pages lie on; empty where none is present or the kernel does not tell. */
  readonly numaNodes: readonly number[];
  /** The kind asked for, if a fallback was granted instead of it. */
  readonly fellBackFrom: PageKind | null;
  /** Why the kind asked for could not be had; null without a fallback. */
  readonly reason: WarpgaugeError | null;
  /**
   * The memory file of a shared region, sealed against resizing, for handing to a child process; owned by the region
   * and closed with it. -1 for a private one.
   */
  readonly fd: number;
  /** Number of the region in this process, from 1, never reused: column `region` of the `page-faults` source. */
  readonly id: number;

  readonly #expectedFaults: number | null;
  #windows: readonly ArrayBuffer[];
  readonly #windowStride: number;

  /** @internal */
  constructor(native: NativeRegion, facts: RegionFacts) {
    this.bytes = facts.bytes;
    this.pages = facts.pages;
    this.fellBackFrom = facts.fellBackFrom;
    this.reason = facts.reason;
    this.mappedBytes = native.mappedBytes;
    this.address = native.address;
    this.numaNodes = native.numaNodes;
    this.fd = native.fd;
    this.id = native.id;
    this.#windows = native.windows;
    this.#windowStride = native.windowStride;
    this.#expectedFaults =
      facts.shared && facts.pages === 'thp' ? null : native.mappedBytes / PAGE_BYTES[facts.pages];
    this.grantedPages =
      native.proof && granted(native.proof, native.populateFaults, this.#expectedFaults);
  }

  /**
   * All `bytes` as one ArrayBuffer.
   *
   * Errors: `ERR_CLOSED`; `ERR_TOO_LARGE` above 4 GiB on Node 20, which has no such buffers (use {@link PageRegion.view}).
   */
  get buffer(): ArrayBuffer {
    const [first, ...others] = this.#open();
    if (first !== undefined && others.length === 0) return first;
    throw new WarpgaugeError(
      'ERR_TOO_LARGE',
      `Node ${process.versions.node} makes no ArrayBuffer of ${this.bytes} bytes`,
      { fix: 'use region.view(offset, length), or Node 22 and later' },
    );
  }

  /**
   * A view of `length` bytes from `offset`, without a copy. After `close()` its length is 0.
   *
   * Works in regions above 4 GiB on Node 20 too, for views of up to 2 GiB there.
   *
   * Errors: `ERR_CLOSED`, `ERR_INVALID_ARGUMENT` outside the region, `ERR_TOO_LARGE`.
   */
  view(offset: number = 0, length: number = this.bytes - offset): Uint8Array<ArrayBuffer> {
    const windows = this.#open();
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > this.bytes) {
      throw invalidArgument('offset', `an integer from 0 to ${this.bytes}`, offset);
    }
    if (!Number.isSafeInteger(length) || length < 0 || length > this.bytes - offset) {
      throw invalidArgument('length', `an integer from 0 to ${this.bytes - offset}`, length);
    }
    const index = Math.min(Math.floor(offset / this.#windowStride), windows.length - 1);
    const window = windows[index] as ArrayBuffer;
    const start = offset - index * this.#windowStride;
    if (start + length > window.byteLength) {
      throw new WarpgaugeError(
        'ERR_TOO_LARGE',
        `Node ${process.versions.node} cannot view ${length} bytes of a region of ${this.bytes} bytes`,
        { fix: `use views of up to ${this.#windowStride} bytes, or Node 22 and later` },
      );
    }
    return new Uint8Array(window, start, length);
  }

  /**
   * Looks again at what is mapped now; nothing is required of it. Useful with `populate: false`, or to see whether
   * the kernel split a transparent page meanwhile.
   */
  prove(): GrantedPages {
    const [first] = this.#open();
    return granted(loadBinding().proveRegion(first as ArrayBuffer), null, this.#expectedFaults);
  }

  /** Whether the memory was given back. */
  get closed(): boolean {
    return this.#windows.length === 0;
  }

  /**
   * Detaches `buffer` and every view and gives the memory back at once. Idempotent. No read or write of the system
   * (`fs.read` into a view) may be pending.
   */
  close(): void {
    const [first] = this.#windows;
    this.#windows = [];
    if (first !== undefined) loadBinding().releaseRegion(first);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #open(): readonly ArrayBuffer[] {
    if (this.closed) throw new WarpgaugeError('ERR_CLOSED', 'The page region is closed');
    return this.#windows;
  }
}
