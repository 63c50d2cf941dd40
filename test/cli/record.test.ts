import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import pl from 'nodejs-polars';
import { MAIN, warpgauge } from './run.js';

const root = mkdtempSync(join(tmpdir(), 'warpgauge-record-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const folder = (): string => join(root, String(folders++));

const VMSTAT = ['--source', 'vmstat:interval=10ms'];

function validate(name: string, document: unknown): void {
  const url = new URL(`../../../../schemas/${name}.schema.json`, import.meta.url);
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  const check = ajv.compile(JSON.parse(readFileSync(url, 'utf8')));
  assert.equal(check(document), true, JSON.stringify(check.errors));
}

interface ManifestLike {
  readonly end: string;
  readonly recorder: { readonly pid: number };
  readonly command: string[] | null;
  readonly tables: {
    name: string;
    file: string;
    rows: number;
    ticks: number | null;
    missed: number | null;
  }[];
}

const manifestOf = (dir: string): ManifestLike =>
  JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as ManifestLike;

const tableOf = (dir: string, name: string) =>
  manifestOf(dir).tables.find((table) => table.name === name);

/** A recording that runs until it is told; resolves when its folder has rows. */
async function running(
  t: TestContext,
  args: readonly string[],
  dir: string,
): Promise<{
  child: ChildProcess;
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}> {
  const child = spawn(process.execPath, [MAIN, 'record', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...texts }));
  for (let waited = 0; waited < 20_000 && child.exitCode === null; waited += 50) {
    if (existsSync(join(dir, 'manifest.json')) && (tableOf(dir, 'vmstat')?.rows ?? 0) > 0) break;
    await sleep(50);
  }
  return { child, ended };
}

test('rows and missed add up to the deadlines; manifest and summary keep to their schemas', () => {
  const dir = folder();
  const result = warpgauge(['record', '--out', dir, '--duration', '1s', ...VMSTAT]);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, /vmstat +10\.0 ms/);
  const vmstat = tableOf(dir, 'vmstat');
  assert.equal((vmstat?.rows ?? 0) + (vmstat?.missed ?? 0), 100);
  assert.equal(vmstat?.ticks, vmstat?.rows);
  validate('recording-1', manifestOf(dir));
  for (const { file, rows } of manifestOf(dir).tables) {
    assert.equal(pl.readIPCStream(readFileSync(join(dir, file))).height, rows, file);
  }
  const json = warpgauge(['show', dir, '--json']);
  assert.equal(json.code, 0, json.stderr);
  validate('recording-summary-1', JSON.parse(json.stdout));
  assert.equal(warpgauge(['show', dir]).stdout, result.stdout);
  assert.ok(warpgauge(['show', dir, '--all']).stdout.startsWith(result.stdout.slice(0, 80)));
  assert.equal(warpgauge(['environment', 'diff', dir, dir]).stdout, 'no difference\n');
  assert.match(warpgauge(['recover', dir]).stdout, /is whole/);
});

test('the values are those of the kernel', () => {
  const dir = folder();
  const read = (): number =>
    Number(/^pgfault (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1]);
  const before = read();
  assert.equal(warpgauge(['record', '--out', dir, '--duration', '200ms', ...VMSTAT]).code, 0);
  const after = read();
  const frame = pl.readIPCStream(readFileSync(join(dir, 'vmstat.arrows')));
  const faults = frame.getColumn('pgfault').toArray().map(Number);
  assert.ok(faults.length > 0);
  assert.ok(faults.every((value, at) => value >= (faults[at - 1] ?? before) && value <= after));
});

test('without --source: the default set, and what the machine lacks is told', () => {
  const dir = folder();
  const result = warpgauge(['record', '--out', dir, '--duration', '300ms']);
  assert.equal(result.code, 0, result.stderr);
  assert.ok((tableOf(dir, 'vmstat')?.rows ?? 0) > 0);
});

