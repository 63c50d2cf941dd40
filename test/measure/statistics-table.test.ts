import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../bench/statistics-table.js', import.meta.url));
const DOCUMENT = fileURLToPath(new URL('../../../../docs/statistics.md', import.meta.url));
const HEADINGS = [
  '### False verdicts',
  '### Power: a true +10 %',
  '### Coverage',
  '### Cells called bimodal',
];

describe('statistics-table', () => {
  it('prints the tables of docs/statistics.md, the same each time', () => {
    const print = () =>
      execFileSync(process.execPath, [SCRIPT, '--runs', '2'], { encoding: 'utf8' });
    const text = print();
    for (const heading of HEADINGS) assert.ok(text.includes(heading), heading);
    assert.equal(print(), text);
    // The page holds the same rows, from more runs.
    const page = readFileSync(DOCUMENT, 'utf8');
    const firstColumns = (of: string) =>
      of.split('\n').flatMap((line) => /^\| ([^|]+ \| [^|]+) \|/.exec(line)?.[1] ?? []);
    const rows = firstColumns(page).filter((row) => /\| \d+$/.test(row));
    assert.deepEqual(
      rows,
      firstColumns(text).filter((row) => /\| \d+$/.test(row)),
    );
    assert.ok(rows.length > 40);
  });

  it('writes between the marks of a page, and refuses a page without them', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warpgauge-table-'));
    try {
      const page = join(folder, 'page.md');
      writeFileSync(page, readFileSync(DOCUMENT, 'utf8'));
      execFileSync(process.execPath, [SCRIPT, '--runs', '1', '--write', page]);
      assert.match(readFileSync(page, 'utf8'), /tables: begin[^\n]*\n1 runs per row/);
      assert.match(readFileSync(page, 'utf8'), /# How the memcpy benchmark decides/);
      writeFileSync(page, 'nothing');
      assert.throws(() =>
        execFileSync(process.execPath, [SCRIPT, '--runs', '1', '--write', page], { stdio: 'pipe' }),
      );
      assert.equal(readFileSync(page, 'utf8'), 'nothing');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
