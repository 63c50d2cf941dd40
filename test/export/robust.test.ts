import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Field, Int32, List, Schema } from 'warpgauge/arrow';
import { type ExportFormat, exportRecording } from 'warpgauge/export';
import { openRecording } from '#lib/monitor/recording/open-recording';
import { duckdb } from './duckdb.js';
import { recordRich, recordTables, tableInfo } from './recordings.js';

const RECORD = fileURLToPath(new URL('../children/record-fed.js', import.meta.url));
const LARGE = fileURLToPath(new URL('../children/record-large.js', import.meta.url));
const EXPORT = fileURLToPath(new URL('../children/export-peak.js', import.meta.url));
const FORMATS: readonly ExportFormat[] = ['parquet', 'csv', 'arrow'];

const root = await mkdtemp(join(tmpdir(), 'warpgauge-export-'));
const dir = join(root, 'run');
before(() => recordRich(dir, 1000, 50, 'rich'));
after(() => rm(root, { recursive: true, force: true }));

let folders = 0;
const folder = (): string => join(root, `out-${folders++}`);

test('a torn file gives all its whole batches and says so', async () => {
  const torn = join(root, 'torn');
  await cp(dir, torn, { recursive: true });
  const { size } = await stat(join(torn, 'rich.arrows'));
  await truncate(join(torn, 'rich.arrows'), size - 100);
  await writeFile(join(torn, 'empty.arrows'), '');
  for (const format of FORMATS) {
    const out = folder();
    const result = await exportRecording(torn, { format, out });
    const table = result.tables.find(({ name }) => name === 'rich');
    assert.deepEqual([table?.rows, table?.torn], [950, true]);
    assert.deepEqual(result.unreadable, ['empty']);
    assert.equal(existsSync(join(out, `empty.${format}`)), false);
  }
  const out = folder();
  await exportRecording(torn, { format: 'parquet', out });
  const [row] = await duckdb(`SELECT count(*)::INT AS n FROM '${join(out, 'rich.parquet')}'`);
  assert.equal(row?.['n'], 950);
});

test('after kill -9, and while a recorder still writes, what is whole is exported', async () => {
  const killed = join(root, 'killed');
  const child = spawn(process.execPath, [RECORD, killed, '200', '1']);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const running = await exportRecording(killed, { format: 'csv', out: folder() });
  assert.equal(running.running, true);
  assert.ok((running.tables.find(({ name }) => name === 'disk')?.rows ?? 0) >= 200);
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  const out = folder();
  const result = await exportRecording(killed, { format: 'parquet', out });
  const rows = (await openRecording(killed)).tables.find(({ name }) => name === 'disk')?.rows;
  const table = result.tables.find(({ name }) => name === 'disk');
  assert.deepEqual([result.running, table?.torn, table?.rows], [false, true, rows]);
  const [row] = await duckdb(`SELECT count(*)::INT AS n FROM '${join(out, 'disk.parquet')}'`);
  assert.equal(row?.['n'], rows);
});

test('files of an earlier export are refused; force replaces them, also more parts than now', async () => {
  const out = folder();
  await mkdir(out);
  await writeFile(join(out, 'notes.txt'), 'mine');
  await writeFile(join(out, 'richer.parquet'), 'of another table');
  await writeFile(join(out, 'rich.parquet.part'), 'of a killed export');
  const tables = ['rich'];
  await exportRecording(dir, { format: 'parquet', out, tables, rowsPerFile: 100 });
  await assert.rejects(exportRecording(dir, { format: 'parquet', out, tables }), {
    code: 'ERR_OUTPUT',
    message: /rich-00001\.parquet exists and 9 more/,
    fix: /--force/,
  });
  await exportRecording(dir, { format: 'parquet', out, tables: ['empty'] });
  await exportRecording(dir, { format: 'parquet', out, tables, force: true });
  assert.deepEqual((await readdir(out)).sort(), [
    'empty.parquet',
    'notes.txt',
    'rich.parquet',
    'richer.parquet',
  ]);
  assert.equal(await readFile(join(out, 'notes.txt'), 'utf8'), 'mine');
});

test('by default the files are beside the recording', async () => {
  const result = await exportRecording(`${dir}/`, { format: 'csv', tables: ['rich', 'rich'] });
  assert.equal(result.out, `${dir}-csv`);
  assert.deepEqual(await readdir(`${dir}-csv`), ['rich.csv']);
});

test('bad input is told before anything is written', async () => {
  const out = folder();
  const bad: readonly [Parameters<typeof exportRecording>, object][] = [
    [[root, { format: 'csv', out }], { code: 'ERR_RECORDING' }],
    [
      [dir, { format: 'xml' as 'csv', out }],
      { code: 'ERR_INVALID_ARGUMENT', message: /parquet, csv, arrow, chrome-trace for format/ },
    ],
    [
      [dir, { format: 'csv', out: '' }],
      { code: 'ERR_INVALID_ARGUMENT', message: /a folder for out/ },
    ],
    [
      [dir, { format: 'csv', out, tables: ['rih'] }],
      { code: 'ERR_INVALID_ARGUMENT', message: /rich.*received "rih".*rich/ },
    ],
    [
      [dir, { format: 'csv', out, rowsPerFile: 0 }],
      { code: 'ERR_INVALID_ARGUMENT', message: /rowsPerFile/ },
    ],
    [
      [dir, { format: 'csv', out, rowsPerFile: 1_000_001 }],
      { code: 'ERR_INVALID_ARGUMENT', message: /rowsPerFile/ },
    ],
    [[dir, { format: 'csv', out: '/proc/warpgauge/out' }], { code: 'ERR_OUTPUT' }],
    [[dir, { format: 'csv', out: join(dir, 'rich.arrows') }], { code: 'ERR_OUTPUT' }],
  ];
  for (const [args, error] of bad) await assert.rejects(exportRecording(...args), error);
  assert.equal(existsSync(out), false);
});

