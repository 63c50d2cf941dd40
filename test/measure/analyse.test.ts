import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AnalyseInput, analyse, movedBytes, worstInterval } from '#lib/measure/memcpy/analyse';
import { createRandom } from '#lib/measure/memcpy/random';
import type {
  Answer,
  Calibration,
  Cell,
  CellKind,
  Direction,
  PageState,
} from '#lib/measure/memcpy/types';
import { calibration, cell, faultsOf, GiB, MiB, noisyTimes, samples } from './synthetic.ts';

const KINDS = ['4k', 'thp', '2m', '1g'] as const;
const SIZES = [64 * 1024, MiB, 16 * MiB, 64 * MiB];

/** ns per byte, warm: the layout of the facts page. */
const WARM: Record<string, number> = {
  '4k': 0.05,
  '4k-split': 0.04,
  thp: 0.038,
  '2m': 0.038,
  '1g': 0.038,
};
const FAULT: Record<string, number> = { '4k': 1600, thp: 170e3, '2m': 170e3, '1g': 34e6 };

interface Draft {
  readonly dir: Direction;
  readonly state: PageState;
  readonly kind: CellKind;
  readonly bytes: number;
}

/** The default grid of the host backend with the costs of the facts page and 4 % noise. */
function hostGrid(blocks: number, edit: (draft: Draft, ns: number) => number = (_, ns) => ns) {
  const drafts: Draft[] = [];
  const each = (dir: Direction, state: PageState, bytes: number, kinds: readonly CellKind[]) => {
    for (const kind of kinds) drafts.push({ dir, state, kind, bytes });
  };
  for (const bytes of SIZES) {
    each('DtoH', 'cold', bytes, KINDS);
    each('DtoH', 'warm', bytes, [...KINDS, '4k-split']);
    each('HtoD', 'warm', bytes, [...KINDS, '4k-split']);
  }
  each('DtoH', 'cold', GiB, KINDS);
  const costs = [...SIZES, GiB].flatMap((bytes) => KINDS.map((kind) => ({ kind, bytes })));
  const touch = (kind: CellKind, bytes: number) => faultsOf(kind, bytes) * (FAULT[kind] ?? 0);
  const means = [
    ...drafts.map((draft) => {
      const cold = draft.state === 'cold' ? touch(draft.kind, draft.bytes) : 0;
      return edit(draft, 3000 + draft.bytes * (WARM[draft.kind] ?? 0) + cold);
    }),
    ...costs.map(({ kind, bytes }) => touch(kind, bytes)),
  ];
  const times = noisyTimes(means, blocks, { sigma: 0.04, walk: 0.01 }, createRandom('grid'));
  const cells = drafts.map((draft, i): Cell => {
    const faults = draft.state === 'cold' ? faultsOf(draft.kind, draft.bytes) : 0;
    return cell(draft, samples(times[i] ?? [], { minflt_thread: faults, faults_perf: faults }));
  });
  cells.push(
    cell(
      { dir: 'vectorAdd', status: 'unavailable', reason: 'vectorAdd needs the cuda backend' },
      [],
    ),
  );
  const calibrations = costs.map(({ kind, bytes }, i): Calibration => {
    const of = samples(times[drafts.length + i] ?? [], { minflt_thread: faultsOf(kind, bytes) });
    return calibration('touch', kind, bytes, of);
  });
  const input: AnalyseInput = { cells, calibrations, seed: 42, backend: 'host', runs: 1, blocks };
  return input;
}

const answerOf = (answers: readonly Answer[], dir: Direction): Answer => {
  const answer = answers.find((candidate) => candidate.dir === dir);
  assert.ok(answer);
  return answer;
};

