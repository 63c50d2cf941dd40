import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Cell, MemcpyDocument } from '#lib/measure/memcpy/types';
import { GiB, MiB } from '#lib/units';
import { type CellParts, cell, type SampleParts, samples } from '../measure/synthetic.ts';
import { syntheticDocument } from '../measure/synthetic-document.ts';
import { judgePredictions, medianEstimate, type Outcome } from './predictions.ts';

/** Ten samples of a cell at this speed, 1 % apart at most. */
function at(gbps: number, parts: CellParts, more: SampleParts = {}, n = 10): Cell {
  const bytes = parts.bytes ?? 64 * MiB;
  const times = Array.from({ length: n }, (_, i) => (bytes / gbps) * (1 + (i - n / 2) * 0.0005));
  return cell({ ...parts, bytes }, samples(times, more));
}

function document(
  cells: readonly Cell[],
  device: Partial<MemcpyDocument['device']> = {},
): MemcpyDocument {
  const base = syntheticDocument({ backend: 'cuda' });
  assert.ok(base.device);
  return {
    ...base,
    cells,
    device: {
      ...base.device,
      ceiling_gbps: 63.02,
      pcie_gen: 5,
      pcie_width: 16,
      host_page_tables: false,
      ...device,
    },
  };
}

function outcome(
  id: string,
  cells: readonly Cell[],
  device: Partial<MemcpyDocument['device']> = {},
): Outcome {
  const found = judgePredictions(document(cells, device)).find(
    (prediction) => prediction.id === id,
  );
  assert.ok(found, id);
  assert.ok(found.why.length > 0);
  return found.outcome;
}

const pages = (bytes: number): number => bytes / 4096;

