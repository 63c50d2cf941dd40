import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { analyse } from '#lib/measure/memcpy/analyse';
import type { Comparison, MemcpyDocument } from '#lib/measure/memcpy/types';
import { wantsColour } from '#lib/view/colour';
import { shareMethods } from '#lib/view/memcpy-rows';
import { renderMemcpy, renderVerdicts } from '#lib/view/terminal';
import { emptyCell, syntheticDocument } from '../measure/synthetic-document.ts';

const PLAIN = { colour: false, width: 100 };
const MiB = 1024 ** 2;
const text = (part: Partial<MemcpyDocument> = {}, options = PLAIN): string =>
  renderMemcpy({ ...syntheticDocument(), ...part }, options);

test('sections come in the promised order: preflight first, the answer and the reproduce line last', () => {
  const lines = text().split('\n');
  const places = ['Preflight', 'Verdicts', 'Matrix', '  Not measured', 'Answer', 'Reproduce:'].map(
    (start) => lines.findIndex((line) => line.startsWith(start)),
  );
  assert.ok(
    places.every((place) => place > 0),
    String(places),
  );
  assert.deepEqual(
    [...places].sort((a, b) => a - b),
    places,
  );
  assert.match(lines.at(-2) ?? '', /^Reproduce: warpgauge bench memcpy .*--seed 42/);
});

test('preflight shows good checks in one line and WARN and NO with effect and fix', () => {
  const output = text();
  assert.match(output, /OK {3}load 0\.11, steal 0 %, memory 20\.1 GiB available/);
  assert.match(output, /WARN page reporting: free pages go back to the hypervisor\n {7}effect: /);
  assert.match(output, /NO {3}hugetlb 1g: 0 pages\n {7}effect: .*\n {7}fix: sudo sh -c 'echo 2 > /);
});

test('the verdict table has numbers, intervals, verdict, cause with share and interval', () => {
  const output = renderVerdicts(syntheticDocument(), PLAIN);
  assert.match(
    output,
    /DtoH +none +cold +64 MiB +2m +4\.\d\dx +\[4\.\d\d, 4\.\d\d\] +\[4\.\d\d, 5\.\d\d\] +FASTER\n +cause: faults 83 % \[78, 90\] of the gap; 16384 -> 32 faults/,
  );
  assert.match(output, /DtoH +none +cold +64 MiB +1g +0\.\d\dx .*SLOWER\n +cause: page-zeroing/);
  assert.match(output, /HtoD +none +warm +64 MiB +thp .*FASTER \*\n/);
  assert.match(output, /\* this moment only/);
  assert.doesNotMatch(output, /cold .*FASTER \*/);
});

test('without a family there are no verdicts, and the reason is said', () => {
  const document = syntheticDocument({ blocks: 4 });
  const output = renderVerdicts({ ...document, family: [] }, PLAIN);
  assert.match(output, /No verdicts: no larger page kind was measured beside 4k/);
  assert.match(
    renderVerdicts({ ...document, family: [], cells: [] }, PLAIN),
    /no cell gave a valid sample/,
  );
});

test('the matrix shows medians, faults of both counters, pins and the proven page size', () => {
  const output = text();
  assert.match(
    output,
    /64 MiB +4k +2\.\d+ +\[2\.\d+, 2\.\d+\] +- +1\.\d+ us +16384 +0 +\d+ % +4 KiB/,
  );
  assert.match(output, /HtoD cold, registration only\n[^\n]*\n +64 MiB +4k .* 0\/16384 +16384 /);
  assert.match(output, /Page size proven by\s+PAGEMAP_SCAN \+ smaps/);
  assert.match(output, /2 MiB, 1 invalid/);
});

test('absent numbers are "-", not 0', () => {
  const document = syntheticDocument();
  const cells = document.cells.map((cell) => ({
    ...cell,
    samples: cell.samples.map((sample) => ({ ...sample, pins_approx: null, faults_perf: null })),
  }));
  const row =
    text({ cells })
      .split('\n')
      .find((line) => /64 MiB +4k +2\./.test(line)) ?? '';
  assert.match(row, / -\/16384 /);
  assert.match(text(), /Pins ~/);
  assert.doesNotMatch(text({ cells }), /Pins ~/);
});

test('unavailable cells are rows with reason and fix, illegal ones a single line', () => {
  const output = text();
  assert.match(
    output,
    /DtoH +register +cold +4k, thp +64 MiB +failed: io_uring refused the registration\n +fix: ulimit -l unlimited/,
  );
  assert.match(
    output,
    /vectorAdd +none +cold +4k +64 MiB +unavailable: vectorAdd needs a CUDA device/,
  );
  assert.equal(output.match(/combinations have no meaning/g)?.length, 1);
  assert.doesNotMatch(output, /HtoD +none +cold/);
});

test('every heading of a proxy result says host proxy, a device result does not', () => {
  for (const heading of ['warpgauge', 'Verdicts', 'Matrix', 'Answer']) {
    assert.match(text(), new RegExp(`^${heading}.*\\(host proxy\\)$`, 'm'));
  }
  const cuda = renderMemcpy(syntheticDocument({ backend: 'cuda' }), PLAIN);
  assert.doesNotMatch(cuda, /host proxy/);
  assert.match(cuda, /^Verdicts \(Simulated\)$/m);
  assert.match(cuda, /Simulated GPU, PCIe 5 x16/);
});

test('plain output has no escape codes and stays within 100 columns, commands excepted', () => {
  for (const backend of ['host', 'cuda'] as const) {
    const lines = renderMemcpy(syntheticDocument({ backend }), PLAIN).split('\n');
    for (const line of lines) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is looked for
      assert.doesNotMatch(line, /\u001b/);
      if (!/^\s*(fix:|how:|Reproduce:)/.test(line)) assert.ok(line.length <= 100, line);
    }
  }
});

