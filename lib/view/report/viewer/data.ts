import type { PackedArray } from '../format.ts';

/** What a packed array becomes. */
export type Numbers = Float64Array | Float32Array | Uint32Array | Uint16Array | Uint8Array;

const TYPES = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Takes a packed array out of the page; its text is let go, because the numbers are all that is needed. */
export async function unpack({ block, type, delta }: PackedArray): Promise<Numbers> {
  const element = document.getElementById(`data-${block}`);
  const deflated = new Blob([bytesOf(element?.textContent ?? '')]);
  element?.remove();
  const inflated = deflated.stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const stored = new TYPES[type](await new Response(inflated).arrayBuffer());
  if (!delta) return stored;
  const values = new Float64Array(stored.length);
  let sum = 0;
  for (let at = 0; at < values.length; at++) {
    sum += stored[at] as number;
    values[at] = sum;
  }
  return values;
}
