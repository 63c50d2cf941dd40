import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WarpgaugeError } from 'warpgauge';
import {
  blockOrder,
  designCalibrations,
  designCells,
  illegalReason,
  illegalSummary,
  mappedBytes,
  patternSeed,
  poolNeeds,
  refuseTooLarge,
} from '#lib/measure/memcpy/design';
import { resolveOptions } from '#lib/measure/memcpy/options';
import { GiB, KiB, MiB } from '#lib/units';

const runnable = (options = {}, backend: 'host' | 'cuda' = 'host') =>
  designCells(resolveOptions(options), backend).filter((cell) => cell.reason === null);

const needsOf = (backend: 'host' | 'cuda') => {
  const cells = designCells(resolveOptions({}), backend);
  return poolNeeds({ cells, calibrations: designCalibrations(cells, backend) });
};

test('the default grid has the four sizes in all legal cells and 1 GiB for cold DtoH only', () => {
  const cells = runnable();
  const sizes = (dir: string, state: string, pin: string) => [
    ...new Set(
      cells.filter((c) => c.dir === dir && c.state === state && c.pin === pin).map((c) => c.bytes),
    ),
  ];
  assert.deepEqual(sizes('DtoH', 'warm', 'none'), [64 * KiB, MiB, 16 * MiB, 64 * MiB]);
  assert.deepEqual(sizes('DtoH', 'cold', 'none'), [64 * KiB, MiB, 16 * MiB, 64 * MiB, GiB]);
  assert.deepEqual(sizes('HtoD', 'warm', 'none'), [64 * KiB, MiB, 16 * MiB, 64 * MiB]);
  assert.deepEqual(sizes('HtoD', 'cold', 'none'), []);
  for (const dir of ['HtoD', 'DtoH'] as const) {
    for (const state of ['cold', 'warm'])
      assert.deepEqual(sizes(dir, state, 'register'), [64 * MiB]);
  }
});

test('4k-split stands in every warm cell and in no cold one', () => {
  const cells = runnable();
  assert.ok(cells.some((cell) => cell.kind === '4k-split'));
  assert.ok(cells.every((cell) => cell.kind !== '4k-split' || cell.state === 'warm'));
});

test('cold HtoD without registration is a row with the zero page as its reason', () => {
  const cells = designCells(resolveOptions({ sizes: [64 * MiB], pins: ['none'] }), 'host');
  const rows = cells.filter((cell) => cell.dir === 'HtoD' && cell.state === 'cold');
  assert.equal(rows.length, 4);
  for (const row of rows) {
    assert.equal(row.legal, false);
    assert.match(row.reason ?? '', /zero page/);
  }
  assert.equal(illegalSummary(cells).count, 4);
});

test('vectorAdd and hostalloc are one unavailable row each on the host proxy', () => {
  const cells = designCells(resolveOptions({}), 'host');
  for (const match of [
    (d: string) => d === 'vectorAdd',
    (_: string, p: string) => p === 'hostalloc',
  ]) {
    const rows = cells.filter((cell) => match(cell.dir, cell.pin));
    assert.equal(rows.length, 1);
    assert.equal(rows[0]?.code, 'ERR_NO_DEVICE');
    assert.equal(rows[0]?.legal, true);
  }
});

test('on cuda they are cells: hostalloc has one kind and is warm, vectorAdd all kinds and both states', () => {
  const cells = runnable({}, 'cuda');
  const driver = cells.filter((cell) => cell.pin === 'hostalloc');
  assert.deepEqual(
    driver.map((cell) => [cell.dir, cell.kind, cell.state]),
    [
      ['HtoD', 'driver', 'warm'],
      ['DtoH', 'driver', 'warm'],
    ],
  );
  const vectors = cells.filter((cell) => cell.dir === 'vectorAdd' && cell.pin === 'none');
  assert.deepEqual(
    vectors.map((cell) => `${cell.state}/${cell.kind}`),
    [
      'cold/4k',
      'cold/thp',
      'cold/2m',
      'cold/1g',
      'warm/4k',
      'warm/thp',
      'warm/2m',
      'warm/1g',
      'warm/4k-split',
    ],
  );
  assert.equal(illegalReason('vectorAdd', 'hostalloc', 'warm', 'driver') === null, false);
});

