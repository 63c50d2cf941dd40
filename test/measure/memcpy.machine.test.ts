// The requirements R1-R10 of the benchmark on the host proxy, on this machine. Serial: it times, and it touches pools.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { NativeSampleSpec } from '#lib/addon';
import { CopyChild } from '#lib/measure/memcpy/copy-child';
import { exitCode, runMemcpy } from '#lib/measure/memcpy/memcpy';
import type { MemcpyOptions } from '#lib/measure/memcpy/options';
import type { Cell, MemcpyDocument } from '#lib/measure/memcpy/types';
import { GiB, KiB, MiB } from '#lib/units';
import { whyNoZeroPage } from './zero-page.ts';

const CLI = fileURLToPath(import.meta.resolve('#lib/cli/main'));
const POOL_2M = '/sys/kernel/mm/hugepages/hugepages-2048kB';
const THP = '/sys/kernel/mm/transparent_hugepage/enabled';
const root = process.getuid?.() === 0;
const asRoot = root ? {} : { skip: 'needs root' };
const number = (path: string): number => Number(readFileSync(path, 'utf8'));
const pool = (): number[] =>
  ['nr_hugepages', 'free_hugepages', 'surplus_hugepages', 'resv_hugepages'].map((f) =>
    number(`${POOL_2M}/${f}`),
  );

const poolBefore = existsSync(POOL_2M) ? number(`${POOL_2M}/nr_hugepages`) : null;
const thpBefore = existsSync(THP)
  ? (/\[(\w+)\]/.exec(readFileSync(THP, 'utf8'))?.[1] ?? null)
  : null;
after(() => {
  if (!root) return;
  if (poolBefore !== null) writeFileSync(`${POOL_2M}/nr_hugepages`, String(poolBefore));
  if (thpBefore !== null) writeFileSync(THP, thpBefore);
});

const small: MemcpyOptions = {
  backend: 'host',
  sizes: [8 * MiB],
  pages: ['4k', 'thp'],
  pins: ['none'],
  directions: ['HtoD', 'DtoH'],
  blocks: 3,
  seed: 1,
};
const find = (document: MemcpyDocument, id: string): Cell => {
  const cell = document.cells.find((candidate) => candidate.id === id);
  assert.ok(cell, `no cell ${id} among ${document.cells.map((c) => c.id).join(' ')}`);
  return cell;
};
const bytes = 8 * MiB;

test('R1: every measured cell is proven on the pages asked for, all of it', async () => {
  const result = await runMemcpy(small);
  assert.equal(exitCode(result), 0);
  for (const cell of result.cells.filter((c) => c.status === 'ok')) {
    const kb = String(cell.page.requested_kb);
    assert.equal(cell.page.verified_bytes_by_kb?.[kb], bytes, cell.id);
    assert.equal(cell.page.zero_page_bytes, 0);
    assert.match(cell.page.method ?? '', /PAGEMAP_SCAN|smaps/);
    for (const sample of cell.samples) {
      assert.equal(sample.page_before?.absent_bytes, cell.state === 'cold' ? bytes : 0, cell.id);
    }
  }
});

test('R1: under PR_SET_THP_DISABLE every thp cell is unavailable and none is ok', () => {
  const prctl =
    'import ctypes,os,sys; ctypes.CDLL(None).prctl(41,1,0,0,0); os.execv(sys.argv[1], sys.argv[1:])';
  const run = spawnSync(
    'python3',
    [
      '-c',
      prctl,
      process.execPath,
      CLI,
      'bench',
      'memcpy',
      '--backend',
      'host',
      '--pages',
      '4k,thp',
      '--sizes',
      '4MiB',
      '--blocks',
      '2',
      '--json',
      '--quiet',
    ],
    { encoding: 'utf8' },
  );
  assert.equal(run.status, 0, run.stderr);
  const result = JSON.parse(run.stdout) as MemcpyDocument;
  const thp = result.cells.filter((cell) => cell.kind === 'thp' && cell.legal);
  assert.ok(thp.length > 0);
  for (const cell of thp) {
    assert.equal(cell.status, 'unavailable', cell.id);
    assert.equal(cell.error?.code, 'ERR_THP_DISABLED');
  }
  assert.ok(result.cells.some((cell) => cell.kind === '4k' && cell.status === 'ok'));
});

