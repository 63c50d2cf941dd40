/**
 * npm run bench [-- CASE ...] [--repetitions N] [--seconds S] [--json FILE] [--check] [--limit RESULT=RATIO ...]
 *
 * Each case beside its floor, in one run and in alternating order; see docs/benchmarks.md.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { environment, WarpgaugeError } from 'warpgauge';
import { catchInterrupt } from '#lib/cli/interrupt';
import { invalidArgument } from '#lib/errors';
import { checkoutCommit } from '#lib/version';
import type { BenchCase } from './cases/case.ts';
import { copyCase } from './cases/copy.ts';
import { cyclesCase } from './cases/cycles.ts';
import { doctorCase } from './cases/doctor.ts';
import { gpuCase } from './cases/gpu.ts';
import { importCase } from './cases/import.ts';
import { laneCase } from './cases/lane.ts';
import { migCase } from './cases/mig.ts';
import { populateCase } from './cases/populate.ts';
import { recordingCase } from './cases/recording.ts';
import { sampleCase } from './cases/sample.ts';
import { samplerCase } from './cases/sampler.ts';
import { slabsCase } from './cases/slabs.ts';
import { systeminformationCase } from './cases/systeminformation.ts';
import { traceCase } from './cases/trace.ts';
import type { BenchDocument, BenchResult } from './result.ts';
import { failures, runCase } from './run.ts';
import { render } from './view.ts';

const CASES: readonly BenchCase[] = [
  populateCase,
  copyCase,
  importCase,
  doctorCase,
  sampleCase,
  laneCase,
  samplerCase,
  slabsCase,
  systeminformationCase,
  recordingCase,
  gpuCase,
  migCase,
  cyclesCase,
  traceCase,
];

const OK = 0;
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

interface Options {
  readonly cases: readonly BenchCase[];
  readonly repetitions: number | null;
  readonly seconds: number | null;
  readonly json: string | null;
  readonly check: boolean;
  /** Limits that replace the ones of the cases, by result. */
  readonly limits: ReadonlyMap<string, number>;
  readonly help: boolean;
}

function parse(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      repetitions: { type: 'string' },
      seconds: { type: 'string' },
      json: { type: 'string' },
      check: { type: 'boolean', default: false },
      limit: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const names = CASES.map(({ name }) => name);
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalidArgument('CASE', names.join(', '), unknown);
  const repetitions = values.repetitions === undefined ? null : Number(values.repetitions);
  if (repetitions !== null && (!Number.isSafeInteger(repetitions) || repetitions < 1)) {
    throw invalidArgument('--repetitions', 'a whole number from 1', values.repetitions);
  }
  const seconds = values.seconds === undefined ? null : Number(values.seconds);
  if (seconds !== null && !(seconds > 0 && seconds <= 3600)) {
    throw invalidArgument('--seconds', 'a number above 0, at most 3600', values.seconds);
  }
  const limits = new Map<string, number>();
  for (const text of values.limit) {
    const [, name, value] = /^([^=]+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
    if (name === undefined) throw invalidArgument('--limit', 'RESULT=RATIO', text);
    limits.set(name, Number(value));
  }
  return {
    cases: CASES.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    repetitions,
    seconds,
    json: values.json === undefined ? null : resolve(values.json),
    check: values.check,
    limits,
    help: values.help,
  };
}

function help(): string {
  return [
    'npm run bench [-- CASE ...] [--repetitions N] [--seconds S] [--json FILE] [--check] [--limit RESULT=RATIO ...]',
    '',
    ...CASES.map(({ name, description }) => `  ${name.padEnd(18)} ${description}`),
    '',
    '  --repetitions N        pairs of every comparison (default: what its limit needs)',
    '  --seconds S            length of one run of lane, sampler, systeminformation, recording and gpu',
    '  --json FILE            write the document warpgauge/bench/1, all samples included',
    '  --check                exit code 1 when a limit is exceeded',
    '  --limit RESULT=RATIO   hold a result to another limit',
    '',
  ].join('\n');
}

async function run(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (options.help) {
    process.stdout.write(help());
    return OK;
  }
  // Cases name files of the checkout; this one is out/js/bench/main.js of it.
  process.chdir(join(dirname(fileURLToPath(import.meta.url)), '../../..'));
  const interrupt = catchInterrupt();
  const started = new Date().toISOString();
  const begin = process.hrtime.bigint();
  const before = loadavg();
  const results: BenchResult[] = [];
  try {
    for (const each of options.cases) {
      process.stderr.write(`bench: ${each.name}: ${each.description}\n`);
      const { repetitions, seconds } = options;
      const context = { repetitions, seconds, signal: interrupt.signal };
      results.push(...(await runCase(each, context, options.limits)));
    }
  } catch (error) {
    if (interrupt.signal.aborted) return INTERRUPTED;
    throw error;
  } finally {
    interrupt.close();
  }
  const document: BenchDocument = {
    schema: 'warpgauge/bench/1',
    started,
    duration_ns: Number(process.hrtime.bigint() - begin),
    arguments: args,
    env: {
      ...(await environment()),
      commit: checkoutCommit(),
      load_average: { before, after: loadavg() },
    },
    results,
  };
  process.stdout.write(`${render(document, process.stdout)}\n`);
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(document)}\n`);
  const reasons = failures(results, options);
  for (const reason of reasons) process.stderr.write(`bench: ${reason}\n`);
  return reasons.length > 0 ? FAILED : OK;
}

async function main(): Promise<void> {
  try {
    process.exitCode = await run(process.argv.slice(2));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const usage = code === 'ERR_INVALID_ARGUMENT' || code.startsWith('ERR_PARSE_ARGS');
    const known = usage || error instanceof WarpgaugeError;
    const text = error instanceof Error ? (known ? error.message : error.stack) : `${error}`;
    process.stderr.write(`bench: ${text}\n`);
    process.exitCode = usage ? USAGE : FAILED;
  }
}

void main();
