import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareCells } from '#lib/measure/memcpy/comparisons';
import { breakEvens, fitModels } from '#lib/measure/memcpy/model';
import { createRandom } from '#lib/measure/memcpy/random';
import type { Cell, CellKind, PageState } from '#lib/measure/memcpy/types';
import { type CellParts, cell, faultsOf, GiB, MiB, noisyTimes, samples } from './synthetic.ts';

const PER_BYTE_NS = 1 / 20;
const PER_FAULT_NS: Record<string, number> = { '4k': 1600, '2m': 170e3, '1g': 34e6 };

/** A cell that obeys t = 20 us + bytes / (20 GB/s) + faults · cost, with 2 % noise. */
function lawful(kind: CellKind, state: PageState, bytes: number, parts: CellParts = {}): Cell {
  const faults = state === 'cold' ? faultsOf(kind, bytes) : 0;
  const ns = 20e3 + bytes * PER_BYTE_NS + faults * (PER_FAULT_NS[kind] ?? 0);
  const times = noisyTimes([ns], 10, { sigma: 0.02 }, createRandom(`${kind}${state}${bytes}`));
  return cell({ kind, state, bytes, ...parts }, samples(times[0] ?? [], { minflt_thread: faults }));
}

describe('fitModels', () => {
  const sizes = [MiB, 16 * MiB, 64 * MiB, GiB];
  const grid = (kind: CellKind, states: readonly PageState[], of = sizes) =>
    of.flatMap((bytes) => states.map((state) => lawful(kind, state, bytes)));

  it('finds the cost of a fault and the speed of a byte where both states were measured', () => {
    for (const kind of ['4k', '2m', '1g'] as const) {
      const [model] = fitModels(grid(kind, ['cold', 'warm']));
      assert.ok(model);
      assert.equal(model.why, null);
      const cost = PER_FAULT_NS[kind] ?? 0;
      assert.ok(
        Math.abs((model.ns_per_fault ?? 0) / cost - 1) < 0.1,
        `${kind} ${model.ns_per_fault}`,
      );
      assert.ok(Math.abs((model.gbps ?? 0) / 20 - 1) < 0.1, `${kind} ${model.gbps}`);
      assert.ok((model.r2 ?? 0) > 0.99);
    }
  });

  it('has no cost of a fault from warm cells, and says so', () => {
    const [model] = fitModels(grid('4k', ['warm']));
    assert.equal(model?.ns_per_fault, null);
    assert.ok(Math.abs((model?.gbps ?? 0) / 20 - 1) < 0.1);
    assert.match(model?.why ?? '', /needs cold cells/);
  });

  it('has nothing from cold cells alone, or from one size', () => {
    const [cold] = fitModels(grid('4k', ['cold']));
    assert.deepEqual([cold?.ns_per_fault, cold?.gbps, cold?.r2], [null, null, null]);
    assert.match(cold?.why ?? '', /need warm cells/);
    const [one] = fitModels(grid('4k', ['cold', 'warm'], [MiB]));
    assert.deepEqual([one?.ns_per_fault, one?.gbps], [null, null]);
    assert.match(one?.why ?? '', /one size/);
  });

  it('has nothing where sizes and faults cannot be told apart', () => {
    // Two points for three unknowns.
    const [model] = fitModels([lawful('4k', 'cold', MiB), lawful('4k', 'warm', GiB)]);
    assert.deepEqual([model?.ns_per_fault, model?.gbps], [null, null]);
    assert.match(model?.why ?? '', /do not tell bytes from faults/);
  });

  it('gives no negative speed, and leaves registrations out', () => {
    const shrinking = [lawful('4k', 'warm', MiB), lawful('4k', 'warm', 2 * MiB)];
    const [a, b] = shrinking as [Cell, Cell];
    const [model] = fitModels([
      { ...a, samples: b.samples },
      { ...b, samples: a.samples },
    ]);
    assert.deepEqual([model?.gbps, model?.ns_per_fault], [null, null]);
    assert.match(model?.why ?? '', /does not grow/);
    assert.deepEqual(fitModels([lawful('4k', 'cold', MiB, { metric: 'register' })]), []);
    assert.deepEqual(fitModels([lawful('4k', 'cold', MiB, { status: 'unavailable' })]), []);
  });

  it('keeps kinds, directions and pins apart', () => {
    const models = fitModels([
      ...grid('4k', ['warm']),
      ...grid('2m', ['warm']),
      lawful('4k', 'warm', MiB, { dir: 'HtoD' }),
    ]);
    assert.deepEqual(
      models.map(({ kind, dir }) => `${dir} ${kind}`),
      ['DtoH 4k', 'DtoH 2m', 'HtoD 4k'],
    );
  });
});

