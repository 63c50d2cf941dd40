import { deflateRaw } from 'node:zlib';
import type { PackedArray } from './format.ts';

type Numbers = Float64Array | Float32Array | Uint32Array | Uint16Array | Uint8Array;

/** Text between two pauses: base64 of a piece whose length is a multiple of 3. */
const PIECE = 3 * (1 << 18);

/** The smallest unsigned type that holds every value exactly; f64 where none does. */
function smallest(values: Float64Array): 'u8' | 'u16' | 'u32' | 'f64' {
  let largest = 0;
  for (const value of values) {
    if (!(value >= 0) || value > 0xffffffff || !Number.isInteger(value)) return 'f64';
    if (value > largest) largest = value;
  }
  return largest < 256 ? 'u8' : largest < 65_536 ? 'u16' : 'u32';
}

const ARRAYS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f64: Float64Array } as const;

function deflated(values: Numbers): Promise<Buffer> {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return new Promise((resolve, reject) => {
    deflateRaw(bytes, { level: 4 }, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * Collects the typed arrays of a page. Each is deflated at once, so that what waits to be written is a fraction of what it
 * stands for.
 */
export class Packer {
  readonly #blocks: Buffer[] = [];

  /** Whole numbers and times, exactly. `delta`: they grow, and their differences are smaller. */
  async exact(values: Float64Array, delta = false): Promise<PackedArray> {
    let stored = values;
    if (delta) {
      stored = new Float64Array(values.length);
      let before = 0;
      for (let at = 0; at < values.length; at++) {
        const value = values[at] as number;
        stored[at] = value - before;
        before = value;
      }
    }
    const type = smallest(stored);
    // Differences of f64 would add up their errors.
    if (type === 'f64') return this.#add(values, 'f64', false);
    return this.#add(ARRAYS[type].from(stored), type, delta);
  }

  /** Measured values, to seven digits. */
  measured(values: ArrayLike<number>): Promise<PackedArray> {
    return this.#add(Float32Array.from(values), 'f32', false);
  }

  /** The `<script>` elements that hold them, in pieces. Each can be had once. */
  *elements(): Generator<string> {
    for (const [index, block] of this.#blocks.entries()) {
      yield `<script type="application/octet-stream" id="data-${index}">`;
      for (let at = 0; at < block.length; at += PIECE) {
        yield block.toString('base64', at, Math.min(at + PIECE, block.length));
      }
      yield '</script>\n';
      this.#blocks[index] = Buffer.alloc(0);
    }
  }

  async #add(values: Numbers, type: PackedArray['type'], delta: boolean): Promise<PackedArray> {
    const block = this.#blocks.length;
    this.#blocks.push(Buffer.alloc(0));
    this.#blocks[block] = await deflated(values);
    return { block, type, length: values.length, delta };
  }
}