test('4k is measured whatever pages are asked for: it is the base of every ratio', () => {
  assert.ok(runnable({ pages: ['thp'] }).some((cell) => cell.kind === '4k'));
});

test('the order of a block comes from the seed alone (R6)', () => {
  const ids = runnable().map((cell) => cell.id);
  assert.deepEqual(blockOrder(ids, 7, 0, 3), blockOrder(ids, 7, 0, 3));
  assert.notDeepEqual(blockOrder(ids, 7, 0, 3), blockOrder(ids, 7, 0, 4));
  assert.notDeepEqual(blockOrder(ids, 7, 0, 3), blockOrder(ids, 8, 0, 3));
  assert.deepEqual([...blockOrder(ids, 7, 0, 3)].sort(), [...ids].sort());
});

test('the data seed is unique to cell and sample, and exact in a double', () => {
  const seeds = new Set<number>();
  for (const cell of runnable()) {
    for (let block = 0; block < 20; block++) {
      const seed = patternSeed(1, cell.id, 0, block);
      assert.ok(Number.isSafeInteger(seed));
      seeds.add(seed);
    }
  }
  assert.equal(seeds.size, runnable().length * 20);
});

test('pool needs are those of the largest sample, calibrations included', () => {
  const needs = needsOf('host');
  assert.equal(needs.get(2 * MiB), 512);
  assert.equal(needs.get(GiB), 1);
  const cuda = needsOf('cuda');
  assert.equal(cuda.get(GiB), 3, 'vectorAdd holds three vectors');
});

test('a cell above 60 % of the available memory is refused, the others stay', () => {
  const cells = designCells(resolveOptions({ sizes: [MiB, GiB], pages: ['4k', 'thp'] }), 'host');
  refuseTooLarge(cells, 1.5 * GiB);
  for (const cell of cells.filter((c) => c.legal && c.code !== 'ERR_NO_DEVICE')) {
    assert.equal(cell.reason !== null, cell.bytes === GiB, cell.id);
  }
  assert.equal(cells.find((cell) => cell.bytes === GiB && cell.legal)?.code, 'ERR_TOO_LARGE');
  const calibrations = designCalibrations(cells, 'host');
  assert.ok(calibrations.length > 0);
  assert.ok(
    calibrations.every((calibration) => calibration.bytes === MiB),
    'nor is it calibrated',
  );
});

test('mapped bytes are whole pages of the kind', () => {
  assert.equal(mappedBytes({ dir: 'DtoH', kind: '1g', bytes: 64 * KiB }), GiB);
  assert.equal(mappedBytes({ dir: 'DtoH', kind: 'thp', bytes: 64 * KiB }), 2 * MiB);
  assert.equal(mappedBytes({ dir: 'vectorAdd', kind: '4k', bytes: 64 * KiB }), 192 * KiB);
});

test('bad options are refused with what was expected', () => {
  const bad: readonly [object, RegExp][] = [
    [{ pages: ['8k'] }, /one of 4k, thp, 2m, 1g for pages.*"8k"/],
    [{ pages: [] }, /list/],
    [{ pages: ['4k', '4k'] }, /each value once/],
    [{ sizes: [0] }, /size from 4 KiB/],
    [{ sizes: [17 * 1024 * GiB] }, /size from 4 KiB to 8 TiB/],
    [{ sizes: [5000] }, /whole 4 KiB pages/],
    [{ sizes: [MiB, MiB] }, /each size once/],
    [{ blocks: -1 }, /number of blocks/],
    [{ blocks: 1.5 }, /number of blocks/],
    [{ blocks: 10, budgetMs: 1000 }, /one of the two/],
    [{ budgetMs: 1 }, /time from 1 s/],
    [{ runs: 0 }, /number of runs/],
    [{ seed: -1 }, /integer/],
    [{ backend: 'opencl' }, /one of auto, cuda, host/],
    [{ cache: 'warm' }, /one of flushed, hot/],
    [{ cpu: -2 }, /processor/],
  ];
  for (const [options, message] of bad) {
    assert.throws(
      () => resolveOptions(options),
      (error) =>
        error instanceof WarpgaugeError &&
        error.code === 'ERR_INVALID_ARGUMENT' &&
        message.test(error.message),
      JSON.stringify(options),
    );
  }
});