describe('analyse', () => {
  const input = hostGrid(12);
  const before = process.cpuUsage();
  const result = analyse(input);
  // Processor time: what other programs take meanwhile is not in it.
  const used = process.cpuUsage(before);
  const seconds = (used.user + used.system) / 1e6;

  it('takes the default grid from samples to answers in seconds', () => {
    // Below 0.5 s on an idle core; the bound leaves room for slower ones.
    assert.ok(seconds < 4, `${seconds} s`);
    assert.equal(result.family.length, 16);
    assert.deepEqual(
      result.comparisons.filter((line) => line.in_family).map((line) => `${line.a} -> ${line.b}`),
      result.family,
    );
  });

  it('finds what was put in: faults when cold, layout when warm, zeroing when small', () => {
    const line = (b: string) => result.comparisons.find((comparison) => comparison.b === b);
    const big = line('dtoh/none/cold/2m/1073741824');
    assert.equal(big?.verdict, 'FASTER');
    assert.equal(big?.cause, 'faults');
    assert.ok((big?.speedup ?? 0) > 3.4 && (big?.speedup ?? 0) < 4.2, `${big?.speedup}`);
    const warm = line('htod/none/warm/thp/67108864');
    assert.equal(warm?.verdict, 'FASTER');
    assert.equal(warm?.cause, 'physical-layout');
    assert.equal(warm?.this_moment_only, true);
    const small = line('dtoh/none/cold/1g/65536');
    assert.equal(small?.in_family, false);
    assert.equal(small?.verdict, 'none');
    assert.ok((small?.speedup ?? 1) < 0.01);
  });

  it('fills in statistics, phases and labels, and changes no sample', () => {
    for (const [i, of] of result.cells.entries()) {
      assert.equal(of.samples, input.cells[i]?.samples);
      assert.equal(of.stats === null, of.status !== 'ok');
    }
    const cold = result.cells.find((of) => of.id === 'dtoh/none/cold/4k/1073741824');
    assert.deepEqual(cold?.labels, ['cold']);
    assert.ok(result.calibrations.every((of) => of.stats !== null));
    assert.deepEqual(result.warnings, []);
  });

  it('fits the costs that were put in, and the size from which a 1 GB page pays', () => {
    const model = result.model.find((of) => of.kind === '4k' && of.dir === 'DtoH');
    assert.ok(Math.abs((model?.ns_per_fault ?? 0) / 1600 - 1) < 0.15, `${model?.ns_per_fault}`);
    const even = result.break_even.find((of) => of.kind === '1g' && of.state === 'cold');
    assert.ok(even?.bytes && even.bytes > 64 * MiB && even.bytes < 160 * MiB, `${even?.bytes}`);
  });

  it('is pure: same samples and seed, same result; nothing to do is no error', () => {
    assert.deepEqual(analyse(input), result);
    const empty = analyse({ ...input, cells: [], calibrations: [] });
    assert.deepEqual(empty.family, []);
    assert.deepEqual(empty.answers, []);
    assert.ok(JSON.stringify(result).length > 0);
    assert.doesNotMatch(JSON.stringify(result.comparisons), /:null,"ci_adjusted":\[null/);
  });

  it('answers in one sentence per direction, with sizes and with the code to get it', () => {
    const dtoh = answerOf(result.answers, 'DtoH');
    assert.match(dtoh.text, /^host proxy, no GPU took part: larger pages help: /);
    assert.match(
      dtoh.text,
      /copying into memory never written is faster with thp \([\d.]+x at 1 GiB/,
    );
    assert.match(dtoh.text, /1g \(3?[\d.]+x at 1 GiB\)/);
    assert.match(dtoh.text, /copying into written memory is faster with .*, at this moment only/);
    assert.match(dtoh.text, /writing the buffer once beforehand takes this cost out of the copy/);
    assert.equal(dtoh.text.match(/\.(?!\d)/g)?.length, 1, 'one sentence');
    assert.match(dtoh.how ?? '', /mitigate\.allocate\(\{ bytes, pages: 'thp' \}\)/);
    assert.match(dtoh.how ?? '', /MADV_HUGEPAGE/);
    assert.match(dtoh.how ?? '', /write the buffer once before the first copy/);
    const htod = answerOf(result.answers, 'HtoD');
    assert.doesNotMatch(htod.text, /writing the buffer once/);
    const vector = answerOf(result.answers, 'vectorAdd');
    assert.match(vector.text, /not measured: vectorAdd needs the cuda backend/);
    assert.equal(vector.how, null);
  });

  it('says "nothing to gain here" only where every line is SAME or SLOWER', () => {
    const flat = hostGrid(40, (draft) => 3000 + draft.bytes * 0.05);
    const quiet = (of: readonly Cell[]) =>
      of.map((c) => ({
        ...c,
        samples: c.samples.map((s) => ({ ...s, t_host_ns: s.t_host_ns ** 0.2 * 1e5 })),
      }));
    const same = analyse({ ...flat, cells: quiet(flat.cells), resamples: 1000 });
    const htod = answerOf(same.answers, 'HtoD');
    assert.match(htod.text, /nothing to gain here: copying from written memory is the same with/);
    assert.equal(htod.how, null);
    const noisy = analyse({
      ...hostGrid(10, (draft) => 3000 + draft.bytes * 0.05),
      resamples: 1000,
    });
    assert.match(answerOf(noisy.answers, 'DtoH').text, /no gain is proven: .*undecided for/);
  });

  it('warns of short runs, invalid samples and bimodal cells, and answers with nothing', () => {
    const short = analyse({ ...hostGrid(5), resamples: 500 });
    assert.ok(short.comparisons.every((line) => line.verdict === 'none'));
    assert.match(short.warnings[0] ?? '', /5 blocks were finished: ratios, but no verdicts/);
    assert.match(answerOf(short.answers, 'DtoH').text, /no gain is proven/);
    const spoiled = input.cells.map((c, i) =>
      i > 0
        ? c
        : {
            ...c,
            samples: c.samples.map((s, n) =>
              n === 0
                ? { ...s, valid: false, why_invalid: 'compaction' }
                : n === 1
                  ? { ...s, t_host_ns: 1e3 * s.t_host_ns }
                  : s,
            ),
          },
    );
    const { warnings } = analyse({ ...input, cells: spoiled, resamples: 500 });
    assert.match(warnings.join('\n'), /1 sample is invalid and left out: compaction/);
    assert.match(
      warnings.join('\n'),
      /has no single typical time \(bimodal, 1 above 3x the median\)/,
    );
  });

  it('recommends what needs no pool, and names the pool where only that helps', () => {
    const only2m = hostGrid(12, (draft, ns) =>
      draft.kind === '2m' ? ns : 3000 + draft.bytes * 0.5,
    );
    const { answers } = analyse({ ...only2m, resamples: 1000 });
    assert.match(answerOf(answers, 'HtoD').how ?? '', /pages: '2m' \}\), with pages .* pool/);
  });
});

describe('worstInterval', () => {
  it('looks at the verdict table, and is null where there is none', () => {
    const { cells } = hostGrid(10);
    const worst = worstInterval(cells, 1);
    assert.ok(worst !== null && worst > 0.01 && worst < 0.2, `${worst}`);
    assert.equal(worstInterval([], 1), null);
    const two = cells.map((c) => ({ ...c, samples: c.samples.slice(0, 2) }));
    assert.equal(worstInterval(two, 1), Number.POSITIVE_INFINITY);
  });
});

describe('movedBytes', () => {
  it('counts the three vectors of vectorAdd', () => {
    assert.equal(movedBytes({ dir: 'vectorAdd', bytes: MiB }), 3 * MiB);
    assert.equal(movedBytes({ dir: 'DtoH', bytes: MiB }), MiB);
  });
});
