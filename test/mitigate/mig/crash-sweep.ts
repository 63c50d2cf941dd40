// Runs one scenario of MIG, or of power, again and again, kills it at another point each time, and has what is left recovered. What must
// hold then is asserted in the crash-*.test.ts.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ForkRequest, ForkTold } from '../../children/gpu-forks.js';
import { NEEDS_FAKE } from '../../monitor/gpu-fake.js';
import type { SimulatedMig } from './simulated-mig.js';

const CHILD = fileURLToPath(new URL('../../children/gpu-forks.js', import.meta.url));
const FORK = fileURLToPath(new URL('../../../../debug/fake/fork.node', import.meta.url));

export const NEEDS_FORKS: { readonly skip?: string } = existsSync(FORK)
  ? NEEDS_FAKE
  : { skip: 'fork.node is not built (node scripts/setup.mjs --tests)' };

export interface Scenario {
  /** Makes the Simulated GPU, of which `now()` tells the state. */
  readonly machine: () => SimulatedMig;
  /** What is applied: `want` and `enabled`, or `power`. */
  readonly request: Omit<ForkRequest, 'action' | 'dieAt' | 'log'>;
  /** The call that changes the GPU after whose effect most is left to undo. Default: the last. */
  readonly worst?: number;
}

/** Where a process is killed: around the n-th call that changes the GPU, or before the n-th call on files and locks. */
export interface Point {
  readonly moment: 'die_before' | 'die_effect' | 'die_after' | 'file';
  readonly nth: number;
}

/** One crash, and what recover left of it. */
export interface Crash {
  readonly name: string;
  /** As `now()` tells it. */
  readonly state: string;
  readonly rebooted: boolean;
  /** Of the journals that the first recover acted upon: undone, void, or an error. */
  readonly outcomes: readonly string[];
  /** Journals that a second recover found, and calls that it made which change the GPU. */
  readonly again: number;
  readonly mutations: number;
}

export interface Sweep {
  readonly before: string;
  readonly after: string;
  /** Calls of an undisturbed run that change the GPU, and those on files and locks. */
  readonly mutating: number;
  readonly fileCalls: number;
  /** Points at which the process was killed indeed. */
  readonly killed: number;
  /** Everything that kills left, each once, recovered at once and behind a reboot. */
  readonly crashes: readonly Crash[];
}

/**
 * The first two: nothing of V8 runs on other threads, which a fork does not have. The others save a quarter of the time:
 * code that is compiled once and kept, and no collection of garbage, which touches all that a fork shares.
 */
const FLAGS = [
  '--v8-pool-size=0',
  '--single-threaded',
  '--always-sparkplug',
  '--no-flush-bytecode',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64',
];

