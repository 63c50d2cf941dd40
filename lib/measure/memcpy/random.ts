/**
 * The one source of chance of the benchmark: order of the cells, and resampling. Everything that is drawn
 * is drawn from a seed, so that one seed gives one order and one interval on every machine.
 *
 * The generator is sfc32 ("small fast counting", Chris Doty-Humphrey, PractRand 0.9, public domain): 128
 * bits of state, 32-bit arithmetic only, passes PractRand and TestU01 BigCrush. The seed is spread over
 * its state by splitmix32 (the 32-bit murmur3 finaliser on a Weyl sequence), and the first twelve
 * outputs are thrown away, as the author of sfc32 recommends.
 */
import { invalidArgument } from '../../errors.ts';

/** A seeded stream of pseudo-random numbers. Not for secrets. */
export interface Random {
  /** 32 random bits, 0 ... 2^32 - 1. */
  next32(): number;
  /** Uniform in [0, 1), 53 bits. */
  next(): number;
  /** Uniform integer in [0, n), without bias; `n` is an integer in 1 ... 2^32. */
  nextInt(n: number): number;
  /** A new array in random order (Fisher-Yates); the argument stays as it is. */
  shuffle<T>(items: readonly T[]): T[];
}

/**
 * A generator for a seed. Equal seeds give equal streams; `42` and `42n` are equal seeds. A string is a
 * seed of its own, for streams that must not depend on each other: `` createRandom(`${seed}/order`) ``.
 *
 * @param seed a safe integer of either sign, a bigint (its low 64 bits count) or any string.
 */
export function createRandom(seed: number | bigint | string): Random {
  const mix = splitmix32(0);
  for (const word of seedWords(seed)) mix.add(word);
  let a = mix.next();
  let b = mix.next();
  let c = mix.next();
  let counter = 1;

  function next32(): number {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  function next(): number {
    return ((next32() >>> 5) * 0x4000000 + (next32() >>> 6)) / 0x20000000000000;
  }

  function nextInt(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x100000000) {
      throw invalidArgument('n', 'an integer from 1 to 2^32', n);
    }
    // The top of the range that is no full multiple of n is drawn again: without it small results are
    // more frequent.
    const limit = 0x100000000 - (0x100000000 % n);
    let bits = next32();
    while (bits >= limit) bits = next32();
    return bits % n;
  }

  function shuffle<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let last = result.length - 1; last > 0; last--) {
      const other = nextInt(last + 1);
      const item = result[last] as T;
      result[last] = result[other] as T;
      result[other] = item;
    }
    return result;
  }

  for (let i = 0; i < 12; i++) next32();
  return { next32, next, nextInt, shuffle };
}

interface SeedMixer {
  add(word: number): void;
  next(): number;
}

function splitmix32(start: number): SeedMixer {
  let state = start | 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  return {
    next,
    add: (word) => {
      state = (next() ^ word) | 0;
    },
  };
}

function seedWords(seed: number | bigint | string): number[] {
  if (typeof seed === 'string') {
    // The leading word keeps a string apart from the number made of the same words.
    return [0x73, ...Array.from({ length: seed.length }, (_, i) => seed.charCodeAt(i))];
  }
  if (typeof seed === 'number' && !Number.isSafeInteger(seed)) {
    throw invalidArgument('seed', 'a safe integer, a bigint or a string', seed);
  }
  const bits = BigInt.asUintN(64, BigInt(seed));
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}
