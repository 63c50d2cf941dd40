/**
 * node out/js/bench/compare.js A.json B.json
 *
 * Two documents of `npm run bench` side by side. Ratios are compared, not times: two runs, perhaps on two
 * machines, share no clock.
 */
import { readFileSync } from 'node:fs';
import { diffEnvironments } from '#lib/host/environment';
import { painter, wantsColour } from '#lib/view/colour';
import { formatTable } from '#lib/view/table';
import { COLUMNS, compare } from './difference.ts';
import type { BenchDocument } from './result.ts';

function read(path: string): BenchDocument {
  const document = JSON.parse(readFileSync(path, 'utf8')) as Partial<BenchDocument>;
  if (document.schema !== 'warpgauge/bench/1') {
    throw new Error(`Expected schema warpgauge/bench/1 in ${path} but received ${document.schema}`);
  }
  return document as BenchDocument;
}

function main(paths: readonly string[]): number {
  const [first, second, ...rest] = paths;
  if (first === undefined || second === undefined || rest.length > 0) {
    process.stderr.write('Expected two files written by npm run bench -- --json FILE\n');
    return 2;
  }
  const a = read(first);
  const b = read(second);
  const paint = painter(wantsColour(process.stdout));
  const width = process.stdout.columns ?? 160;
  const lines = formatTable(COLUMNS, compare(a, b), { paint, width });
  const facts = (document: BenchDocument): Record<string, unknown> => ({ ...document.env });
  const differences = diffEnvironments(facts(a), facts(b));
  lines.push('', differences.length === 0 ? 'same environment' : 'the environments differ in');
  for (const { field, a: from, b: to, decides } of differences) {
    lines.push(`  ${field}: ${from} -> ${to}${decides ? '' : ' (says nothing about speed)'}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  return 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`compare: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
