// Carries out requests on the Simulated GPU of the environment, each in a fork of this process, which has everything loaded:
// a line of JSON on standard input, and on standard output what the fork tells of itself and how it ended. Without the addon
// that forks it carries them out itself: what nothing kills needs no process of its own.
//
// A fork can be killed before the n-th call that writes, syncs, cuts, renames or removes a file, or locks one (`dieAt`): whoever is
// killed there has made all calls before it. The fake driver kills it around calls of the driver.
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { createInterface } from 'node:readline';
import { loadBinding } from '#lib/addon';
import { mig } from '#lib/mitigate/mig';
import { applyMig } from '#lib/mitigate/mig/apply';
import { power } from '#lib/mitigate/power';
import type { PowerTarget } from '#lib/mitigate/power/plan';
import { settle } from '#lib/mitigate/transaction/settle';

/** What a fork is to do. */
export interface ForkRequest {
  readonly action: 'apply' | 'recover' | 'judge';
  readonly want?: Readonly<Record<string, number>>;
  readonly enabled?: boolean;
  /** In place of a layout: power and clocks are set, and put back. */
  readonly power?: PowerTarget;
  readonly dieAt?: number;
  /** Whether its calls of the driver are in the log; those of the second recover of `judge` always are. */
  readonly log?: boolean;
}

/** What a fork tells when it gets to its end. */
export interface ForkTold {
  /** Calls at which it could have been killed, in order. */
  readonly calls: readonly string[];
  /** Of `judge`: what the first recover came to, how many journals a second one found. */
  readonly outcomes?: readonly string[];
  readonly again?: number;
}

interface ForkAddon {
  fork(): number;
  getpid(): number;
  wait(pid: number): number;
}

const [, , first = '{}', library] = process.argv;
const { readSync, writeSync } = fs;
const say = (value: unknown): void => {
  writeSync(1, `${JSON.stringify(value)}\n`);
};

async function apply({ want = {}, enabled = true, power: target }: ForkRequest): Promise<void> {
  if (target !== undefined) {
    const change = await (await power.plan(target)).apply({ guardian: false });
    return await change.undo();
  }
  const plan = await mig.plan({ instances: want, enabled });
  await applyMig(plan, { allow: ['mode', 'reset'], announceMs: 0, waitMs: 0 });
}

const LOG = 'WARPGAUGE_FAKE_LOG';
const log = process.env[LOG] as string;

async function work(request: ForkRequest): Promise<object> {
  const { action } = request;
  if (action === 'apply') {
    await apply(request);
    return {};
  }
  const settled = await settle('recover', { patienceMs: 0 });
  if (action === 'recover') return {};
  fs.writeFileSync(log, ''); // what is then in it, the second one did
  process.env[LOG] = log;
  const again = await settle('recover', { patienceMs: 0 });
  await mig.status(); // the driver notices a reboot when it is asked
  return {
    outcomes: settled.map(({ outcome, error }) => error?.message ?? outcome),
    again: again.length,
  };
}

/** Counts the calls, and ends the process before number `dieAt`. */
function watchCalls(dieAt: number): string[] {
  const calls: string[] = [];
  const watch = <F extends (...args: never[]) => unknown>(name: string, real: F): F =>
    ((...args: Parameters<F>) => {
      calls.push(name);
      if (calls.length === dieAt) process.kill(process.pid, 'SIGKILL');
      return real(...args);
    }) as F;
  for (const name of ['writeSync', 'fsyncSync', 'ftruncateSync', 'renameSync', 'rmSync'] as const) {
    Object.assign(fs, { [name]: watch(name, fs[name] as (...args: never[]) => unknown) });
  }
  syncBuiltinESMExports();
  const binding = loadBinding();
  Object.assign(binding, { lockFile: watch('flock', binding.lockFile.bind(binding)) });
  return calls;
}

async function child(request: ForkRequest, pid: number): Promise<never> {
  // Node has read it once, before there was this process.
  Object.defineProperty(process, 'pid', { value: pid });
  // Thousands of lines that nobody reads are most of what it costs.
  if (request.log !== true) delete process.env[LOG];
  const calls = watchCalls(request.dieAt ?? 0);
  let end: NodeJS.Signals = 'SIGTERM';
  try {
    say({ calls, ...(await work(request)) });
  } catch (error) {
    say({ calls, error: (error as Error).stack });
    end = 'SIGABRT';
  }
  process.kill(process.pid, end);
  return await new Promise(() => {});
}

function readLine(): string {
  const byte = Buffer.alloc(1);
  let line = '';
  while (readSync(0, byte) === 1 && byte[0] !== 10) line += byte.toString('latin1');
  return line;
}

async function forkEach(path: string): Promise<void> {
  const { fork, getpid, wait } = createRequire(import.meta.url)(path) as ForkAddon;
  // What is loaded and compiled here need not be in each fork. The parent puts back what this changes.
  await apply(JSON.parse(first) as ForkRequest);
  await settle('recover');
  await mig.status();
  // Not from inside a callback of the poll: its descriptor is another one in a fork.
  await new Promise((resolve) => setImmediate(resolve));
  say({ ready: true });
  for (let line = readLine(); line !== ''; line = readLine()) {
    const pid = fork();
    if (pid === 0) await child(JSON.parse(line) as ForkRequest, getpid());
    say({ ended: wait(pid) });
  }
}

async function doEach(): Promise<void> {
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    delete process.env[LOG];
    say({ calls: [], ...(await work(JSON.parse(line) as ForkRequest)) });
    say({ ended: 15 });
  }
}

await (library === undefined ? doEach() : forkEach(library));
