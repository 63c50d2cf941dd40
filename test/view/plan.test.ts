import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PlanView, renderPlan } from '#lib/view/plan';

const MiB = 1024 ** 2;
const cell = {
  dir: 'DtoH',
  pin: 'none',
  state: 'cold',
  legal: true,
  status: 'planned',
  reason: null,
  fix: null,
} as const;
const plan: PlanView = {
  backend: 'host',
  cells: [
    ...(['4k', 'thp', '2m'] as const).flatMap((kind) =>
      [MiB, 64 * MiB].map((bytes) => ({ ...cell, id: `${kind}/${bytes}`, kind, bytes })),
    ),
    ...[MiB, 64 * MiB].map((bytes) => ({
      ...cell,
      id: `1g/${bytes}`,
      kind: '1g' as const,
      bytes,
      status: 'unavailable' as const,
      reason: 'the 1 GiB pool is empty',
      fix: 'warpgauge bench memcpy --reserve',
    })),
    { ...cell, id: 'x', kind: '4k', dir: 'HtoD', bytes: MiB, legal: false },
  ],
  illegal_cells: 1,
  illegal_reasons: ['an unwritten source reads the zero page'],
  calibrations: 3,
  memory_bytes: 200 * MiB,
  pools: [{ page_bytes: 2 * MiB, pages: 64, action: 'grow by 64 pages, give back at the end' }],
  blocks_min: 10,
  budget_ns: 60e9,
  estimate_ns: 4.2e9,
  estimate_total_ns: 58e9,
};

test('the plan shows cells, memory, pools and the estimate', () => {
  const output = renderPlan(plan, { colour: false, width: 100 });
  assert.match(output, /^Plan of bench memcpy, backend host \(host proxy\)$/m);
  assert.match(output, /DtoH +none +cold +4k, thp, 2m +1 MiB, 64 MiB +planned/);
  assert.match(
    output,
    /DtoH +none +cold +1g +1 MiB, 64 MiB +unavailable\n +the 1 GiB pool is empty\n +fix: warpgauge bench memcpy --reserve/,
  );
  assert.match(output, /6 cells planned, 2 unavailable, 3 calibrations per block/);
  assert.match(output, /1 combination has no meaning and is left out: an unwritten source/);
  assert.match(output, /200 MiB at most at one time/);
  assert.match(output, /64 pages of 2 MiB: grow by 64 pages/);
  assert.match(output, /at least 10, more until the intervals are narrow or 60\.0 s|1\.0 min/);
  assert.match(output, /4\.20 s per block, 58\.0 s in all/);
  assert.ok(output.split('\n').every((line) => line.length <= 100));
});

test('a fixed number of blocks is said to be exact', () => {
  assert.match(
    renderPlan({ ...plan, budget_ns: null }, { colour: false, width: 100 }),
    /Blocks +exactly 10/,
  );
});

test('a plan without cells renders', () => {
  assert.match(
    renderPlan({ ...plan, cells: [], pools: [] }, { colour: false, width: 100 }),
    /0 cells planned/,
  );
});