test('a COMMAND: its output, its exit code, its signal; 125 to 127 when there was none', () => {
  const run = (...command: string[]) => {
    const dir = folder();
    return { dir, ...warpgauge(['record', '--out', dir, ...VMSTAT, '--', ...command]) };
  };
  const seven = run('sh', '-c', 'echo mine; sleep 0.1; exit 7');
  assert.equal(seven.code, 7, seven.stderr);
  // Standard output is the command's; the summary is on standard error.
  assert.equal(seven.stdout, 'mine\n');
  assert.match(seven.stderr, /the command ended[\s\S]*vmstat/);
  assert.equal(manifestOf(seven.dir).end, 'command');
  assert.deepEqual(manifestOf(seven.dir).command, ['sh', '-c', 'echo mine; sleep 0.1; exit 7']);
  assert.equal(run('true').code, 0);
  assert.equal(run('sh', '-c', 'kill -TERM $$').code, 143);
  assert.equal(run('sh', '-c', 'kill -KILL $$').code, 137);
  // Options of the command are its own.
  assert.equal(run('sh', '-c', 'echo "$1"', 'sh', '--out').stdout, '--out\n');
  const missing = run('warpgauge-no-such-command');
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /^warpgauge: [^\n]+\n$/);
  assert.equal(existsSync(missing.dir), false);
  const text = folder();
  writeFileSync(text, 'no program');
  assert.equal(run(text).code, 126);
  assert.equal(run('/').code, 126);
  assert.equal(warpgauge(['record', '--source', 'nonsense', '--', 'true']).code, 125);
  assert.equal(warpgauge(['record', '--pid', '1', '--', 'true']).code, 125);
});

test('a COMMAND that cannot be recorded does not run', () => {
  const dir = folder();
  const trace = folder();
  const result = warpgauge(['record', '--out', '/proc/nowhere', ...VMSTAT, '--', 'touch', trace]);
  assert.equal(result.code, 125);
  assert.match(result.stderr, /ERR_OUTPUT/);
  assert.equal(existsSync(trace), false);
  assert.equal(warpgauge(['record', '--out', dir, ...VMSTAT, '--', 'touch', trace]).code, 0);
  assert.equal(existsSync(trace), true);
});

test('Ctrl-C ends a recording properly: 130, all rows, marked as interrupted', async (t) => {
  const dir = folder();
  const { child, ended } = await running(t, ['--out', dir, ...VMSTAT], dir);
  assert.equal(warpgauge(['mark', dir, 'half-way']).code, 0);
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 130, stderr);
  assert.match(stdout, /interrupted/);
  assert.match(stdout, /half-way/);
  assert.equal(manifestOf(dir).end, 'interrupted');
  assert.equal(warpgauge(['recover', dir]).stdout, `${dir} is whole; nothing was changed\n`);
  const late = warpgauge(['mark', dir, 'late']);
  assert.equal(late.code, 1);
  assert.match(late.stderr, /ERR_RECORDING/);
});

test('a signal is passed on to the COMMAND, which decides; its exit code counts', async (t) => {
  const dir = folder();
  const script = 'trap "exit 9" TERM; while :; do sleep 0.05; done';
  const { child, ended } = await running(
    t,
    ['--out', dir, ...VMSTAT, '--', 'sh', '-c', script],
    dir,
  );
  child.kill('SIGTERM');
  assert.equal((await ended).code, 9);
  assert.equal(manifestOf(dir).end, 'interrupted');
});

test('after kill -9 the recording is read, and after recover by every other reader', async (t) => {
  const dir = folder();
  const { child, ended } = await running(t, ['--out', dir, ...VMSTAT], dir);
  await sleep(1200);
  const busy = warpgauge(['recover', dir]);
  assert.equal(busy.code, 1, 'a recording that is being written is not touched');
  child.kill('SIGKILL');
  await ended;
  const shown = warpgauge(['show', dir]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /warpgauge recover/);
  assert.equal(warpgauge(['recover', dir]).code, 0);
  const rows = tableOf(dir, 'vmstat')?.rows ?? 0;
  assert.ok(rows >= 100, `${rows}`);
  for (const table of manifestOf(dir).tables) {
    assert.equal(pl.readIPCStream(readFileSync(join(dir, table.file))).height, table.rows);
  }
});

test('a flight recorder writes on SIGUSR2 and at its end', async (t) => {
  const dir = folder();
  const args = [MAIN, 'record', '--out', dir, '--last', '500ms', ...VMSTAT];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  while (!existsSync(dir)) await sleep(20);
  await sleep(2500);
  assert.deepEqual(readdirSync(dir), []);
  child.kill('SIGUSR2');
  const [text] = (await once(child.stderr, 'data')) as [Buffer];
  assert.equal(text.toString(), `wrote ${join(dir, '000001')}\n`);
  const rows = tableOf(join(dir, '000001'), 'vmstat')?.rows ?? 0;
  // Half a second, and a few batches of 100 ms more.
  assert.ok(rows >= 40 && rows <= 100, `${rows}`);
  child.kill('SIGINT');
  assert.deepEqual(await ended, [130, null]);
  assert.deepEqual(readdirSync(dir), ['000001', '000002']);
});