test('a recorded result of 3 blocks renders with ratios, without verdicts, and with its pool given back', () => {
  const file = new URL('../../../../test/fixtures/memcpy/host-kvm-3-blocks.json', import.meta.url);
  const output = renderMemcpy(JSON.parse(readFileSync(file, 'utf8')) as MemcpyDocument, PLAIN);
  assert.match(output, /reserved 1 page of 2 MiB, 1 returned/);
  assert.match(output, /DtoH cold, pageable/);
  assert.match(output, /3 blocks: ratios and no verdicts/);
  assert.doesNotMatch(output, /FASTER|SLOWER/);
});

test('coloured output is the plain one with escape codes', () => {
  const coloured = text({}, { colour: true, width: 100 });
  assert.notEqual(coloured, text());
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is removed
  assert.equal(coloured.replace(/\u001b\[\d+m/g, ''), text());
});

test('colour needs a terminal and no NO_COLOR', () => {
  assert.equal(wantsColour({ isTTY: true }, {}), true);
  assert.equal(wantsColour({ isTTY: true }, { NO_COLOR: '' }), true);
  assert.equal(wantsColour({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.equal(wantsColour({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.equal(wantsColour({ isTTY: false }, {}), false);
  assert.equal(wantsColour({}, {}), false);
});

test('an interrupted result says that it is partial', () => {
  assert.match(
    text({ complete: false, interrupted: true }),
    /this result is partial \(interrupted\)/,
  );
});

test('the analysis of the library renders: shares once, their methods below, invalid samples once', () => {
  const document = syntheticDocument();
  const { cells, calibrations, seed, backend } = document;
  const analysis = analyse({
    cells,
    calibrations,
    seed,
    backend,
    runs: 1,
    blocks: 10,
    resamples: 300,
  });
  const output = text(analysis);
  const flowing = output.replace(/\s+/g, ' ');
  assert.match(
    flowing,
    /cause: physical-layout; no faults, no pins; [^;]*close (\d+ % \[|all of the gap)/,
  );
  assert.match(output, /Share of the gap: 4k-split: /);
  assert.equal(output.match(/samples are invalid|invalid samples/g)?.length, 1);
  for (const answer of analysis.answers)
    assert.match(output, new RegExp(`^  ${answer.dir}: host proxy`, 'm'));
});

test('tables fit into 80 columns, and leave out what stands elsewhere too', () => {
  const output = renderMemcpy(syntheticDocument(), { colour: false, width: 80 });
  const tables = output
    .split('\n')
    .filter((line) => /^ {2,4}(HtoD|DtoH) |^ +(\d+ [KMG]iB )?(4k|thp|2m|1g) /.test(line));
  assert.ok(tables.length > 10);
  for (const line of tables) assert.ok(line.length <= 80, line);
  assert.match(output, /Adjusted CI/);
});

test('the method of the shares is said once, with the particulars of all lines', () => {
  const one = syntheticDocument().comparisons[0] as Comparison;
  const touch = 'touch of other mappings in the same blocks, scaled';
  assert.equal(
    shareMethods([
      { ...one, share_method: `${touch}: 4k from 16 MiB, thp from 16 MiB` },
      { ...one, share_method: `${touch}: 4k from 16 MiB, 2m from 16 MiB` },
      { ...one, share_method: null },
    ]),
    `Share of the gap: ${touch}: 4k from 16 MiB, thp from 16 MiB, 2m from 16 MiB.`,
  );
});

test('a warning about many cells is one line', () => {
  const about = (id: string, part: string) =>
    `${id} has no single typical time (${part}): its median stands for little`;
  const warnings = [
    about('htod/none/warm/4k-split/65536', 'bimodal, 1 above 3x the median'),
    about('htod/none/warm/4k/65536', 'bimodal'),
    about('touch/thp/65536', 'bimodal'),
    'a/b: FASTER for a reason',
    'three blocks: ratios only',
  ];
  const notes = text({ warnings })
    .split('\n')
    .filter((line) => line.startsWith('note:'));
  assert.equal(notes.length, 4);
  assert.match(
    text({ warnings }).replace(/\s+/g, ' '),
    /note: htod\/none\/warm\/4k-split\/65536 and 2 other cells have no single typical time: its median/,
  );
});

test('what is no verdict carries no mark', () => {
  const document = syntheticDocument();
  const comparisons = document.comparisons.map((one) => ({
    ...one,
    verdict: 'none' as const,
    this_moment_only: true,
  }));
  assert.doesNotMatch(renderVerdicts({ ...document, comparisons }, PLAIN), /\*/);
});

test('invalid samples are told even when no warning of the run does', () => {
  assert.match(text({ warnings: [] }), /note: invalid samples: 2, kept in the JSON/);
});

test('a cell whose samples are all invalid says why', () => {
  const document = syntheticDocument();
  const cell = document.cells[0];
  assert.ok(cell);
  const spoiled = {
    ...cell,
    stats: null,
    samples: cell.samples.map((sample) => ({
      ...sample,
      valid: false,
      why_invalid: 'byte 4096 is wrong',
    })),
  };
  assert.match(text({ cells: [spoiled] }), /no valid sample: byte 4096 is wrong/);
});

test('a document without any cell still renders', () => {
  const output = text({ cells: [], comparisons: [], family: [], answers: [], preflight: [] });
  assert.match(output, /No cell was measured/);
  assert.match(output, /No answer/);
});

test('control characters of a device name do not reach the terminal', () => {
  const cell = emptyCell(
    { dir: 'DtoH', pin: 'none', state: 'cold', kind: '1g', bytes: 64 * MiB },
    { reason: 'driver said \u001b[2Jboo', fix: 'echo\u0007' },
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  assert.doesNotMatch(text({ cells: [cell] }), /[\u0000-\u0009\u000b-\u001f]/);
});
