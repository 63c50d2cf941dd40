import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ExportResult } from 'warpgauge/export';
import { exportStatus } from '#lib/view/exported';
import { recordRich } from '../export/recordings.js';
import { loadedModules, MAIN, warpgauge } from './run.js';

const LARGE = fileURLToPath(new URL('../children/record-large.js', import.meta.url));
const validate = new Ajv2020({ strict: true }).compile(
  JSON.parse(
    readFileSync(new URL('../../../../schemas/export-1.schema.json', import.meta.url), 'utf8'),
  ),
);
const root = await mkdtemp(join(tmpdir(), 'warpgauge-export-cli-'));
const dir = join(root, 'run');
before(() => recordRich(dir, 500, 50, 'rich@2.table'));
after(() => rm(root, { recursive: true, force: true }));

test('export writes the files, prints what they are, and --json is one document of its schema', async () => {
  const out = join(root, 'plain');
  const told = warpgauge(['export', dir, '--parquet', '--out', out]);
  assert.deepEqual([told.code, told.stderr], [0, '']);
  assert.match(told.stdout, /as parquet in .*plain\n/);
  assert.match(told.stdout, /^ *rich@2\.table +500 +1 .*Simulated/m);
  assert.ok((await stat(join(out, 'rich@2.table.parquet'))).size > 1000);
  const json = warpgauge([
    'export',
    dir,
    '--csv',
    '--table',
    'rich@2.table',
    '--table',
    'mark',
    '--json',
  ]);
  assert.deepEqual([json.code, json.stderr], [0, '']);
  const result = JSON.parse(json.stdout) as ExportResult;
  assert.ok(validate(result), JSON.stringify(validate.errors));
  assert.deepEqual(
    result.tables.map(({ name, rows, files }) => [name, rows, files.map(({ path }) => path)]),
    [
      ['rich@2.table', 500, [join(`${dir}-csv`, 'rich@2.table.csv')]],
      ['mark', 0, [join(`${dir}-csv`, 'mark.csv')]],
    ],
  );
});

test('a chrome trace is one file, which --json describes', async () => {
  const told = warpgauge(['export', dir, '--chrome-trace']);
  assert.deepEqual([told.code, told.stderr], [0, '']);
  assert.match(told.stdout, /run-chrome-trace\.json: [\d,]+ events, .*\n.*ui\.perfetto\.dev/);
  assert.match(told.stdout, /^ *rich@2\.table +500 +Simulated/m);
  const file = join(root, 'named.json');
  const json = warpgauge(['export', dir, '--chrome-trace', file, '--all', '--json']);
  const result = JSON.parse(json.stdout) as ExportResult;
  assert.ok(validate(result), JSON.stringify(validate.errors));
  assert.deepEqual([result.out, result.trace?.path], [file, file]);
  assert.equal(result.trace?.bytes, (await stat(file)).size);
  const again = warpgauge(['export', dir, '--chrome-trace', file]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /named\.json exists already \(ERR_OUTPUT\) - fix: .*--force/);
});

test('a torn recording is exported, and standard error says what is missing', async () => {
  const torn = join(root, 'torn');
  await cp(dir, torn, { recursive: true });
  const path = join(torn, 'rich@2.table.arrows');
  await truncate(path, (await stat(path)).size - 50);
  await truncate(join(torn, 'empty.arrows'), 0);
  const { code, stdout, stderr } = warpgauge(['export', torn, '--arrow', '--json']);
  assert.equal(code, 0);
  assert.equal(
    stderr,
    'warpgauge: rich@2.table: the recorder was cut off; exported are all whole batches (warpgauge recover mends the recording)\nwarpgauge: empty: nothing whole to export\n',
  );
  assert.ok(validate(JSON.parse(stdout)), JSON.stringify(validate.errors));
});

