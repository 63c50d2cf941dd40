/**
 * The results of a run of `npm run bench` as a Markdown table, printed or written into its place in a page.
 *
 *   node out/js/bench/figures.js FILE.json [--write docs/benchmarks.md]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine } from '#lib/host/environment';
import { interval } from '#lib/view/numbers';
import type { BenchDocument } from './result.ts';
import { showBand, showLimit, showRatio, showValue } from './view.ts';

function figures({ env, started, results }: BenchDocument): string {
  const load = (values: readonly number[]): string => values.map((v) => v.toFixed(2)).join(', ');
  const rows = results.map(({ name, ratio, limit, unit, verdict, reason, ...result }) =>
    ratio === null
      ? `| ${name} | - | - | - | - | - | - | ${verdict}: ${(reason ?? '').replaceAll('|', '\\|')} |`
      : [
          `| ${name}`,
          showRatio(ratio.median),
          interval(ratio.ci95, showRatio),
          showLimit(limit),
          showBand(result.floor_band),
          showValue(result.subject_spread, unit),
          showValue(result.floor_spread, unit),
          `${verdict} |`,
        ].join(' | '),
  );
  return [
    `${started.slice(0, 10)}, commit ${env.commit?.slice(0, 12) ?? 'unknown'}: ${describeMachine(env)}; ` +
      `load average ${load(env.load_average.before)} before, ${load(env.load_average.after)} after.`,
    '',
    '| result | ratio | 95 % CI | limit | A/A min, max | subject | floor | verdict |',
    '| --- | ---: | --- | ---: | --- | ---: | ---: | --- |',
    ...rows,
  ].join('\n');
}

const BEGIN =
  '<!-- figures: begin (node out/js/bench/figures.js FILE.json --write docs/benchmarks.md) -->';
const END = '<!-- figures: end -->';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: 'string' } },
});
const [file] = positionals;
if (file === undefined) {
  process.stderr.write('Expected a file written by npm run bench -- --json FILE\n');
  process.exitCode = 2;
} else {
  const table = figures(JSON.parse(readFileSync(file, 'utf8')) as BenchDocument);
  if (values.write === undefined) process.stdout.write(`${table}\n`);
  else {
    const page = readFileSync(values.write, 'utf8');
    const from = page.indexOf(BEGIN);
    const to = page.indexOf(END);
    if (from < 0 || to < from) throw new Error(`${values.write} has no place for figures`);
    const before = page.slice(0, from + BEGIN.length);
    writeFileSync(values.write, `${before}\n\n${table}\n\n${page.slice(to)}`);
  }
}
