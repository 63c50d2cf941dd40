import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fakeLibrary, NEEDS_FAKE } from './gpu-fake.ts';

const child = (name: string): string =>
  fileURLToPath(new URL(`../children/${name}.js`, import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a child to its end; one that does not end within a minute is killed, and fails the test by its signal. */
async function run(
  name: string,
  args: readonly string[],
  options: {
    readonly env?: NodeJS.ProcessEnv;
    readonly node?: readonly string[];
    readonly kill?: NodeJS.Signals;
  } = {},
): Promise<Ended> {
  const process_ = spawn(process.execPath, [...(options.node ?? []), child(name), ...args], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  process_.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (options.kill !== undefined && out.includes('running')) process_.kill(options.kill);
  });
  process_.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [code, signal] = (await once(process_, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, out, err };
}

/** A tree in which opening /proc/vmstat hangs: a named pipe that nobody writes to. */
function hangingRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'warpgauge-hang-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'proc'));
  execFileSync('mkfifo', [join(root, 'proc/vmstat')]);
  return root;
}

/** The variables of a child whose samplers hang in simulated drivers: as many libraries as samplers. */
function hangingGpus(t: TestContext, samplers: number): NodeJS.ProcessEnv {
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-hang-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const libraries = Array.from({ length: samplers }, (_, i) => join(folder, `nvml-${i}.so`));
  for (const library of libraries) copyFileSync(fakeLibrary(), library);
  const script = join(folder, 'script');
  writeFileSync(script, 'live = 1\n');
  return { WARPGAUGE_TEST_LIBRARIES: libraries.join(':'), WARPGAUGE_FAKE_SCRIPT: script };
}

describe('the ways in which a process or thread that samples can end', { concurrency: 2 }, () => {
  // With function-local statics that are destroyed at exit 4 of 40 such exits crashed: 40 find it.
  it('process.exit() 40 times', async () => {
    for (let i = 0; i < 20; i++) {
      const ended = await Promise.all([run('sampling', ['exit']), run('sampling', ['exit'])]);
      for (const { code, signal, err } of ended) {
        assert.deepEqual({ code, signal }, { code: 7, signal: null }, err);
      }
    }
  });

  // Cleanup hooks do not run here on the main thread (40 of 40): only the exit event does.
  it('an uncaught exception, 10 times', async () => {
    for (let i = 0; i < 10; i++) {
      const { code, signal, err } = await run('sampling', ['throw']);
      assert.deepEqual({ code, signal }, { code: 1, signal: null }, err);
      assert.match(err, /thrown on purpose/);
    }
  });

  it('SIGTERM, 5 times: the default action, at once', async () => {
    for (let i = 0; i < 5; i++) {
      const { signal } = await run('sampling', ['signal'], { kill: 'SIGTERM' });
      assert.equal(signal, 'SIGTERM');
    }
  });

  // A wake-up function is created referenced: without the unref the process stays for ever (1 of 1).
  it('nothing left to do: the sampler does not keep the process alive', async () => {
    const { code, signal, err } = await run('sampling', ['drain']);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, err);
  });

  it('keepAlive: the process lives as long as the sampler', async () => {
    const { code, out, err } = await run('sampling', ['keep-alive']);
    assert.equal(code, 0, err);
    assert.ok(Number(out) > 0 && Number(out) <= 30, out);
  });

  // Without a reference a running sampler was collected after 20 callbacks (1 of 1).
  it('garbage collection leaves a running sampler alone', async () => {
    const { code, out, err } = await run('sampling', ['collect'], { node: ['--expose-gc'] });
    assert.equal(code, 0, err);
    const { before, after } = JSON.parse(out) as { before: number; after: number };
    assert.ok(before > 0 && after > before, out);
  });

  // Without -z nodelete Node unloads an addon that only workers loaded, under its threads: SIGSEGV, 1 of 1.
  it('worker.terminate() 20 times', async () => {
    const { code, signal, out, err } = await run('sampling-workers', ['20']);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, err);
    assert.ok(Number(out) < 1000, `the longest took ${out} ms`);
  });

  it('JavaScript blocked for 5 s at 10 kHz and vmstat loses nothing', async () => {
    const { code, out, err } = await run('sampling', ['blocked']);
    assert.equal(code, 0, err);
    const { rows, dropped, stats } = JSON.parse(out) as {
      rows: Record<string, number>;
      dropped: number;
      stats: { table: string; rows: number; ticks: number; missed: number; droppedRows: number }[];
    };
    assert.equal(dropped, 0);
    for (const table of ['hugepages', 'vmstat']) {
      const counted = stats.find((each) => each.table === table);
      assert.ok(counted !== undefined && counted.ticks > 0, out);
      assert.equal(counted.droppedRows, 0);
      assert.equal(rows[table], counted.rows);
    }
    const fast = stats.find((each) => each.table === 'hugepages');
    assert.ok((fast?.ticks ?? 0) + (fast?.missed ?? 0) >= 50_000, out);
  });

  for (const way of ['hung-exit', 'hung-throw', 'hung-close']) {
    it(`${way}: within a second while a call of a source hangs`, async (t) => {
      const env = { WARPGAUGE_ROOT: hangingRoot(t) };
      const { code, signal, out, err } = await run('sampling', [way], { env });
      assert.deepEqual({ code, signal }, { code: way === 'hung-throw' ? 1 : 0, signal: null }, err);
      const [last] = out.trim().split('\n').slice(-1);
      assert.ok(Number(last) < 1000, out);
      if (way === 'hung-close') assert.match(out, /ERR_INTERRUPTED/);
    });
  }

  // With half a second of patience for each the three took 1.3 s.
  for (const way of ['hung-gpus-close', 'hung-gpus-isolated', 'hung-gpus-exit', 'worker']) {
    it(`${way}: three samplers that hang end within a second`, NEEDS_FAKE, async (t) => {
      const env = hangingGpus(t, 3);
      const { code, signal, out, err } =
        way === 'worker'
          ? await run('sampling-workers', ['1', 'gpus'], { env })
          : await run('sampling', [way], { env });
      assert.deepEqual({ code, signal }, { code: 0, signal: null }, err);
      assert.ok(Number(out) < 1000, `${out} ms`);
    });
  }

  it('worker.terminate() 5 times while a call of a source hangs', async (t) => {
    const env = { WARPGAUGE_ROOT: hangingRoot(t) };
    const { code, signal, out, err } = await run('sampling-workers', ['5', 'hang'], { env });
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, err);
    assert.ok(Number(out) < 1000, `the longest took ${out} ms`);
  });
});
