import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinding } from '../../addon.ts';
import { invalidArgument, WarpgaugeError } from '../../errors.ts';
import { type StateOptions, stateFolder } from '../../host/state-folder.ts';
import { GuardianProcess, type Lease } from './guardian.ts';
import { Journal, type StepHook } from './journal.ts';
import { type ActionKind, describeStep, type PlannedStep, type StepRecord } from './kind.ts';
import { acquireDevice, type DeviceLock } from './lock.ts';
import { recoverUnder, type SettledTransaction } from './settle.ts';
import { operationOf, takeStep } from './step.ts';
import { type GrantedLease, Transaction } from './transaction.ts';
import type { UndoOptions } from './undo.ts';

export interface BeginOptions extends StateOptions {
  readonly kind: ActionKind;
  /** Names of the devices that change: their locks are taken, in the order of the names. */
  readonly locks: readonly string[];
  /** What is about to happen, in a few words: others read it in the lock. */
  readonly intent: string;
  /** Time that others get to let go of the devices after they could read the intent. Default 0. */
  readonly announceMs?: number;
  /**
   * Called under the locks, after what dead processes left was undone: observes the machine and says what to do. Throws
   * what speaks against it. No step: nothing is changed and nothing journalled.
   */
  readonly prepare: () => readonly PlannedStep[] | Promise<readonly PlannedStep[]>;
  /** Ends the change with its process, or at a time. Without it nobody but `recover` undoes what a killed process left. */
  readonly lease?: Lease | undefined;
  /** Stops between two steps; what was done is undone and `ERR_INTERRUPTED` thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Tests end the process at its calls. */
  readonly onStep?: StepHook | undefined;
  readonly patienceMs?: number | undefined;
}

/**
 * Applies a change: locks, undoes what dead processes left on the devices, prepares, checks every step, then takes them
 * one by one, each journalled before and read back after. After any failure the machine holds what it held before, or the
 * error says what could not be taken back. The change stands until {@link Transaction.undo}, or for good with
 * {@link Transaction.commit}.
 */
export async function begin(options: BeginOptions): Promise<Transaction> {
  const { kind, root } = options;
  const stateDir = stateFolder(options);
  const announced = { intent: options.intent, announceMs: options.announceMs ?? 0 };
  const undoing = { stateDir, root, onStep: options.onStep, patienceMs: options.patienceMs };
  const locks: DeviceLock[] = [];
  let transaction: Transaction | null = null;
  try {
    for (const device of [...new Set(options.locks)].sort()) {
      locks.push(await acquireDevice(device, options.intent, { root }));
    }
    const devices = locks.map(({ device }) => device);
    // What a killed run left must go first: its effect looks like the state of the machine, and a step of which the
    // end is unknown can be decided only while nobody has written since.
    const notes = told(kind, await recoverUnder(devices, kind, { ...undoing, patienceMs: 0 }));
    if (announced.announceMs > 0) await sleep(announced.announceMs);
    const steps = await check(kind, await options.prepare());
    if (steps.length === 0) {
      return new Transaction({
        kind,
        journal: null,
        records: [],
        notes,
        locks,
        undoing,
        announced,
      });
    }
    throwIfAborted(options.signal);
    const journal = Journal.create({
      stateDir,
      action: kind.name,
      locks: devices,
      root,
      onStep: options.onStep,
    });
    const records: StepRecord[] = [];
    const made = { kind, journal, records, notes, locks, undoing, announced };
    transaction = new Transaction(made);
    try {
      const lease = options.lease && (await grantLease(options.lease, made));
      if (lease) transaction = new Transaction({ ...made, lease });
      for (const [number, step] of steps.entries()) {
        throwIfAborted(options.signal);
        const run = { kind, journal, stateDir, reason: 'apply' };
        const { record, failure } = await takeStep(run, number, step);
        records.push(record);
        if (failure !== null) {
          throwIfAborted(options.signal);
          throw failure;
        }
      }
    } finally {
      journal.close();
    }
    return transaction;
  } catch (error) {
    if (transaction !== null) await transaction.undoAfter(error);
    for (const lock of locks) lock.release();
    throw error;
  }
}

/** The guardian watches, and the journal says so, before the first change. */
async function grantLease(
  lease: Lease,
  { kind, journal, undoing }: { kind: ActionKind; journal: Journal; undoing: UndoOptions },
): Promise<GrantedLease> {
  const { ttlMs } = lease;
  // Its end is told as a date, and dates end in the year 275760.
  if (ttlMs !== undefined && !(ttlMs > 0 && ttlMs < 1e15)) {
    throw invalidArgument('ttlMs', 'a number of milliseconds above 0 and below 1e15', ttlMs);
  }
  const uptimeMs = Number(loadBinding().readClockAnchor().boottimeNs / 1_000_000n);
  const expires = ttlMs === undefined ? null : uptimeMs + ttlMs;
  const guardian =
    lease.guardian === false
      ? GuardianProcess.none('none was asked for')
      : await GuardianProcess.start({
          kind,
          journal: journal.path,
          stateDir: undoing.stateDir,
          root: undoing.root,
          expires,
        });
  journal.append({ type: 'lease', expires, guardian: guardian.report.pid });
  return { guardian, ttlMs: ttlMs ?? null };
}

/** Compares the machine with what the plan saw, and asks each operation what speaks against it, before the first change. */
async function check(
  kind: ActionKind,
  steps: readonly PlannedStep[],
): Promise<readonly PlannedStep[]> {
  let already = 0;
  let stale: WarpgaugeError | null = null;
  for (const step of steps) {
    if (step.from === undefined) continue;
    const operation = operationOf(kind, step.op);
    const now = await operation.read(step.target);
    if (JSON.stringify(now) === JSON.stringify(step.from)) continue;
    const effect = operation.effect(step, step.from, now);
    if (effect !== null && operation.verify(step, step.from, effect) === null) already += 1;
    stale ??= new WarpgaugeError(
      'ERR_STALE_PLAN',
      `${step.target} was ${show(step.from)} when the plan was made and is ${show(now)} now`,
      { source: step.target, fix: 'Make a new plan' },
    );
  }
  // The same plan a second time has nothing to do.
  if (steps.length > 0 && already === steps.length) return [];
  if (stale !== null) throw stale;
  for (const step of steps) {
    const refusal = (await operationOf(kind, step.op).preflight?.(step)) ?? null;
    if (refusal !== null) throw refusal;
  }
  return steps;
}

const show = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new WarpgaugeError('ERR_INTERRUPTED', 'The change was interrupted and is undone', {
    cause: signal.reason,
  });
}

/** What recovery on the way did, for people: one sentence each. */
function told(kind: ActionKind, settled: readonly SettledTransaction[]): string[] {
  return settled.flatMap(({ pid, undone, error }) => {
    if (error !== null) return [`${error.message}. ${error.fix ?? ''}`];
    if (undone.length === 0) return [];
    const what = undone.map((record) => describeStep(kind, record)).join('; ');
    return [`Undid what pid ${pid} had left: ${what}`];
  });
}