test('--rotate makes one recording per part', () => {
  const dir = folder();
  const args = ['--out', dir, '--duration', '4s', '--rotate', '1s', '--keep', '2', ...VMSTAT];
  const result = warpgauge(['record', ...args]);
  assert.equal(result.code, 0, result.stderr);
  const parts = readdirSync(dir);
  assert.equal(parts.length, 2);
  for (const part of parts) assert.equal(warpgauge(['show', join(dir, part)]).code, 0);
  const whole = warpgauge(['show', dir]);
  assert.equal(whole.code, 1);
  assert.match(whole.stderr, /holds 2 of them/);
});

test('--out - is one Arrow stream, --jsonl rows; a reader that goes away is no failure', () => {
  const stream = spawnSync(
    process.execPath,
    [MAIN, 'record', '--out', '-', '--duration', '300ms', ...VMSTAT],
    { maxBuffer: 1 << 26 },
  );
  assert.equal(stream.status, 0, stream.stderr.toString());
  assert.equal(stream.stderr.toString(), '');
  assert.ok(pl.readIPCStream(stream.stdout).height >= 20);
  const rows = warpgauge(['record', '--jsonl', '--duration', '300ms', ...VMSTAT]);
  assert.equal(rows.code, 0, rows.stderr);
  const lines = rows.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.ok(lines.length >= 20);
  assert.ok(
    lines.every(({ table, time }) => table === 'vmstat' && /^20\d\d-.*\.\d{9}Z$/.test(time)),
  );
  const { status } = spawnSync('sh', [
    '-c',
    `"$1" "$2" record --jsonl --duration 20s --source vmstat:interval=1ms | head -n 3 > /dev/null`,
    'sh',
    process.execPath,
    MAIN,
  ]);
  assert.equal(status, 0);
});

test('a process or a cgroup that is not there is told, and nothing is left behind', () => {
  const dir = folder();
  // Above the largest pid that a kernel gives.
  const gone = warpgauge(['record', '--out', dir, '--duration', '1s', '--pid', '4999999']);
  assert.equal(gone.code, 1, gone.stderr);
  assert.match(gone.stderr, /4999999.*\(ERR_GONE\)/);
  const cgroup = warpgauge([
    'record',
    '--out',
    dir,
    '--duration',
    '1s',
    '--cgroup',
    '/no/such/cgroup',
  ]);
  assert.equal(cgroup.code, 1, cgroup.stderr);
  assert.match(cgroup.stderr, /cgroup/);
  assert.equal(existsSync(dir), false);
});

test('--pid watches a process, a COMMAND its tree', () => {
  const dir = folder();
  const args = ['--out', dir, '--duration', '500ms', '--pid', String(process.pid)];
  assert.equal(warpgauge(['record', ...args]).code, 0);
  const pids = (of: string): number[] =>
    pl
      .readIPCStream(readFileSync(join(of, 'process.arrows')))
      .getColumn('pid')
      .toArray()
      .map(Number);
  assert.deepEqual([...new Set(pids(dir))], [process.pid]);
  const tree = folder();
  const script = 'sleep 1 & sleep 1; wait';
  assert.equal(warpgauge(['record', '--out', tree, '--', 'sh', '-c', script]).code, 0);
  assert.equal(new Set(pids(tree)).size, 3, 'the shell and its two children');
});

test('a full standard output is a failure', { skip: !existsSync('/dev/full') }, () => {
  const script =
    '"$1" "$2" record --jsonl --duration 300ms --source vmstat:interval=10ms > /dev/full';
  const args = ['-c', script, 'sh', process.execPath, MAIN];
  const { status, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^warpgauge: cannot write to standard output[^\n]+\n$/);
});

test('a recording that fails does not end its COMMAND', (t) => {
  const script =
    'mount -t tmpfs -o size=400k none "$1" && cd "$1" && exec "$2" "$3" record --out run --source vmstat:interval=1ms -- sh -c "sleep 6; echo done"';
  const args = ['--mount', 'sh', '-c', script, 'sh', root, process.execPath, MAIN];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8' });
  if (status === null || /unshare failed|not permitted/i.test(stderr)) {
    t.skip(`no private mount namespace here: ${stderr}`);
    return;
  }
  assert.equal(stdout, 'done\n', stderr);
  assert.equal(status, 125);
  assert.match(stderr, /no space left on device.*ERR_OUTPUT/);
});