describe('medianEstimate', () => {
  it('brackets the median by order statistics and refuses fewer than five values', () => {
    assert.equal(medianEstimate([1, 2, 3, 4]), null);
    assert.deepEqual(medianEstimate([5, 1, 4, 2, 3]), { value: 3, low: 1, high: 5 });
    assert.deepEqual(medianEstimate([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), {
      value: 5.5,
      low: 2,
      high: 9,
    });
  });
});

describe('judgePredictions', () => {
  it('leaves everything open where nothing was measured', () => {
    const all = judgePredictions(document([]));
    assert.equal(all.length, 9);
    for (const prediction of all) assert.equal(prediction.outcome, 'undecided', prediction.id);
    assert.equal(new Set(all.map((prediction) => prediction.id)).size, 9);
  });

  it('pinned: both directions, equal and inside the share of the link', () => {
    const rates = (registered: number, driver: number): Cell[] =>
      (['HtoD', 'DtoH'] as const).flatMap((dir) => [
        at(registered, { dir, pin: 'register', state: 'warm', kind: '4k' }),
        at(registered, { dir, pin: 'register', state: 'warm', kind: '2m' }),
        at(driver, { dir, pin: 'hostalloc', state: 'warm', kind: 'driver' }),
      ]);
    assert.equal(outcome('pinned', rates(55, 55.5)), 'confirmed');
    assert.equal(outcome('pinned', rates(50, 55)), 'refuted');
    assert.equal(outcome('pinned', rates(40, 40)), 'refuted');
    assert.equal(outcome('pinned', rates(55, 55).slice(0, 3)), 'undecided');
    assert.equal(outcome('pinned', rates(55, 55), { ceiling_gbps: null }), 'undecided');
  });

  it('cold-1gib: the published ranges, PCIe 4 and 5 only', () => {
    const cells = (base: number, two: number, one: number): Cell[] => [
      at(base, { kind: '4k', bytes: GiB }),
      at(two, { kind: '2m', bytes: GiB }),
      at(one, { kind: '1g', bytes: GiB }),
    ];
    assert.equal(outcome('cold-1gib', cells(2, 8, 8.2)), 'confirmed');
    assert.equal(outcome('cold-1gib', cells(2, 14, 14)), 'refuted');
    assert.equal(outcome('cold-1gib', cells(9, 36, 36)), 'refuted');
    assert.equal(outcome('cold-1gib', cells(2, 8, 8).slice(0, 2)), 'undecided');
    assert.equal(outcome('cold-1gib', cells(2, 8, 8), { pcie_gen: 3 }), 'undecided');
  });

  it('cold-16mib-1g: slower on the 1 GB page', () => {
    const cells = (one: number): Cell[] => [
      at(2, { kind: '4k', bytes: 16 * MiB }),
      at(one, { kind: '1g', bytes: 16 * MiB }),
    ];
    assert.equal(outcome('cold-16mib-1g', cells(0.5)), 'confirmed');
    assert.equal(outcome('cold-16mib-1g', cells(4)), 'refuted');
    assert.equal(outcome('cold-16mib-1g', cells(2)), 'undecided');
  });

  it('warm-2m-4k: which range holds is decided by the pins', () => {
    const cells = (gain: number, pins: number | null): Cell[] => [
      at(10, { dir: 'HtoD', state: 'warm', kind: '4k' }, { pins_approx: pins }),
      at(10 * gain, { dir: 'HtoD', state: 'warm', kind: '2m' }, { pins_approx: pins }),
    ];
    const every = pages(64 * MiB);
    assert.equal(outcome('warm-2m-4k', cells(1.2, 0)), 'confirmed');
    assert.equal(outcome('warm-2m-4k', cells(1.7, 0)), 'refuted');
    assert.equal(outcome('warm-2m-4k', cells(1.7, every - 16)), 'confirmed');
    assert.equal(outcome('warm-2m-4k', cells(1.2, every)), 'refuted');
    assert.equal(outcome('warm-2m-4k', cells(1.2, every / 2)), 'undecided');
    assert.equal(outcome('warm-2m-4k', cells(1.2, null)), 'undecided');
  });

  it('warm-1g-2m: the same', () => {
    const cells = (one: number): Cell[] => [
      at(20, { dir: 'HtoD', state: 'warm', kind: '2m' }),
      at(one, { dir: 'HtoD', state: 'warm', kind: '1g' }),
    ];
    assert.equal(outcome('warm-1g-2m', cells(20.1)), 'confirmed');
    assert.equal(outcome('warm-1g-2m', cells(25)), 'refuted');
  });

  it('register: the phase, not the copy', () => {
    const cells = (large: number): Cell[] => [
      at(
        50,
        { dir: 'HtoD', pin: 'register', state: 'warm', kind: '4k' },
        { phases_ns: { register: 9e6 } },
      ),
      at(
        50,
        { dir: 'HtoD', pin: 'register', state: 'warm', kind: '2m' },
        { phases_ns: { register: large } },
      ),
    ];
    assert.equal(outcome('register', cells(3e6)), 'confirmed');
    assert.equal(outcome('register', cells(1e6)), 'refuted');
  });

  it('ats: only where the GPU uses the host page tables', () => {
    const cells = (warm: number, cold: number): Cell[] => [
      at(90, { state: 'warm', kind: '4k' }),
      at(90 * warm, { state: 'warm', kind: '2m' }),
      at(2, { state: 'cold', kind: '4k' }),
      at(2 * cold, { state: 'cold', kind: '2m' }),
    ];
    assert.equal(outcome('ats', cells(1, 4)), 'undecided');
    assert.equal(outcome('ats', cells(1, 4), { host_page_tables: true }), 'confirmed');
    assert.equal(outcome('ats', cells(1.2, 4), { host_page_tables: true }), 'refuted');
    assert.equal(outcome('ats', cells(1, 1), { host_page_tables: true }), 'refuted');
  });

  it('split: one prediction without pins, one with a pin per page at the rate of the link', () => {
    const cells = (gain: number, pins: number, link = 55): Cell[] =>
      (['HtoD', 'DtoH'] as const).flatMap((dir) => [
        at(10, { dir, state: 'warm', kind: '4k-split' }, { pins_approx: pins }),
        at(10 * gain, { dir, state: 'warm', kind: '2m' }, { pins_approx: pins }),
        at(link, { dir, pin: 'hostalloc', state: 'warm', kind: 'driver' }),
      ]);
    const every = pages(64 * MiB);
    assert.equal(outcome('split-no-pins', cells(1.05, 0)), 'confirmed');
    assert.equal(outcome('split-no-pins', cells(1.3, 0)), 'refuted');
    assert.equal(outcome('split-no-pins', cells(1.05, every)), 'undecided');
    assert.equal(outcome('split-pins', cells(1.6, every)), 'confirmed');
    assert.equal(outcome('split-pins', cells(1.28, every, 25)), 'confirmed');
    assert.equal(outcome('split-pins', cells(1.05, every)), 'refuted');
    assert.equal(outcome('split-pins', cells(1.6, 0)), 'undecided');
  });

  it('keeps noise open: an interval across the border decides nothing', () => {
    const noisy = (gbps: number, kind: '2m' | '1g'): Cell =>
      cell(
        { dir: 'HtoD', state: 'warm', kind },
        samples([0.8, 0.9, 1, 1.1, 1.2, 0.85, 1.15, 0.95].map((f) => (f * 64 * MiB) / gbps)),
      );
    assert.equal(outcome('warm-1g-2m', [noisy(20, '2m'), noisy(20, '1g')]), 'undecided');
  });

  it('does not count invalid samples', () => {
    const cells = [
      at(20, { dir: 'HtoD', state: 'warm', kind: '2m' }, { valid: false }),
      at(20, { dir: 'HtoD', state: 'warm', kind: '1g' }),
    ];
    assert.equal(outcome('warm-1g-2m', cells), 'undecided');
  });
});
