// The verdicts on real noise: a comparison of 4k with itself must not name a winner, and a delay that is known must
// be found. Serial, a few minutes: it measures.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { NativeSampleSpec } from '#lib/addon';
import { compareFamily } from '#lib/measure/memcpy/comparisons';
import { CopyChild } from '#lib/measure/memcpy/copy-child';
import { blockOrder, patternSeed } from '#lib/measure/memcpy/design';
import { toSample } from '#lib/measure/memcpy/judge';
import { defaultCpu } from '#lib/measure/memcpy/plan';
import { describe } from '#lib/measure/memcpy/statistics';
import type { Cell, Comparison, Direction, PageState, Sample } from '#lib/measure/memcpy/types';
import { MiB } from '#lib/units';
import { whyNotQuiet } from '../quiet.ts';

const COMPARISONS = 40;
const LEAST = 13;
const PATIENCE_MS = 90_000;
let child: CopyChild;
before(async () => {
  child = await CopyChild.start({
    cpu: defaultCpu(),
    backend: { backend: 'host', device: 0, cudaPath: '', nvmlPath: '' },
  });
});
after(() => child.close());

interface Side {
  readonly id: string;
  readonly stretch: number;
}

interface Pairing {
  readonly dir: Direction;
  readonly state: PageState;
  readonly bytes: number;
  readonly blocks: number;
  readonly sides: readonly [Side, Side];
  readonly seed: number;
}

function cellOf(pairing: Pairing, side: Side, samples: Sample[]): Cell {
  const { dir, state, bytes } = pairing;
  return {
    id: side.id,
    dir,
    pin: 'none',
    state,
    kind: '4k',
    bytes,
    metric: 'copy',
    legal: true,
    status: 'ok',
    reason: null,
    fix: null,
    error: null,
    samples,
    phases_ns: null,
    labels: [],
    cupti: null,
    cupti_why: 'the host proxy does not use the GPU',
    stats: describe(samples, bytes, { seed: side.id }),
    page: {
      requested_kb: 4,
      verified_bytes_by_kb: null,
      zero_page_bytes: null,
      node: [],
      method: null,
      phys_run_pages: null,
      phys_run_why: null,
    },
  };
}

/** Blocks of both sides in seeded order, every sample on a mapping of its own, then the verdict of a family of one. */
async function compare(pairing: Pairing): Promise<Comparison> {
  const { dir, state, bytes, blocks, sides, seed } = pairing;
  const samples = new Map<string, Sample[]>(sides.map((side) => [side.id, []]));
  let seq = 0;
  for (let block = 0; block < blocks; block++) {
    for (const side of blockOrder(sides, seed, 0, block)) {
      const spec: NativeSampleSpec = {
        op: dir,
        pin: 'none',
        state,
        kind: '4k',
        bytes,
        patternSeed: patternSeed(seed, side.id, 0, block),
        numaNode: -1,
        condition: true,
        fill: true,
        flushBytes: 64 * MiB,
        dropPage: -1,
        stretch: side.stretch,
        witness: false,
      };
      const raw = await child.sample(spec);
      samples.get(side.id)?.push(
        toSample(raw, {
          op: dir,
          kind: '4k',
          bytes,
          cold: state === 'cold',
          registers: false,
          faultedByPinning: false,
          backend: 'host',
          block,
          seq: seq++,
          run: 0,
        }),
      );
    }
  }
  const [a, b] = sides.map((side) => cellOf(pairing, side, samples.get(side.id) ?? []));
  assert.ok(a && b);
  const [comparison] = compareFamily([{ a, b }], { seed, resamples: 10_000, alpha: 0.05 });
  assert.ok(comparison);
  return comparison;
}

const tally = (comparisons: readonly Comparison[]): string =>
  comparisons.map((c) => `${c.verdict} ${c.speedup.toFixed(3)}`).join(', ');

// Where faults are dear, 40 comparisons take ten minutes: then it is as many as there is time for, and the same share.
const isEnough = (count: number, until: number): boolean =>
  count >= COMPARISONS || (count >= LEAST && performance.now() > until);

test(`A/A: 4k against 4k, warm, up to ${COMPARISONS} times: at most 15 % false winners`, async (t) => {
  const all: Comparison[] = [];
  const until = performance.now() + PATIENCE_MS;
  for (let i = 0; !isEnough(i, until); i++) {
    all.push(
      await compare({
        dir: i % 2 === 0 ? 'HtoD' : 'DtoH',
        state: 'warm',
        bytes: 16 * MiB,
        blocks: 10,
        sides: [
          { id: `a${i}`, stretch: 0 },
          { id: `b${i}`, stretch: 0 },
        ],
        seed: i,
      }),
    );
  }
  const wrong = all.filter((c) => c.verdict === 'FASTER' || c.verdict === 'SLOWER');
  t.diagnostic(`${wrong.length} of ${all.length} wrong: ${tally(all)}`);
  assert.ok(wrong.length <= 0.15 * all.length, tally(wrong));
});

test(`+10 %: an injected delay is found in 85 % of up to ${COMPARISONS}`, async (t) => {
  const busy = await whyNotQuiet();
  if (busy !== null) return t.skip(busy);
  const all: Comparison[] = [];
  const until = performance.now() + PATIENCE_MS;
  for (let i = 0; !isEnough(i, until); i++) {
    all.push(
      await compare({
        dir: 'DtoH',
        state: 'cold',
        bytes: 64 * MiB,
        blocks: 30,
        sides: [
          { id: `a${i}`, stretch: 0 },
          { id: `b${i}`, stretch: 0.1 },
        ],
        seed: 1000 + i,
      }),
    );
  }
  const found = all.filter((c) => c.verdict === 'SLOWER');
  t.diagnostic(`${found.length} of ${all.length} found: ${tally(all)}`);
  assert.ok(found.length >= 0.85 * all.length, tally(all));
});