test('R1: with THP enabled=always the 4k cells are still on 4 KB pages', {
  ...(root && thpBefore !== null ? {} : { skip: 'needs root and THP' }),
}, async () => {
  writeFileSync(THP, 'always');
  try {
    const result = await runMemcpy(small);
    for (const cell of result.cells.filter((c) => c.kind === '4k' && c.status === 'ok')) {
      assert.equal(cell.page.verified_bytes_by_kb?.['4'], bytes, cell.id);
    }
  } finally {
    writeFileSync(THP, thpBefore ?? 'madvise');
  }
});

test('R2: without pool pages the hugetlb cells are unavailable with knob and command, and the run is sound', async (t) => {
  const free = (kb: number) => {
    const dir = `/sys/kernel/mm/hugepages/hugepages-${kb}kB`;
    return existsSync(dir) ? number(`${dir}/free_hugepages`) - number(`${dir}/resv_hugepages`) : 0;
  };
  if (free(2048) >= 4 || free(1048576) >= 1) return t.skip('somebody holds free huge pages');
  const result = await runMemcpy({ ...small, pages: ['2m', '1g'] });
  assert.equal(exitCode(result), 0);
  for (const cell of result.cells.filter((c) => (c.kind === '2m' || c.kind === '1g') && c.legal)) {
    assert.equal(cell.status, 'unavailable');
    const kb = cell.kind === '2m' ? 2048 : 1048576;
    const hasPool = existsSync(`/sys/kernel/mm/hugepages/hugepages-${kb}kB`);
    const code = hasPool ? /^ERR_POOL_(EMPTY|SHORT)$/ : /^ERR_PAGE_KIND_UNSUPPORTED$/;
    assert.match(cell.error?.code ?? '', code);
    if (hasPool) assert.match(cell.reason ?? '', /nr_hugepages/);
    assert.match(cell.fix ?? '', /hugepages/);
  }
});

test('R3: a run whose sources are not written fails and says zero page', async (t) => {
  const why = await whyNoZeroPage();
  if (why !== false) return t.skip(why);
  const result = await runMemcpy({
    ...small,
    directions: ['HtoD'],
    states: ['warm'],
    hooks: { fill: false },
  });
  assert.equal(exitCode(result), 1);
  for (const cell of result.cells.filter((c) => c.legal && c.kind !== '4k-split')) {
    assert.equal(cell.status, 'failed', cell.id);
    assert.equal(cell.error?.code, 'ERR_ZERO_PAGES');
    assert.match(cell.reason ?? '', /zero page/);
  }
});

test('R4: cold faults are bytes/page, warm ones at most 2', asRoot, async () => {
  const result = await runMemcpy({
    ...small,
    sizes: [64 * MiB],
    pages: ['4k', 'thp', '2m', '1g'],
    directions: ['DtoH'],
    reserve: true,
  });
  const expected = { '4k': 16384, thp: 32, '2m': 32, '1g': 1 } as const;
  for (const [kind, faults] of Object.entries(expected)) {
    const cold = find(result, `dtoh/none/cold/${kind}/${64 * MiB}`);
    if (kind === '1g' && cold.status === 'unavailable') continue; // no contiguous memory left
    assert.equal(cold.status, 'ok', cold.reason ?? '');
    for (const sample of cold.samples)
      assert.ok(
        Math.abs(sample.minflt_thread - faults) <= 2,
        `${cold.id}: ${sample.minflt_thread}`,
      );
    const warm = find(result, `dtoh/none/warm/${kind}/${64 * MiB}`);
    for (const sample of warm.samples.filter((s) => s.valid))
      assert.ok(sample.minflt_thread <= 2, warm.id);
  }
});

