/**
 * Faulting in page-backed memory against the same in bare C, decided on 2m. Both sides are timed in one
 * native process around the populate alone: mapping, proof and the way through Node are not in it.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { mitigate, WarpgaugeError } from 'warpgauge';
import { loadBinding } from '#lib/addon';
import { formatBytes, MiB } from '#lib/units';
import { buildNative, parseLines, runChild } from '../child.ts';
import { alternate, type Pair, pair } from '../pairs.ts';
import { type Comparison, Skip, type SkippedComparison } from '../result.ts';
import type { BenchCase, CaseContext } from './case.ts';

const REPETITIONS = 21;
const BYTES = 256 * MiB;
const PAGE_BYTES = 2 * MiB;
const THREADS = 2;

interface PopulateLine {
  readonly subject: 'region' | 'floor' | 'touch' | 'map-populate';
  readonly threads: number;
  readonly map_ns: number;
  readonly populate_ns: number;
}

function refusalAsSkip(error: unknown): unknown {
  if (!(error instanceof WarpgaugeError) || error.code === 'ERR_INTERRUPTED') return error;
  const fix = error.fix === undefined ? '' : `; fix: ${error.fix}`;
  return new Skip(`${error.message} (${error.code})${fix}`);
}

/** Pools hold enough 2 MB pages while `work` runs, and afterwards what they held before. */
async function withPool<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  let reservation: Awaited<ReturnType<typeof mitigate.pools.reserve>>;
  try {
    reservation = await mitigate.pools.reserve({
      pages: [{ pageBytes: PAGE_BYTES, count: BYTES / PAGE_BYTES }],
      signal,
    });
  } catch (error) {
    throw refusalAsSkip(error);
  }
  try {
    return await work();
  } finally {
    const { remaining } = await reservation.release();
    if (remaining.length > 0) {
      process.stderr.write('bench: not all pages were given back: warpgauge pages recover\n');
    }
  }
}

async function measure(
  program: string,
  pages: '4k' | '2m',
  { repetitions, signal }: CaseContext,
): Promise<(Comparison | SkippedComparison)[]> {
  const args = ['--pages', pages, '--bytes', `${BYTES}`, '--threads', `${THREADS}`];
  args.push('--rounds', `${repetitions ?? REPETITIONS}`);
  const lines = parseLines<PopulateLine>((await runChild(program, args, signal)).stdout);
  const times = (
    subject: PopulateLine['subject'],
    threads: number,
    of: (line: PopulateLine) => number = (line) => line.populate_ns,
  ): number[] =>
    lines.filter((line) => line.subject === subject && line.threads === threads).map(of);
  const total = (line: PopulateLine): number => line.map_ns + line.populate_ns;

  const decided = pages === '2m';
  const name = (what: string): string => `populate/${pages}/${what}`;
  const size = formatBytes(BYTES);
  const comparisons: (Comparison | SkippedComparison)[] = [];
  const add = (
    what: string,
    subject: string,
    floor: string,
    limit: Comparison['limit'],
    pairs: Pair[],
  ): void => {
    comparisons.push({ name: name(what), subject, floor, limit: decided ? limit : null, pairs });
  };
  for (const threads of [1, THREADS]) {
    add(
      `${threads}-thread${threads === 1 ? '' : 's'}`,
      `Region::Populate, ${size}, threads: ${threads}`,
      `MADV_POPULATE_WRITE in C, threads: ${threads}`,
      { at_most: 1.1 },
      pair(times('region', threads), times('floor', threads)),
    );
  }
  if (availableParallelism() < THREADS) {
    comparisons.push({ name: name('scaling'), skipped: 'this process may use one CPU only' });
  } else {
    add(
      'scaling',
      `Region::Populate, ${size}, one thread`,
      'the same on two threads',
      { at_least: 1.5 },
      pair(times('region', 1), times('region', THREADS)),
    );
    add(
      'scaling-of-c',
      `MADV_POPULATE_WRITE in C, ${size}, one thread`,
      'the same on two threads',
      null,
      pair(times('floor', 1), times('floor', THREADS)),
    );
  }
  add(
    'touch',
    `Region::Populate, ${size}, one thread`,
    'one written byte per page in C',
    null,
    pair(times('region', 1), times('touch', 1)),
  );
  if (decided) {
    add(
      'map-populate',
      `Region::Map and Populate, ${size}, one thread`,
      'mmap with MAP_POPULATE',
      null,
      pair(times('region', 1, total), times('map-populate', 1, total)),
    );
  }
  return comparisons;
}

/**
 * The same as JavaScript gets it. No limit: proof and the way through the thread pool are paid for something, and
 * the bare loop runs in a process of its own.
 */
async function measureAllocate(
  program: string,
  { repetitions, signal }: CaseContext,
): Promise<readonly Comparison[]> {
  const binding = loadBinding();
  const options = { bytes: BYTES, pages: '2m', numaNode: -1, lock: false, shared: false } as const;
  const args = ['--pages', '2m', '--bytes', `${BYTES}`, '--threads', `${THREADS}`];
  args.push('--only', 'floor', '--warm-up', '0', '--rounds', '1');
  const keys = ['allocate', 'floor'] as const;
  const times = await alternate(keys, repetitions ?? REPETITIONS, async (key) => {
    signal.throwIfAborted();
    if (key === 'floor') {
      const [line] = parseLines<PopulateLine>((await runChild(program, args, signal)).stdout);
      if (line === undefined) throw new Error(`${program} printed nothing`);
      return line.map_ns + line.populate_ns;
    }
    const start = process.hrtime.bigint();
    const region = await binding
      .allocateRegion({ ...options, populate: true, threads: THREADS })
      .catch((error: unknown) => {
        throw refusalAsSkip(error);
      });
    const ns = Number(process.hrtime.bigint() - start);
    binding.releaseRegion(region.buffer);
    return ns;
  });
  return [
    {
      name: 'populate/2m/allocate',
      subject: `allocateRegion in JavaScript (map, populate, prove), ${formatBytes(BYTES)}, threads: ${THREADS}`,
      floor: 'mmap and MADV_POPULATE_WRITE in C, in a process of its own',
      limit: null,
      pairs: pair(times.allocate, times.floor),
    },
  ];
}

/** What the machine refuses is a skipped result, not the end of the other results. */
async function orSkipped(
  name: string,
  work: () => Promise<readonly (Comparison | SkippedComparison)[]>,
): Promise<readonly (Comparison | SkippedComparison)[]> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Skip) return [{ name, skipped: error.message }];
    throw error;
  }
}

export const populateCase: BenchCase = {
  name: 'populate',
  description: 'faulting in 256 MiB against MADV_POPULATE_WRITE in C with as many threads',
  async run(context) {
    const program = join(await buildNative(context.signal), 'populate_bench');
    const in2m = await orSkipped('populate/2m', () =>
      withPool(context.signal, async () => [
        ...(await measure(program, '2m', context)),
        ...(await orSkipped('populate/2m/allocate', () => measureAllocate(program, context))),
      ]),
    );
    const in4k = await orSkipped('populate/4k', () => measure(program, '4k', context));
    return [...in2m, ...in4k];
  },
};
