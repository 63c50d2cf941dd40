import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { plainScript, viewerScript } from '#lib/view/report/inline';
import { recordTables } from '../export/recordings.js';
import { syntheticDocument } from '../measure/synthetic-document.js';
import { recordCuda } from '../view/cuda-recording.js';
import { madeBatches, madeTable } from '../view/made-tables.js';
import { warpgauge } from './run.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-report-cli-'));
const dir = join(root, 'run');
before(() => recordCuda(dir, { seconds: 1 }));
after(() => rm(root, { recursive: true, force: true }));

test('report writes a page beside the recording, once, and says what is in it', async () => {
  const told = warpgauge(['report', dir]);
  assert.deepEqual([told.code, told.stderr], [0, '']);
  const page = join(root, 'run-report.html');
  assert.match(
    told.stdout,
    /run-report\.html \([\d.]+ KiB\): 1\.00 s, 200 copies, 150 kernels, .* 2 marks; Simulated\n$/,
  );
  const text = await readFile(page, 'utf8');
  // Whoever sees no picture reads the same: 50 requests of three copies in and one out, every fifth pageable.
  const row = (...cells: string[]) =>
    new RegExp(`<tr>\\s*${cells.map((cell) => `<td[^>]*>${cell}</td>`).join('')}`);
  assert.ok(row('HtoD pinned', '120').test(text));
  assert.ok(row('HtoD pageable', '30').test(text));
  assert.ok(row('DtoH pinned', '50', '150 MiB').test(text));
  assert.ok(row('cuda.memcpy', '200', '-', '0', 'Simulated').test(text));
  assert.ok(row('Host page faults', 'minor \\(Simulated\\)').test(text));
  assert.ok(row('warm').test(text));
  const again = warpgauge(['report', dir]);
  assert.equal(again.code, 1);
  assert.match(
    again.stderr,
    /^warpgauge: .*run-report\.html exists already \(ERR_OUTPUT\) - fix: .*--force.*\n$/,
  );
  assert.equal(warpgauge(['report', dir, '--force', '--from', 'warm', '--to', '500ms']).code, 0);
  assert.ok((await stat(page)).size < text.length, 'a piece is smaller');
});

test('every error is one line with the fix', async () => {
  const still = join(root, 'still');
  const table = madeTable('hugepages', 'sample', 5, [
    { name: 'time', type: 'time', value: (n) => n * 1e9 },
    { name: 'nr_hugepages', type: 'u64', kind: 'gauge', value: () => 7 },
  ]);
  await recordTables(still, [table.info], madeBatches([table]));
  await mkdir(join(root, 'plain'));
  await writeFile(join(root, 'some.json'), '{"schema": "other"}');
  for (const [args, pattern, code] of [
    [[join(root, 'none')], /none does not exist \(ERR_RECORDING\) - fix: name a folder/, 1],
    [[join(root, 'plain')], /Expected a recording in .*plain: no readable manifest/, 1],
    [[join(root, 'some.json')], /some\.json is no result of bench memcpy .*fix: name a folder/, 1],
    [[still], /still has nothing that a report draws .*fix: record with --source process/, 1],
    [[dir, '--from', 'worm'], /Expected an offset .*"worm"; did you mean warm\?/, 2],
    [[dir, '--from', '2s'], /Nothing lies between .*fix: choose --from and --to within it/, 1],
    [[dir, '--html', root], /Expected a file but .* is a folder/, 1],
    [[dir, '--htm', 'x'], /unknown option '--htm'.*--html/, 2],
  ] as const) {
    const told = warpgauge(['report', ...args]);
    assert.equal(told.code, code, told.stderr);
    assert.match(told.stderr, pattern);
    assert.equal(told.stderr.trim().split('\n').length, 1, told.stderr);
  }
});

test('a result of bench memcpy becomes the page that the benchmark writes', async () => {
  const out = join(root, 'bench');
  await mkdir(out);
  await writeFile(join(out, 'result.json'), JSON.stringify(syntheticDocument()));
  for (const path of [out, join(out, 'result.json')]) {
    const told = warpgauge(['report', path, '--force']);
    assert.deepEqual([told.code, told.stderr], [0, '']);
    assert.match(told.stdout, /bench-report\.html: the result of bench memcpy/);
    assert.match(
      await readFile(join(root, 'bench-report.html'), 'utf8'),
      /Does the page size of host memory change copy speed/,
    );
  }
  assert.match(
    warpgauge(['report', out, '--from', '1s', '--force']).stderr,
    /a recording beside it for --from/,
  );
});

test('the modules of the viewer are one script that parses, and nothing of a module is left', async () => {
  assert.equal(
    plainScript(
      "import { a,\n  b } from './c.js';\nexport class D {}\nexport async function e() {}\nconst f = 'export';\n",
    ),
    "\nclass D {}\nasync function e() {}\nconst f = 'export';\n",
  );
  const { code } = await viewerScript();
  assert.doesNotMatch(code, /^\s*(import|export)\b/m);
  assert.doesNotMatch(code, /<\/script/i);
  // A name that two modules declare is a syntax error here.
  new Function(code);
});