test('R5: pinning a cold buffer shows no perf faults, all rusage faults, and the label', async (t) => {
  const result = await runMemcpy({
    ...small,
    directions: ['HtoD'],
    states: ['cold'],
    pins: ['register'],
    pages: ['4k'],
  });
  const cell = find(result, `htod/register/cold/4k/${bytes}`);
  if (cell.status === 'unavailable') return t.skip(cell.reason ?? '');
  assert.equal(cell.metric, 'register');
  for (const sample of cell.samples) {
    if (sample.faults_perf !== null) assert.equal(sample.faults_perf, 0);
    assert.equal(sample.minflt_thread, 2048);
  }
  assert.ok(cell.labels.includes('faults-in-pinning'), cell.labels.join());
});

test('R6: one seed, one order; raw samples are always there', async () => {
  const order = async () => {
    const result = await runMemcpy(small);
    return result.cells
      .flatMap((cell) => cell.samples.map((sample) => [sample.seq, cell.id] as const))
      .sort((a, b) => a[0] - b[0])
      .map(([, id]) => id);
  };
  const first = await order();
  assert.deepEqual(await order(), first);
  assert.equal(first.length, 3 * 8, 'HtoD warm 3 kinds, DtoH cold 2, DtoH warm 3');
});

test('R8: a dropped page fails the run with its offset, in any direction and kind', async () => {
  const pages = [0, 1023, bytes / 4096 - 1];
  for (const page of pages) {
    for (const prefix of [
      'htod/none/warm/4k/',
      'dtoh/none/cold/thp/',
      'dtoh/none/warm/4k-split/',
    ]) {
      const result = await runMemcpy({ ...small, hooks: { drop: { cell: prefix, page } } });
      assert.equal(exitCode(result), 1);
      const cell = find(result, `${prefix}${bytes}`);
      assert.equal(cell.status, 'failed');
      assert.equal(cell.error?.code, 'ERR_DATA_MISMATCH');
      assert.match(cell.reason ?? '', new RegExp(`offset ${page * 4096} \\(4 KB page ${page} `));
      // The others are none the worse.
      assert.equal(find(result, `dtoh/none/cold/4k/${bytes}`).status, 'ok');
    }
  }
});

test('the flush guards against the cache: without it a warm copy is served from there', async (t) => {
  const median = async (cache: 'flushed' | 'hot') => {
    const result = await runMemcpy({
      ...small,
      sizes: [MiB],
      pages: ['4k'],
      states: ['warm'],
      cache,
      blocks: 12,
    });
    return find(result, `htod/none/warm/4k/${MiB}`).stats?.median_ns ?? Number.NaN;
  };
  // Others on the same processor empty its cache too, for seconds at a time: then both are the same.
  const ratios: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    ratios.push((await median('hot')) / (await median('flushed')));
    t.diagnostic(`hot over flushed: ${ratios.map((r) => r.toFixed(2)).join(', ')}`);
    if ((ratios.at(-1) ?? 1) < 0.8) return;
  }
  assert.fail(`the flush changed nothing: ${ratios.join(', ')}`);
});

test('conditioning is a phase of every cold sample, and of none when it is switched off', async () => {
  const on = await runMemcpy({ ...small, states: ['cold'], directions: ['DtoH'] });
  const off = await runMemcpy({
    ...small,
    states: ['cold'],
    directions: ['DtoH'],
    hooks: { conditioning: false },
  });
  for (const sample of on.cells.flatMap((cell) => cell.samples))
    assert.ok((sample.phases_ns.condition ?? 0) > 0);
  for (const sample of off.cells.flatMap((cell) => cell.samples))
    assert.equal(sample.phases_ns.condition, null);
  assert.equal(off.design.conditioning, false);
});

test('R7: without conditioning the first touch of memory that the hypervisor took back is slower', async (t) => {
  if (!existsSync('/sys/module/page_reporting'))
    return t.skip('no page reporting: memory never leaves this machine');
  const spec: NativeSampleSpec = {
    op: 'touch',
    pin: 'none',
    state: 'cold',
    kind: 'thp',
    bytes: GiB,
    patternSeed: 1,
    numaNode: -1,
    condition: false,
    fill: true,
    flushBytes: 0,
    dropPage: -1,
    stretch: 0,
    witness: false,
  };
  const first = async (condition: boolean): Promise<number> => {
    await sleep(12_000); // free memory is reported to the hypervisor after some seconds
    const child = await CopyChild.start({
      cpu: -1,
      backend: { backend: 'host', device: 0, cudaPath: '', nvmlPath: '' },
    });
    try {
      return (await child.sample({ ...spec, condition })).hostNs;
    } finally {
      await child.close();
    }
  };
  const ratios: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    ratios.push((await first(false)) / (await first(true)));
    t.diagnostic(`unconditioned over conditioned: ${ratios.map((r) => r.toFixed(2)).join(', ')}`);
    if ((ratios.at(-1) ?? 0) > 1.3) return;
  }
  assert.fail(`conditioning guarded against nothing: ${ratios.join(', ')}`);
});

