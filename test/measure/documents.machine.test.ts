// Documents as the program really writes them, on this machine and on the simulated driver, against the schema.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { MemcpyOptions } from '#lib/measure/memcpy/options';
import type { MemcpyDocument } from '#lib/measure/memcpy/types';
import { KiB, MiB } from '#lib/units';

const schema = new URL('../../../../schemas/memcpy-1.schema.json', import.meta.url);
const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(
  JSON.parse(readFileSync(schema, 'utf8')),
);

const SIMULATED = fileURLToPath(new URL('../../../debug/fake/', import.meta.url));

/** Runs with these libraries of the driver; the child takes them from the environment. */
async function withDriver<T>(folder: string, run: () => Promise<T>): Promise<T> {
  const names = { WARPGAUGE_CUDA: 'libcuda.so.1', WARPGAUGE_NVML: 'libnvidia-ml.so.1' } as const;
  const before = { ...process.env };
  for (const [name, file] of Object.entries(names)) process.env[name] = `${folder}${file}`;
  try {
    return await run();
  } finally {
    for (const name of Object.keys(names)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

/** What JSON would hide: it writes NaN and Infinity as null. */
function wrongValues(value: unknown, path = ''): string[] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [`${path} is ${value}`];
  if (value === undefined) return [`${path} is undefined`];
  if (typeof value === 'string')
    return /^(n\/a|nan|-?infinity|null|undefined)$/i.test(value) ? [`${path} is "${value}"`] : [];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, each]) => wrongValues(each, `${path}.${key}`));
}

/** Values that are absent without saying why. */
function unexplained(document: MemcpyDocument): string[] {
  const missing: string[] = [];
  const need = (present: unknown, why: unknown, where: string): void => {
    if (present === null && (why === null || why === '')) missing.push(where);
  };
  for (const cell of document.cells) {
    need(cell.status === 'ok' ? cell : null, cell.reason, cell.id);
    if (cell.samples.length > 0) need(cell.stats, cell.samples[0]?.why_invalid ?? null, cell.id);
  }
  for (const { id, samples } of [...document.cells, ...document.calibrations]) {
    for (const sample of samples) {
      need(sample.faults_perf, sample.faults_perf_why, `${id} faults_perf`);
      need(sample.dtlb_miss, sample.dtlb_why, `${id} dtlb_miss`);
      need(sample.valid ? sample : null, sample.why_invalid, `${id} validity`);
    }
  }
  for (const line of document.comparisons) {
    need(line.verdict === 'none' ? null : line, line.verdict_reason, `${line.b} verdict`);
    need(line.share, line.explanation ?? line.verdict_reason ?? line.verdict, `${line.b} share`);
  }
  for (const one of document.model) {
    need(one.ns_per_fault, one.why, `model ${one.kind} ns_per_fault`);
    need(one.gbps, one.why, `model ${one.kind} gbps`);
  }
  for (const one of document.break_even) need(one.bytes, one.why, `break-even ${one.kind}`);
  return missing;
}

const small: MemcpyOptions = { sizes: [64 * KiB, MiB], blocks: 2, seed: 3 };

const RUNS: readonly [name: string, run: () => Promise<MemcpyDocument>][] = [
  ['host, ten blocks', () => runMemcpy({ ...small, backend: 'host', blocks: 10 })],
  [
    'host, every pin and two runs',
    () =>
      runMemcpy({
        ...small,
        backend: 'host',
        pins: ['none', 'register', 'hostalloc'],
        runs: 2,
        runIntervalMs: 0,
      }),
  ],
  [
    'interrupted at once',
    () => runMemcpy({ ...small, backend: 'host', signal: AbortSignal.abort() }),
  ],
  [
    'no legal cell',
    () => runMemcpy({ ...small, backend: 'host', states: ['cold'], directions: ['HtoD'] }),
  ],
  [
    'nothing that this backend has',
    () => runMemcpy({ ...small, backend: 'host', directions: ['vectorAdd'] }),
  ],
  [
    'no driver where one was named',
    () => withDriver('/nonexistent/', () => runMemcpy({ ...small, blocks: 1 })),
  ],
  [
    'the simulated driver, every cell',
    () =>
      withDriver(SIMULATED, () =>
        runMemcpy({
          ...small,
          backend: 'cuda',
          pages: ['4k', 'thp'],
          pins: ['none', 'register', 'hostalloc'],
        }),
      ),
  ],
];

for (const [name, run] of RUNS) {
  test(`the document is valid, and says why what it lacks: ${name}`, async () => {
    const document = await run();
    assert.deepEqual(wrongValues(document), []);
    assert.deepEqual(unexplained(document), []);
    assert.ok(validate(JSON.parse(JSON.stringify(document))), JSON.stringify(validate.errors?.[0]));
    assert.equal(
      document.answers.length > 0,
      true,
      'every direction that was asked for has an answer',
    );
    const labels = document.device?.simulated ? /Simulated/ : /host proxy/;
    for (const { text } of document.answers) assert.match(text, labels);
  });
}