/** A child that takes requests. */
class Worker {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(flags: readonly string[], ...args: string[]) {
    this.#child = spawn(process.execPath, [...flags, CHILD, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env },
    });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  async #next(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#answers.next();
    assert.ok(done !== true, 'the process that takes requests is gone');
    return JSON.parse(value) as Record<string, unknown>;
  }

  async ready(): Promise<void> {
    assert.deepEqual(await this.#next(), { ready: true });
  }

  /** null: it was killed. */
  async run(request: ForkRequest): Promise<ForkTold | null> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    let told: Record<string, unknown> | null = null;
    for (;;) {
      const line = await this.#next();
      if (!('ended' in line)) {
        told = line;
        continue;
      }
      if (line['ended'] === 9) return null;
      assert.equal(line['ended'], 15, `${told?.['error'] ?? 'no word'}`);
      return told as unknown as ForkTold;
    }
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** The Simulated GPU, a process whose forks are killed, and one that recovers. */
class Lane {
  readonly machine: SimulatedMig;
  /** Gives the machine as the scenario finds it. */
  readonly begin: () => void;
  readonly forks: Worker;
  readonly judge: Worker;

  constructor({ machine, request }: Scenario) {
    this.machine = machine();
    this.begin = this.machine.snapshot();
    const first: ForkRequest = { ...request, action: 'apply' };
    this.forks = new Worker(FLAGS, JSON.stringify(first), FORK);
    this.judge = new Worker([], JSON.stringify(first));
  }

  async ready(): Promise<void> {
    await Promise.all([this.forks.ready(), this.judge.ready()]);
    this.begin();
    this.machine.forgetCalls();
  }

  async close(): Promise<void> {
    await Promise.all([this.forks.close(), this.judge.close()]);
    this.machine[Symbol.dispose]();
  }
}

/** Arms a point; gives what a run needs to know of it. */
function arm(machine: SimulatedMig, { moment, nth }: Point): { readonly dieAt?: number } {
  machine.write(moment === 'file' ? '' : `nvml.${moment} = ${nth}`);
  return moment === 'file' ? { dieAt: nth } : {};
}

function pointsOf(mutating: number, fileCalls: number): Point[] {
  const moments = ['die_before', 'die_effect', 'die_after'] as const;
  return [
    ...Array.from({ length: mutating }, (_, i) =>
      moments.map((moment) => ({ moment, nth: i + 1 })),
    ),
    ...Array.from({ length: fileCalls }, (_, i) => [{ moment: 'file' as const, nth: i + 1 }]),
  ].flat();
}

/**
 * What a crash left: the state of the GPU, and what the journals say, without what is another in each run. A sync changes
 * nothing here, nor do a lock and the audit log, which recover does not read.
 */
function leftBy({ state, stateDir }: SimulatedMig): string {
  const folder = join(stateDir, 'journal');
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  const journals = names.map((name) =>
    readFileSync(join(folder, name), 'utf8').replace(
      /"(time|crc|id|pid|pidStart|argv|started)":("[^"]*"|\d+|\[[^\]]*\])/g,
      '',
    ),
  );
  return [readFileSync(state, 'utf8'), ...journals].join('\n');
}

/** Recovers twice and looks. */
async function judge(lane: Lane, name: string, rebooted: boolean): Promise<Crash> {
  const { machine } = lane;
  machine.write();
  const { outcomes = [], again = -1 } = (await lane.judge.run({ action: 'judge' })) as ForkTold;
  const mutations = machine.mutations().length;
  return { name, state: machine.now(), rebooted, outcomes, again, mutations };
}

/** Kills the scenario at every point, and then `recover` at every point of its own. */
export async function sweep(scenario: Scenario): Promise<Sweep> {
  const lanes = [new Lane(scenario), new Lane(scenario)];
  const crashes: Crash[] = [];
  let killed = 0;
  const judged = new Set<string>();
  try {
    await Promise.all(lanes.map((lane) => lane.ready()));
    const [first] = lanes as [Lane];
    const apply = { ...scenario.request, action: 'apply' } as const;
    const before = first.machine.now();
    const whole = (await first.forks.run({ ...apply, log: true })) as ForkTold;
    const after = first.machine.now();
    const mutating = first.machine.mutations().length;
    const fileCalls = whole.calls.length;

    /** Both lanes take points until there are none. */
    const each = async (
      points: readonly Point[],
      work: (lane: Lane, point: Point) => Promise<void>,
    ): Promise<void> => {
      const queue = [...points];
      await Promise.all(
        lanes.map(async (lane) => {
          for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
            await work(lane, point);
          }
        }),
      );
    };
    /** What is left by a kill is recovered; and once more behind a reboot. */
    const look = async (lane: Lane, name: string): Promise<void> => {
      killed += 1;
      const left = leftBy(lane.machine);
      // The same was left by another kill: what becomes of it is known.
      if (judged.has(left)) return;
      judged.add(left);
      const crashed = lane.machine.snapshot();
      crashes.push(await judge(lane, name, false));
      crashed();
      lane.machine.reboot();
      crashes.push(await judge(lane, `${name}, reboot`, true));
    };

    await each(pointsOf(mutating, fileCalls), async (lane, point) => {
      lane.begin();
      const name = `${point.moment} ${point.nth}`;
      const told = await lane.forks.run({ ...apply, ...arm(lane.machine, point) });
      assert.equal(told, null, `${name} was not reached`);
      await look(lane, name);
    });

    // After the crash that leaves most to undo recover is killed at every point of its own.
    const last: Point = { moment: 'die_effect', nth: scenario.worst ?? mutating };
    const lefts = new Map<Lane, () => void>();
    for (const lane of lanes) {
      lane.begin();
      assert.equal(await lane.forks.run({ ...apply, ...arm(lane.machine, last) }), null);
      lefts.set(lane, lane.machine.snapshot());
    }
    first.machine.write();
    first.machine.forgetCalls();
    const undone = (await first.forks.run({ action: 'recover', log: true })) as ForkTold;
    const points = pointsOf(first.machine.mutations().length, undone.calls.length);
    await each(points, async (lane, point) => {
      lefts.get(lane)?.();
      const name = `recovering, ${point.moment} ${point.nth}`;
      const told = await lane.forks.run({ action: 'recover', ...arm(lane.machine, point) });
      assert.equal(told, null, `${name} was not reached`);
      await look(lane, name);
    });
    return { before, after, mutating, fileCalls, killed, crashes };
  } finally {
    for (const lane of lanes.toReversed()) await lane.close();
  }
}