describe('breakEvens', () => {
  const lines = (ratios: readonly (readonly [number, number])[], sigma = 0.02, blocks = 10) =>
    ratios.flatMap(([bytes, ratio]) => {
      const times = noisyTimes([1e6, 1e6 / ratio], blocks, { sigma }, createRandom(`${bytes}`));
      const a = cell({ kind: '4k', bytes }, samples(times[0] ?? []));
      const b = cell({ kind: '1g', bytes }, samples(times[1] ?? []));
      const options = { resamples: 500, alpha: 0.05, seed: 1, adjustedAlpha: null };
      return compareCells(a, b, options) ?? [];
    });

  it('interpolates on a logarithmic scale between the sizes that bracket 1', () => {
    // Measured on the host proxy: 0.016 at 1 MiB, 0.18 at 16 MiB, 2.7 at 256 MiB, 5.4 at 1 GiB.
    const [result] = breakEvens(
      lines([
        [256 * MiB, 2.7],
        [MiB, 0.016],
        [GiB, 5.4],
        [16 * MiB, 0.18],
      ]),
    );
    const exact = 16 * MiB * 16 ** (-Math.log(0.18) / Math.log(2.7 / 0.18));
    assert.ok(result?.bytes && Math.abs(result.bytes / exact - 1) < 0.1, `${result?.bytes}`);
    assert.equal(result.why, null);
    assert.equal(result.kind, '1g');
  });

  it('takes the last crossing, and steps over sizes that are not clear', () => {
    const [result] = breakEvens(
      lines([
        [MiB, 0.5],
        [4 * MiB, 1.001],
        [16 * MiB, 0.98],
        [64 * MiB, 3],
      ]),
    );
    assert.ok(
      result?.bytes && result.bytes > 14 * MiB && result.bytes < 20 * MiB,
      `${result?.bytes}`,
    );
  });

  it('is null with the reason where the sizes do not bracket it', () => {
    const why = (
      ratios: readonly (readonly [number, number])[],
      sigma?: number,
      blocks?: number,
    ) => {
      const [result] = breakEvens(lines(ratios, sigma, blocks));
      assert.equal(result?.bytes, null);
      return result.why ?? '';
    };
    assert.match(why([[MiB, 3]]), /one size \(1 MiB\)/);
    assert.match(
      why([
        [MiB, 3],
        [GiB, 5],
      ]),
      /not slower at any size measured/,
    );
    assert.match(
      why([
        [MiB, 0.3],
        [GiB, 0.5],
      ]),
      /not faster at any size above 1 GiB/,
    );
    assert.match(
      why([
        [MiB, 5],
        [GiB, 0.5],
      ]),
      /not faster at any size above 1 GiB/,
    );
    assert.match(
      why(
        [
          [MiB, 1],
          [GiB, 1],
        ],
        0.1,
      ),
      /no clear difference/,
    );
    assert.match(
      why(
        [
          [MiB, 0.3],
          [GiB, 5],
        ],
        0.02,
        2,
      ),
      /too few blocks/,
    );
  });
});