test('a column that a format has no place for, and a name that leads out of the folder', async () => {
  const list = join(root, 'list');
  const schema = new Schema([new Field('numbers', new List(new Field('item', new Int32())))]);
  await recordTables(list, [tableInfo('lists', schema)], []);
  for (const format of FORMATS) {
    const out = folder();
    await assert.rejects(exportRecording(list, { format, out }), {
      code: 'ERR_RECORDING',
      message: /column numbers of lists: its type List/,
      fix: /--table/,
    });
    await exportRecording(list, { format, out, tables: ['mark', 'state'] });
    assert.equal((await readdir(out)).length, 2);
  }
  const evil = join(root, 'evil');
  await cp(dir, evil, { recursive: true });
  const manifest = await readFile(join(evil, 'manifest.json'), 'utf8');
  await writeFile(
    join(evil, 'manifest.json'),
    manifest.replace('"name": "rich"', '"name": "../rich"'),
  );
  await assert.rejects(exportRecording(evil, { format: 'csv', out: folder() }), {
    code: 'ERR_RECORDING',
    message: /names of files/,
  });
});

test('progress reaches all rows; a signal ends the export between two pieces, with nothing half-written', async () => {
  const seen: number[] = [];
  await exportRecording(dir, {
    format: 'parquet',
    out: folder(),
    rowsPerFile: 100,
    onProgress: ({ rowsDone, rows }) => {
      assert.ok(rowsDone <= rows);
      seen.push(rowsDone / rows);
    },
  });
  assert.equal(seen.at(-1), 1);
  for (const format of FORMATS) {
    const abort = new AbortController();
    const out = folder();
    const end = exportRecording(dir, {
      format,
      out,
      tables: ['rich'],
      rowsPerFile: 100,
      signal: abort.signal,
      onProgress: ({ rowsDone }) => {
        if (rowsDone === 300) abort.abort();
      },
    });
    await assert.rejects(end, { code: 'ERR_INTERRUPTED' });
    // Two files were whole; the third was written but not yet named.
    const names = format === 'parquet' ? ['rich-00001.parquet', 'rich-00002.parquet'] : [];
    assert.deepEqual(existsSync(out) ? (await readdir(out)).sort() : [], names);
  }
});

test('a full disk is told; complete files stay and nothing half-written does', (t) => {
  for (const [format, size, kept] of [
    ['parquet', '48k', true],
    ['csv', '64k', false],
    ['arrow', '64k', false],
  ] as const) {
    const script =
      'mount -t tmpfs -o size="$6" none "$1" && "$2" "$3" "$4" "$5" "$1/out" 100; ls "$1"/out 2>&1';
    const place = folder();
    spawnSync('mkdir', [place]);
    const args = [
      '--mount',
      'sh',
      '-c',
      script,
      'sh',
      place,
      process.execPath,
      EXPORT,
      dir,
      format,
      size,
    ];
    const result = spawnSync('unshare', args, { encoding: 'utf8', timeout: 60_000 });
    if (/unshare failed|permission denied|not permitted/i.test(result.stderr) || result.error) {
      t.skip(`no private mount namespace here: ${result.stderr || result.error?.message}`);
      return;
    }
    const [told = '', ...left] = result.stdout.trim().split('\n');
    const { error } = JSON.parse(told) as { error: Record<string, unknown> };
    assert.equal(error['code'], 'ERR_OUTPUT', told);
    assert.equal(error['status'], 28);
    assert.match(String(error['message']), /no space left/);
    assert.match(String(error['fix']), /free some space/);
    if (!kept) continue;
    assert.match(String(error['message']), new RegExp(`\\(${left.length} complete files stay in `));
    assert.ok(left.length > 0 && left.every((name) => /^[\w-]+\.parquet$/.test(name)), left.join());
  }
});

test('memory does not grow with the recording: 150 MB take what 30 MB take', {
  timeout: 300_000,
}, async () => {
  const peak = (recording: string, format: ExportFormat): number => {
    const out = folder();
    const args = [EXPORT, recording, format, out];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    const told = JSON.parse(stdout || '{}') as { peakBytes?: number; rows?: number };
    assert.ok(told.peakBytes !== undefined && (told.rows ?? 0) > 0, stdout + stderr);
    spawnSync('rm', ['-r', out]);
    return told.peakBytes / 2 ** 20;
  };
  const [small, large] = [join(root, 'small'), join(root, 'large')];
  spawnSync(process.execPath, [LARGE, small, '30']);
  spawnSync(process.execPath, [LARGE, large, '150']);
  assert.ok((await stat(join(large, 'large.arrows'))).size > 140e6);
  for (const format of FORMATS) {
    const [of30, of150] = [peak(small, format), peak(large, format)];
    const told = `${format}: ${of30.toFixed(0)} MiB of 30 MB, ${of150.toFixed(0)} MiB of 150 MB`;
    assert.ok(of150 < 280, told);
    // Whatever kept the rows, or the output, would need 50 to 230 MiB more.
    assert.ok(of150 < Math.max(of30, 140) + 60, told);
  }
});