test('bad input gets one line that says what was expected', () => {
  const cases: [string[], number, RegExp][] = [
    [['--source', 'vmstatt'], 2, /did you mean vmstat\? - fix: warpgauge sources\n$/],
    [['--source', 'vmstat:interval=0'], 2, /50us to 24h/],
    [['--source', 'vmstat:intervall=1s'], 2, /did you mean interval\?/],
    [['--duration', '0s'], 2, /above 0/],
    [['--duration', 'long'], 2, /--duration/],
    [['--pid', 'me'], 2, /--pid/],
    [['--keep', '2'], 2, /--rotate/],
    [['--last', '1s', '--rotate', '1s'], 2, /--rotate/],
    [['--jsonl', '--out', 'x'], 2, /--out/],
    [['--out', '-', '--force'], 2, /--force/],
    [['--max-bytes', 'much'], 2, /--max-bytes/],
    [['--pid', '1', '--cgroup', '/'], 2, /--pid and --cgroup/],
    [['--nonsense'], 2, /--nonsense/],
  ];
  for (const [args, code, message] of cases) {
    const result = warpgauge(['record', ...args]);
    assert.equal(result.code, code, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, /^warpgauge: [^\n]+\n$/, args.join(' '));
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
  }
});

test('a folder that exists is refused with the way out', () => {
  const dir = folder();
  const record = (...more: string[]) =>
    warpgauge(['record', '--out', dir, '--duration', '50ms', ...VMSTAT, ...more]);
  assert.equal(record().code, 0);
  const refused = record();
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^warpgauge: [^\n]+\(ERR_OUTPUT\) - fix: [^\n]*--force[^\n]*\n$/);
  assert.equal(record('--force').code, 0);
});

test('show, recover and mark of what is no recording', () => {
  for (const args of [
    ['show', root],
    ['recover', root],
    ['mark', root, 'x'],
  ]) {
    const result = warpgauge(args);
    assert.equal(result.code, 1, args.join(' '));
    assert.match(result.stderr, /ERR_RECORDING/);
  }
  assert.equal(warpgauge(['mark', root]).code, 2);
});

test('sources lists tables and fields with what they cost here', () => {
  const json = warpgauge(['sources', '--json']);
  assert.equal(json.code, 0, json.stderr);
  const list = JSON.parse(json.stdout);
  validate('sources-1', list);
  const vmstat = list.sources.find(({ name }: { name: string }) => name === 'vmstat');
  assert.equal(vmstat.unavailable, null);
  const [table] = vmstat.tables;
  assert.ok(table.samples > 5);
  assert.ok(table.costP50Ns > 0 && table.costP99Ns >= table.costP50Ns);
  assert.ok(table.highestHz > 10 && table.highestHz <= 20_000);
  assert.ok(table.fields.some(({ name }: { name: string }) => name === 'pgfault'));
  for (const { name, unavailable } of list.sources) {
    assert.notEqual(unavailable?.code, 'ERR_INVALID_ARGUMENT', `${name}: ${unavailable?.message}`);
  }
  const perf = list.sources.find(({ name }: { name: string }) => name === 'perf');
  const memory = list.sources
    .find(({ name }: { name: string }) => name === 'process')
    .tables.find(({ name }: { name: string }) => name === 'process.memory');
  assert.ok(memory.costP50Ns > 0, 'a table that ticks once a second has a cost too');
  if (perf.unavailable === null) {
    assert.ok(perf.tables[0].fields.some(({ name }: { name: string }) => name === 'page_faults'));
  }
  const text = warpgauge(['sources']);
  assert.equal(text.code, 0);
  assert.match(text.stdout, /pgfault/);
});

test('10 kHz beside slower sources: rows and missed are the deadlines, in every table', (t) => {
  const dir = folder();
  const perf = 'perf:events=page-faults+context-switches,interval=100us';
  const args = ['--source', perf, ...VMSTAT, '--source', 'hugepages:interval=100ms'];
  const result = warpgauge(['record', '--out', dir, '--duration', '1s', ...args]);
  if (/ERR_PERMISSION|ERR_UNAVAILABLE/.test(result.stderr)) {
    t.skip(result.stderr);
    return;
  }
  assert.equal(result.code, 0, result.stderr);
  for (const [name, deadlines] of [
    ['perf', 10_000],
    ['vmstat', 100],
    ['hugepages', 10],
  ] as const) {
    const table = tableOf(dir, name);
    assert.equal((table?.ticks ?? 0) + (table?.missed ?? 0), deadlines, name);
    const frame = pl.readIPCStream(readFileSync(join(dir, `${name}.arrows`)));
    assert.equal(frame.height, table?.rows, name);
  }
  assert.equal(tableOf(dir, 'perf')?.rows, tableOf(dir, 'perf')?.ticks);
});
