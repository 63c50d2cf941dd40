/**
 * Measures the statistics of the memcpy benchmark on made-up data whose truth is known: false verdicts, power and
 * coverage. Prints the tables of docs/statistics.md; same seeds, same numbers.
 *
 *   node out/js/bench/statistics-table.js [--runs N] [--write docs/statistics.md]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bootstrap, interval } from '#lib/measure/memcpy/bootstrap';
import { compareFamily } from '#lib/measure/memcpy/comparisons';
import { createRandom } from '#lib/measure/memcpy/random';
import { bimodality, quantile } from '#lib/measure/memcpy/statistics';
import { NOISES, type Noise, noisyTimes, syntheticFamily } from '../test/measure/synthetic.ts';

const BEGIN =
  '<!-- tables: begin (node out/js/bench/statistics-table.js --write docs/statistics.md) -->';
const END = '<!-- tables: end -->';
const RESAMPLES = 300;
const FAMILY_ALPHA = 0.05 / 16;

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '2000' }, write: { type: 'string' } },
});
const runs = Number(values.runs);
const noises = Object.entries(NOISES);

const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

function falseVerdicts(): string {
  const rows = noises.flatMap(([name, noise]) =>
    [10, 20, 40].map((blocks) => {
      let wrongRuns = 0;
      let wrongLines = 0;
      let none = 0;
      let same = 0;
      for (let run = 0; run < runs; run++) {
        const seed = `false/${name}/${blocks}/${run}`;
        const lines = compareFamily(syntheticFamily(seed, blocks, noise), {
          resamples: RESAMPLES,
          alpha: 0.05,
          seed,
        });
        const wrong = lines.filter((l) => l.verdict === 'FASTER' || l.verdict === 'SLOWER').length;
        wrongLines += wrong;
        if (wrong > 0) wrongRuns++;
        none += lines.filter((line) => line.verdict === 'none').length;
        same += lines.filter((line) => line.verdict === 'SAME').length;
      }
      const all = runs * 16;
      return [
        name,
        String(blocks),
        percent(wrongRuns, runs),
        `${((100 * wrongLines) / all).toFixed(2)} %`,
        percent(same, all),
        percent(none, all),
      ];
    }),
  );
  const head = ['noise', 'blocks', 'runs with a false verdict', 'lines with one', 'SAME', 'none'];
  return table(head, rows);
}

function power(): string {
  const rows = [3, 5, 10].flatMap((sigma) =>
    [10, 20, 30, 40].map((blocks) => {
      let alone = 0;
      let among = 0;
      const tries = Math.max(1, Math.round(runs / 4));
      for (let run = 0; run < tries; run++) {
        const seed = `power/${sigma}/${blocks}/${run}`;
        const family = syntheticFamily(seed, blocks, { sigma: sigma / 100 }, 1.1);
        const options = { resamples: RESAMPLES, alpha: 0.05, seed };
        if (compareFamily(family.slice(0, 1), options)[0]?.verdict === 'FASTER') alone++;
        if (compareFamily(family, options)[0]?.verdict === 'FASTER') among++;
      }
      return [`${sigma} %`, String(blocks), percent(alone, tries), percent(among, tries)];
    }),
  );
  const head = ['noise', 'blocks', 'found, one line', 'found, one of 16 lines (15 without effect)'];
  return table(head, rows);
}

function coverage(): string {
  const rows = noises.flatMap(([name, noise]) =>
    [3, 5, 10, 20, 40].map((blocks) => [name, String(blocks), ...covered(name, noise, blocks)]),
  );
  const head = ['noise', 'blocks', 't 95 %', 'percentile 95 %', 't 99.69 %', 'percentile 99.69 %'];
  return table(head, rows);
}

function covered(name: string, noise: Noise, blocks: number): string[] {
  const truth = Math.log(1.5);
  const random = createRandom(`coverage/${name}/${blocks}`);
  const hits = [0, 0, 0, 0];
  for (let run = 0; run < runs; run++) {
    const series = noisyTimes([1.5e6, 1e6], blocks, noise, random);
    const draws: number[] = [];
    const logRatio = (medians: Float64Array) => {
      const value = Math.log((medians[0] as number) / (medians[1] as number));
      draws.push(value);
      return value;
    };
    const estimate = bootstrap([series], logRatio, { resamples: 1000, random });
    const sorted = Float64Array.from(draws.slice(1)).sort();
    [0.05, FAMILY_ALPHA].forEach((alpha, i) => {
      const t = interval(estimate, alpha);
      if (t && t[0] <= truth && t[1] >= truth) hits[2 * i] = (hits[2 * i] ?? 0) + 1;
      const low = quantile(sorted, alpha / 2);
      const high = quantile(sorted, 1 - alpha / 2);
      if (low <= truth && high >= truth) hits[2 * i + 1] = (hits[2 * i + 1] ?? 0) + 1;
    });
  }
  return hits.map((n) => `${((100 * n) / runs).toFixed(n / runs > 0.985 ? 2 : 1)} %`);
}

function modes(): string {
  const ten = (noise: Noise) => ({ noise, modes: [1] });
  const kinds = new Map([
    ...noises.map(([name, noise]) => [name, ten(noise)] as const),
    ['lognormal 20 %', ten({ sigma: 0.2 })] as const,
    ['5 %, every second sample 1.8x', { noise: { sigma: 0.05 }, modes: [1, 1.8] }] as const,
    ['5 %, every third sample 1.8x', { noise: { sigma: 0.05 }, modes: [1, 1, 1.8] }] as const,
    [
      '5 %, every eighth sample 10x',
      { noise: { sigma: 0.05 }, modes: [1, 1, 1, 10, 1, 1, 1, 1] },
    ] as const,
  ]);
  const rows = [...kinds].map(([name, { noise, modes: factors }]) => {
    const random = createRandom(`modes/${name}`);
    const rates = [10, 20, 40].map((blocks) => {
      let found = 0;
      for (let run = 0; run < runs; run++) {
        const times = noisyTimes([1], blocks, noise, random)[0] ?? [];
        const mixed = times.map((time, i) => time * (factors[i % factors.length] ?? 1));
        if (bimodality(mixed).bimodal) found++;
      }
      return percent(found, runs);
    });
    return [name, ...rates];
  });
  return table(['samples', '10 blocks', '20 blocks', '40 blocks'], rows);
}

const text = [
  `${runs} runs per row (power: ${Math.max(1, Math.round(runs / 4))}).`,
  '### False verdicts',
  falseVerdicts(),
  '### Power: a true +10 %',
  power(),
  '### Coverage of a true ratio of 1.5',
  coverage(),
  '### Cells called bimodal',
  modes(),
].join('\n\n');

if (values.write === undefined) {
  process.stdout.write(`${text}\n`);
} else {
  const page = readFileSync(values.write, 'utf8');
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from)
    throw new Error(`${values.write} has no place for the tables: ${BEGIN}`);
  const written = `${page.slice(0, from)}${BEGIN}\n${text}\n${page.slice(to)}`;
  writeFileSync(values.write, written);
}