test('R7: cold thp at 1 GiB is steady, or carries bimodal and no verdict', async () => {
  const result = await runMemcpy({
    ...small,
    sizes: [GiB],
    directions: ['DtoH'],
    states: ['cold'],
    blocks: 10,
  });
  const stats = find(result, `dtoh/none/cold/thp/${GiB}`).stats;
  assert.ok(stats);
  const line = result.comparisons.find((c) => c.kind === 'thp' && c.bytes === GiB);
  assert.ok(
    stats.mad_rel < 0.1 || (stats.bimodal && line?.verdict === 'none'),
    JSON.stringify({ ...stats, verdict: line?.verdict }),
  );
});

test('a child that dies ends its cell only: the others go on and no finished sample is lost', async () => {
  const result = await runMemcpy({
    ...small,
    hooks: { kill: { cell: 'dtoh/none/cold/thp/', block: 1 } },
  });
  const killed = find(result, `dtoh/none/cold/thp/${bytes}`);
  assert.deepEqual(
    killed.samples.map((sample) => sample.block),
    [0, 2],
  );
  for (const cell of result.cells.filter((c) => c.legal && c !== killed && c.status === 'ok')) {
    assert.deepEqual(
      cell.samples.map((sample) => sample.block),
      [0, 1, 2],
      cell.id,
    );
  }
  assert.ok(
    result.warnings.some((warning) => /died of SIGKILL/.test(warning)),
    result.warnings.join('\n'),
  );
});

test('an interrupted run keeps what it has and says so', async () => {
  const abort = new AbortController();
  let seen = 0;
  const result = await runMemcpy({
    ...small,
    blocks: 50,
    signal: abort.signal,
    onProgress: (progress) => {
      if (progress.stage === 'measure' && ++seen === 20) abort.abort();
    },
  });
  assert.equal(exitCode(result), 130);
  assert.equal(result.interrupted, true);
  assert.equal(result.complete, false);
  assert.equal(result.design.stopped_by, 'interrupt');
  const samples = [...result.cells, ...result.calibrations].flatMap((item) => item.samples);
  assert.ok(samples.length >= 18 && samples.length < 25, String(samples.length));
});

test('a run that is interrupted before its first sample leaves no child behind', async () => {
  const children = (): string =>
    readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
  const before = children();
  const result = await runMemcpy({ ...small, blocks: 1, signal: AbortSignal.abort() });
  assert.equal(exitCode(result), 130);
  assert.equal(children(), before);
});

const mayMount = spawnSync('unshare', ['-m', 'true']).status === 0;
const withMounts = mayMount ? {} : { skip: 'needs the right to mount in a namespace' };

