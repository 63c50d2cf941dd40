// `warpgauge trace` from the command line to the summary, on the simulated driver.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { monitor } from 'warpgauge';
import { COPIES, FAKE_ENV, NEEDS_FAKE } from '../monitor/trace-fake.js';
import { MAIN, warpgauge } from './run.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-trace-cli-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const folder = (): string => join(root, String(folders++));

function validated(text: string): monitor.TraceSummary {
  const url = new URL('../../../../schemas/trace-summary-1.schema.json', import.meta.url);
  const check = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(
    JSON.parse(readFileSync(url, 'utf8')),
  );
  const document = JSON.parse(text);
  assert.equal(check(document), true, JSON.stringify(check.errors));
  return document;
}

test(
  'counts, bytes, faults of the calls and every mark of the simulated driver; show says the same',
  NEEDS_FAKE,
  () => {
    const dir = folder();
    const work = [
      '--fresh',
      '--bytes',
      '1048576',
      '--pageable',
      '6',
      '--pinned',
      '4',
      '--dtoh',
      '5',
    ];
    const beside = ['--source', 'page-faults', '--source', 'process:interval=20ms'];
    const run = warpgauge(
      [
        'trace',
        '--json',
        '--out',
        dir,
        ...beside,
        '--',
        COPIES,
        ...work,
        '--sleep',
        '60',
        '--code',
        '3',
      ],
      FAKE_ENV,
    );
    assert.equal(run.code, 3, run.stderr);
    const summary = validated(run.stdout);
    // What the command prints does not mix with the document.
    assert.match(run.stderr, /^\{"pid":/m);
    assert.equal(summary.simulated, true);
    assert.equal(summary.end, 'command');
    const of = (direction: string) =>
      summary.directions.find((each) => each.direction === direction);
    assert.equal(of('HtoD')?.copies, 10);
    assert.equal(of('HtoD')?.bytes, 10 * 2 ** 20);
    assert.equal(of('HtoD')?.pageableRatio, 0.6);
    assert.equal(of('DtoH')?.copies, 5);
    assert.equal(of('DtoH')?.pageableRatio, 0);
    assert.equal(summary.kernels?.count, 5);
    assert.equal(summary.kernels?.top[0]?.name, 'warpgauge_vector_add');
    assert.equal(summary.memsets?.count, 5);
    assert.equal(summary.droppedRows, 0);
    assert.deepEqual(summary.untraced, []);
    assert.equal(summary.processes.length, 1);
    assert.ok(Object.values(summary.processes[0]?.lost ?? {}).every((lost) => lost === 0));
    if (summary.hostFaults.seen !== null && summary.hostFaults.seen > 0) {
      // The program touches no page of a fresh source: the copy's call takes its faults, a page each.
      assert.ok((of('HtoD')?.faultedCopies ?? 0) >= 6);
      assert.ok((of('HtoD')?.faults ?? 0) >= 6 * 16);
    }
    const again = warpgauge(['show', dir, '--trace', '--json']);
    assert.deepEqual(validated(again.stdout), summary);
    const shown = warpgauge(['show', dir]);
    assert.match(shown.stdout, /CUDA \(Simulated\)/);
    assert.match(shown.stdout, /HtoD +10 +10 MiB/);
  },
);

test(
  'what is refused leaves no folder: no driver, another injection, a running process, wrong words',
  NEEDS_FAKE,
  () => {
    const dir = folder();
    const hasDriver = existsSync('/proc/driver/nvidia/version') || existsSync('/sys/module/nvidia');
    const trace = (args: readonly string[], env: Readonly<Record<string, string>>) =>
      warpgauge(['trace', '--out', dir, ...args], env);
    const cases: [readonly string[], Readonly<Record<string, string>>, number, RegExp][] = [
      [
        ['--', 'true'],
        { ...FAKE_ENV, CUDA_INJECTION64_PATH: '/x.so' },
        125,
        /CUDA_INJECTION64_PATH=\/x\.so.*fix: env -u/,
      ],
      [['--pid', '1'], FAKE_ENV, 2, /a running process cannot be traced.*--start-mark/],
      [[], FAKE_ENV, 2, /a command after --/],
      [['--kinds', 'kernels', '--', 'true'], FAKE_ENV, 2, /kinds out of memcpy.*did you mean/i],
      [['--source', 'cuda', '--', 'true'], FAKE_ENV, 2, /besides cuda/],
      [['--', './none'], FAKE_ENV, 127, /there is no command/],
      ...(hasDriver
        ? []
        : [
            [['--', 'true'], {}, 125, /nothing to trace.*ERR_NO_DRIVER/] as [
              string[],
              Record<string, string>,
              number,
              RegExp,
            ],
          ]),
    ];
    for (const [args, env, code, text] of cases) {
      const run = trace(args, env);
      assert.equal(run.code, code, run.stderr);
      assert.match(run.stderr, text);
      assert.equal(run.stderr.trim().split('\n').length, 1, run.stderr);
      assert.equal(existsSync(dir), false);
    }
  },
);

test('a command that never starts CUDA keeps its code, and that is said', NEEDS_FAKE, () => {
  const run = warpgauge(['trace', '--out', folder(), '--', 'sh', '-c', 'exit 9'], FAKE_ENV);
  assert.equal(run.code, 9);
  assert.match(run.stderr, /CUDA was not started/);
});

test(
  'a mark of another process begins the trace; a signal goes to the command and what was recorded stays',
  NEEDS_FAKE,
  async (t) => {
    const dir = folder();
    const child = spawn(
      process.execPath,
      [MAIN, 'trace', '--out', dir, '--start-mark', 'go', '--', COPIES, '--loop', '60000'],
      { env: { ...FAKE_ENV }, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    t.after(() => child.kill('SIGKILL'));
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close');
    const rows = (table: string): number => {
      if (!existsSync(join(dir, 'manifest.json'))) return -1;
      const { tables } = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as {
        tables: { name: string; rows: number }[];
      };
      return tables.find(({ name }) => name === table)?.rows ?? -1;
    };
    const until = async (condition: () => boolean): Promise<void> => {
      for (
        let waited = 0;
        waited < 20_000 && !condition() && child.exitCode === null;
        waited += 50
      ) {
        await sleep(50);
      }
      assert.ok(condition(), stderr);
    };
    await until(() => rows('cuda.process') > 0);
    assert.equal(rows('cuda.memcpy'), 0);
    assert.equal(warpgauge(['mark', dir, 'go']).code, 0);
    await until(() => rows('cuda.memcpy') > 0);
    child.kill('SIGTERM');
    const [code] = await ended;
    // cuda_copies ends its loop at SIGTERM and then ends by itself.
    assert.equal(code, 0, stderr);
    assert.match(stderr, /HtoD/);
    const { end } = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { end: string };
    assert.equal(end, 'interrupted');
  },
);

test('--pm-sampling samples the counters beside, on the same clock', NEEDS_FAKE, async () => {
  const dir = folder();
  const run = warpgauge(
    ['trace', '--pm-sampling', '--json', '--out', dir, '--', COPIES, '--sleep', '100'],
    FAKE_ENV,
  );
  assert.equal(run.code, 0, run.stderr);
  const recording = await monitor.openRecording(dir);
  const times = async (name: string): Promise<bigint[]> => {
    const table = await recording.table(name);
    const pieces = table.getChild('time')?.data ?? [];
    return pieces.flatMap(({ values }) => [...(values as unknown as BigInt64Array)]);
  };
  const [copies, samples] = [await times('cuda.memcpy'), await times('pm-sampling')];
  assert.equal(
    copies.length,
    validated(run.stdout).directions.reduce((sum, one) => sum + one.copies, 0),
  );
  assert.ok(samples.length >= 50, `${samples.length} of about 100 at 1 kHz`);
  const inside = copies.filter(
    (time) => time >= (samples[0] ?? 0n) && time <= (samples.at(-1) ?? 0n),
  );
  assert.ok(inside.length > 0, 'no copy lies between the first sample and the last');
});
