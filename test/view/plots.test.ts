import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { MemcpyDocument } from '#lib/measure/memcpy/types';
import { renderHtml } from '#lib/view/html';
import { memcpyPlots } from '#lib/view/plots/memcpy';
import { KIND_MARK } from '#lib/view/plots/palette';
import { emptyCell, syntheticDocument } from '../measure/synthetic-document.ts';

const full = syntheticDocument();
const MiB = 1024 ** 2;

/** Throws unless every element is closed in order and every attribute is quoted. */
function checkWellFormed(xml: string): void {
  const open: string[] = [];
  let at = 0;
  const tag = /<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/y;
  for (let start = xml.indexOf('<'); start >= 0; start = xml.indexOf('<', at)) {
    assert.doesNotMatch(xml.slice(at, start), />|&(?!(amp|lt|gt|quot|#\d+);)/);
    tag.lastIndex = start;
    const match = tag.exec(xml);
    assert.ok(match, `not a tag: ${xml.slice(start, start + 60)}`);
    const [, closing, name, , selfClosing] = match;
    if (closing === '/') assert.equal(open.pop(), name);
    else if (selfClosing !== '/') open.push(name ?? '');
    at = tag.lastIndex;
  }
  assert.deepEqual(open, []);
}

const recorded = JSON.parse(
  readFileSync(
    new URL('../../../../test/fixtures/memcpy/host-kvm-3-blocks.json', import.meta.url),
    'utf8',
  ),
) as MemcpyDocument;

/** Documents that lack something a plot could stumble over. */
const poor: Record<string, MemcpyDocument> = {
  'no cells': { ...full, cells: [], comparisons: [], family: [], model: [], calibrations: [] },
  'unavailable cells only': {
    ...full,
    comparisons: [],
    family: [],
    model: [],
    cells: [
      emptyCell(
        { dir: 'DtoH', pin: 'none', state: 'cold', kind: '2m', bytes: MiB },
        { reason: 'pool empty' },
      ),
    ],
  },
  'no statistics': {
    ...full,
    comparisons: [],
    family: [],
    model: [],
    cells: full.cells.map((cell) => ({
      ...cell,
      stats: null,
      phases_ns: null,
      samples: cell.samples.map((sample) => ({ ...sample, valid: false, why_invalid: 'spoiled' })),
    })),
  },
  'no samples': {
    ...full,
    cells: full.cells.map((cell) => ({ ...cell, samples: [], stats: null, phases_ns: null })),
  },
  'no intervals': {
    ...full,
    cells: full.cells.map((cell) => ({
      ...cell,
      stats: cell.stats && { ...cell.stats, ci95_gbps: null },
    })),
    comparisons: full.comparisons.map((one) => ({ ...one, ci95: null, ci_adjusted: null })),
  },
  'one kind, one size, one block': syntheticDocument({ kinds: ['thp'], sizes: [MiB], blocks: 1 }),
  'without 4k': syntheticDocument({ kinds: ['thp', '2m'], blocks: 3 }),
  'time zero': {
    ...full,
    cells: full.cells.map((cell) => ({
      ...cell,
      samples: cell.samples.map((sample) => ({ ...sample, t_host_ns: 0 })),
    })),
  },
};

for (const [what, document] of Object.entries({
  ...poor,
  'host result': full,
  'cuda result': syntheticDocument({ backend: 'cuda' }),
  'recorded samples': recorded,
})) {
  test(`plots and page of a document with ${what} are well-formed and free of broken numbers`, () => {
    for (const plot of memcpyPlots(document)) {
      checkWellFormed(plot.svg);
      assert.doesNotMatch(plot.svg, /NaN|Infinity|undefined|null/, plot.name);
      assert.match(
        plot.svg,
        /<title id="[a-z]+-title">[^<]+<\/title><desc id="[a-z]+-description">[^<]+<\/desc>/,
      );
    }
    const page = renderHtml(document);
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
    assert.equal(new Set(ids).size, ids.length, 'ids are unique');
  });
}

test('a plot without data says why', () => {
  const reasons = memcpyPlots(poor['no cells'] as MemcpyDocument).map(
    (plot) => /No data: ([^<]+)\./.exec(plot.svg)?.[1],
  );
  assert.deepEqual(reasons, [
    'no cell was measured',
    'no larger page kind was measured beside 4k',
    'no cell has phase times',
    'no valid sample was taken',
    'no sample was taken',
  ]);
});

test('every plot carries the label of its origin', () => {
  for (const plot of memcpyPlots(full)) assert.match(plot.title, / \(host proxy\)$/);
  for (const plot of memcpyPlots(syntheticDocument({ backend: 'cuda' })))
    assert.match(plot.title, / \(Simulated\)$/);
});

test('throughput draws the link ceiling of a device, and for the proxy the best warm copy under its own name', () => {
  const [host] = memcpyPlots(full);
  const [cuda] = memcpyPlots(syntheticDocument({ backend: 'cuda' }));
  assert.match(host?.svg ?? '', /CPU copy, best warm cell: 24\.\d GB\/s/);
  assert.doesNotMatch(host?.svg ?? '', /link, raw/);
  assert.match(cuda?.svg ?? '', /link, raw: 63\.0 GB\/s/);
});

test('each kind keeps its colour in all plots that show kinds', () => {
  for (const plot of memcpyPlots(full).filter(({ name }) => name !== 'phases')) {
    for (const kind of ['thp', '2m', '1g'] as const)
      assert.ok(plot.svg.includes(KIND_MARK[kind].colour), plot.name);
  }
  const colours = Object.values(KIND_MARK).map((mark) => mark.colour);
  assert.equal(new Set(colours).size, colours.length);
});

test('invalid samples are crosses in run order, as many as the document counts', () => {
  const samples = memcpyPlots(full).find(({ name }) => name === 'samples')?.svg ?? '';
  assert.equal(samples.match(/invalid: pages changed during the copy/g)?.length, full.n_invalid);
  assert.ok(full.n_invalid > 0);
});

test('speed-up shows a reversal on both sides of the line', () => {
  const svg = memcpyPlots(full).find(({ name }) => name === 'speedup')?.svg ?? '';
  assert.match(svg, /1g, 64 KiB: 0\.00\d+x/);
  assert.match(svg, /1g, 1 GiB: 5\.\d\dx/);
});

test('faults names the fitted slope, or why there is none', () => {
  const svg = memcpyPlots(full).find(({ name }) => name === 'faults')?.svg ?? '';
  assert.match(svg, />4k: 1\.45 µs per fault, r² 0\.998</);
  assert.match(svg, />1g: no slope, every size below 1 GiB takes one fault</);
});

test('names from a driver cannot become markup, nor end the embedded JSON', () => {
  const evil = '</script><script>alert(1)</script>';
  const page = renderHtml({
    ...syntheticDocument({ backend: 'cuda' }),
    device: {
      ...(syntheticDocument({ backend: 'cuda' }).device as NonNullable<MemcpyDocument['device']>),
      name: evil,
    },
    warnings: [evil],
    reproduce: evil,
    env: { '<b>': evil },
  });
  assert.equal(page.match(/<script/g)?.length, 1);
  assert.equal(page.match(/<\/script>/g)?.length, 1);
  assert.doesNotMatch(page, /<b>:/);
});

test('the page holds the document itself, needs no network and says what it is', () => {
  const page = renderHtml(full);
  const json =
    /<script type="application\/json" id="result">(.*?)<\/script>/s.exec(page)?.[1] ?? '';
  assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify(full)));
  assert.doesNotMatch(page.replace(/xmlns="[^"]+"/g, ''), /(src|href)=|https?:|url\(/);
  for (const heading of ['Answer', 'Verdicts', 'Plots', 'Matrix']) {
    assert.match(page, new RegExp(`<h2>${heading} <span class="origin">host proxy</span></h2>`));
  }
  assert.match(page, /<code>warpgauge bench memcpy --backend host --seed 42/);
});