test('bad arguments and existing files get one line that says what to do', () => {
  for (const [args, message] of [
    [[dir], /one of --parquet, --csv, --arrow, --chrome-trace .*received "none"/],
    [
      [dir, '--csv', '--arrow'],
      /one of --parquet, --csv, --arrow, --chrome-trace .*received "--csv --arrow"/,
    ],
    [[dir, '--csv', '--from', '1s'], /--chrome-trace beside it for --from .*"--csv"/],
    [
      [dir, '--chrome-trace', 'a.json', '--out', 'b.json'],
      /one of --chrome-trace FILE and --out FILE/,
    ],
    [['--csv'], /missing required argument 'dir'/],
    [[dir, '--csv', '--table', 'rich'], /a table of .* but received "rich"/],
    [[dir, '--csv', '--out', ''], /a folder for out/],
    [[dir, '--xml'], /unknown option/],
  ] as const) {
    const { code, stdout, stderr } = warpgauge(['export', ...args]);
    assert.deepEqual([code, stdout], [2, ''], stderr);
    assert.match(stderr, message);
    assert.match(stderr, /^warpgauge: [^\n]+\n$/);
  }
  const out = join(root, 'exists');
  const args = ['export', dir, '--csv', '--out', out];
  assert.equal(warpgauge(args).code, 0);
  const again = warpgauge(args);
  assert.deepEqual([again.code, again.stdout], [1, '']);
  assert.match(
    again.stderr,
    /^warpgauge: [^\n]*exists[^\n]*\(ERR_OUTPUT\) - fix: [^\n]*--force[^\n]*\n$/,
  );
  assert.equal(warpgauge([...args, '--force']).code, 0);
});

test('Ctrl-C ends with 130 and leaves no half-written file', { timeout: 120_000 }, async () => {
  const large = join(root, 'large');
  const writer = spawn(process.execPath, [LARGE, large, '60']);
  await once(writer, 'exit');
  for (const format of ['parquet', 'csv']) {
    const out = join(root, `interrupted-${format}`);
    const child = spawn(process.execPath, [MAIN, 'export', large, `--${format}`, '--out', out]);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const exit = once(child, 'exit');
    while (child.exitCode === null) {
      const names = await readdir(out).catch((): string[] => []);
      if (names.includes(`large.${format}.part`)) break;
      await sleep(5);
    }
    child.kill('SIGINT');
    const [code] = await exit;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^warpgauge: The export was interrupted.*\(ERR_INTERRUPTED\)\n$/);
    const left = await readdir(out).catch((): string[] => []);
    assert.ok(!left.includes(`large.${format}`));
    assert.deepEqual(
      left.filter((name) => name.endsWith('.part')),
      [],
    );
  }
});

test('progress is for terminals, at most ten lines a second, and wiped at the end', () => {
  let text = '';
  let now = 0;
  const stream = (isTTY: boolean) => ({
    isTTY,
    columns: 30,
    write: (more: string) => {
      text += more;
    },
  });
  const status = exportStatus(stream(true), () => now);
  status.update({ table: 'vmstat', rowsDone: 500, rows: 1_000_000 });
  now = 50;
  status.update({ table: 'vmstat', rowsDone: 600, rows: 1_000_000 });
  now = 150;
  status.update({ table: 'vmstat', rowsDone: 999_999, rows: 1_000_000 });
  status.close();
  status.close();
  const wipe = '\r\u001b[2K';
  assert.equal(
    text,
    `${wipe}0 %  500 of 1,000,000 rows  v${wipe}99 %  999,999 of 1,000,000 ro${wipe}`,
  );
  text = '';
  const silent = exportStatus(stream(false), () => now);
  silent.update({ table: 'vmstat', rowsDone: 1, rows: 1 });
  silent.close();
  assert.equal(text, '');
});

test('only the format that is asked for is loaded', () => {
  const loads = (format: string) =>
    loadedModules([MAIN, 'export', dir, `--${format}`, '--force']).filter((file) =>
      /hyparquet-writer/.test(file),
    ).length;
  assert.equal(loads('csv'), 0);
  assert.ok(loads('parquet') > 0);
});