/** Runs the command line in a mount namespace of its own, after `prepare`. */
function unshared(prepare: string, ...args: string[]) {
  const script = `${prepare}; exec "$0" "$@"`;
  return spawnSync(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-ec', script, process.execPath, CLI, ...args],
    { encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
}
const quick =
  '--backend host --sizes 64KiB --pins none --directions DtoH --blocks 1 --quiet --json';

test('--reserve where the kernel has no pools is no failure: rows say why', withMounts, () => {
  const run = unshared(
    'mount -t tmpfs tmpfs /sys/kernel/mm',
    ...`bench memcpy ${quick} --pages 2m,1g --reserve`.split(' '),
  );
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stderr, /no hugetlb pool has to grow/);
  assert.ok((JSON.parse(run.stdout) as MemcpyDocument).cells.some((cell) => cell.status === 'ok'));
});

test('a disk that is full after the run costs the folder, never the result', withMounts, () => {
  const out = mkdtempSync(join(tmpdir(), 'warpgauge-full-'));
  try {
    const run = unshared(
      `mount -t tmpfs -o size=16k tmpfs ${out}`,
      ...`bench memcpy ${quick} --pages 4k --out ${out}/result`.split(' '),
    );
    assert.equal(run.status, 1, run.stderr);
    assert.match(run.stderr, /no space left on the device/);
    assert.equal((JSON.parse(run.stdout) as MemcpyDocument).schema, 'warpgauge/memcpy/1');
  } finally {
    rmSync(out, { recursive: true });
  }
});

test('a closed terminal gives reserved pages back', asRoot, async () => {
  const before = pool();
  // More than the pool has free, so that it has to grow.
  const size = `${2 * ((before[1] ?? 0) + 8)}MiB`;
  const options = `--backend host --sizes ${size} --pages 2m --pins none --budget 60s --reserve`;
  const run = spawn(process.execPath, [CLI, 'bench', 'memcpy', ...options.split(' ')], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  const ended = new Promise((resolve) => run.once('exit', resolve));
  while (pool()[0] === before[0] && run.exitCode === null) await sleep(20);
  run.kill('SIGHUP');
  assert.equal(await ended, 130);
  assert.deepEqual(pool(), before);
});

test('runs are fresh processes with blocks of their own', async () => {
  const result = await runMemcpy({ ...small, runs: 2, runIntervalMs: 10, blocks: 2 });
  const cell = find(result, `dtoh/none/cold/4k/${bytes}`);
  assert.deepEqual(
    cell.samples.map((sample) => [sample.run, sample.block]),
    [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ],
  );
});

test(
  'R10: pools are as before after the end, Ctrl-C, and kill -9 of the child',
  asRoot,
  async () => {
    const before = pool();
    const args = [
      'bench',
      'memcpy',
      '--backend',
      'host',
      '--pages',
      '4k,2m',
      '--sizes',
      '32MiB',
      '--reserve',
      '--json',
      '--quiet',
      '--blocks',
    ];
    const end = spawnSync(process.execPath, [CLI, ...args, '2'], { encoding: 'utf8' });
    assert.equal(end.status, 0, end.stderr);
    const result = JSON.parse(end.stdout) as MemcpyDocument;
    assert.ok(
      result.reserved.every((entry) => entry.returned === entry.pages),
      JSON.stringify(result.reserved),
    );
    assert.equal(find(result, `dtoh/none/cold/2m/${32 * MiB}`).status, 'ok');
    assert.deepEqual(pool(), before);

    for (const whom of ['SIGINT to the parent', 'SIGKILL to the child'] as const) {
      const run = spawn(process.execPath, [CLI, ...args, '500'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      run.stdout.on('data', (text) => {
        output += text;
      });
      await sleep(2500);
      if (whom === 'SIGINT to the parent') run.kill('SIGINT');
      else {
        const child = readdirSync('/proc').find((pid) => {
          try {
            return (
              readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] ===
              String(run.pid)
            );
          } catch {
            return false;
          }
        });
        assert.ok(child, 'the copying child was not found');
        process.kill(Number(child), 'SIGKILL');
        await sleep(500);
        run.kill('SIGINT');
      }
      const code = await new Promise((resolve) => run.once('close', resolve));
      assert.equal(code, 130, whom);
      assert.equal((JSON.parse(output) as MemcpyDocument).interrupted, true, whom);
      assert.deepEqual(pool(), before, whom);
    }
  },
);

test('memory beyond 60 % of what is available is refused per cell', async () => {
  const available =
    Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * KiB;
  const large = Math.ceil((0.7 * available) / GiB) * GiB;
  const result = await runMemcpy({
    ...small,
    sizes: [MiB, large],
    pages: ['4k'],
    directions: ['DtoH'],
    states: ['cold'],
    blocks: 1,
  });
  assert.equal(find(result, `dtoh/none/cold/4k/${large}`).error?.code, 'ERR_TOO_LARGE');
  assert.equal(find(result, `dtoh/none/cold/4k/${MiB}`).status, 'ok');
});

before(() => {
  assert.ok(existsSync(CLI), 'the command line is built');
});
