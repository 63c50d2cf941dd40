import { WarpgaugeError } from '../../errors.ts';
import { bootId } from '../../host/state-folder.ts';
import { isClosed, Journal, type StepHook } from './journal.ts';
import type { ActionKind, StepRecord } from './kind.ts';
import { changes, readRecords, toRecord, undoneOf } from './records.ts';
import { decideStep, operationOf, type StepRun, takeStep } from './step.ts';

export interface UndoOptions {
  readonly stateDir: string;
  readonly root?: string | undefined;
  readonly onStep?: StepHook | undefined;
  /** How long things in use are waited for. */
  readonly patienceMs?: number | undefined;
}

/** A change that stays for now, and why. */
export interface Blocked {
  readonly record: StepRecord;
  readonly error: WarpgaugeError;
}

export interface UndoReport {
  /** Steps that took something back. */
  readonly undone: readonly StepRecord[];
  readonly blocked: readonly Blocked[];
  /** All steps that the journal knows now. */
  readonly records: readonly StepRecord[];
}

/** A large process takes a while to die, and its memory comes back only then. */
const PATIENCE_MS = 2000;

/** An operation that goes on giving steps is wrong; no change needs nearly as many. */
const MOST_ROUNDS = 16;

/**
 * Takes back what a journal says was changed, newest first, and journals that. The caller holds the locks of the
 * devices. What cannot be taken back now is reported, the rest is taken back nevertheless.
 */
export async function undoJournal(
  path: string,
  kind: ActionKind,
  reason: string,
  options: UndoOptions,
): Promise<UndoReport> {
  const { journal, contents } = await Journal.reopen(path, { onStep: options.onStep });
  const run: StepRun = { kind, journal, stateDir: options.stateDir, reason };
  const patience = { deadline: performance.now() + (options.patienceMs ?? PATIENCE_MS) };
  try {
    const before = readRecords(contents);
    const records = [...before.records];
    if (isClosed(contents)) {
      // Somebody else (the guardian) was first: what it took back counts.
      return { undone: records.filter(({ undoes }) => undoes !== undefined), blocked: [], records };
    }
    const sameBoot = journal.header.bootId === bootId(options.root);
    const survives = (record: StepRecord): boolean =>
      sameBoot || (kind.survivesBoot?.(record) ?? false);
    // Decided before anything is changed: an unknown end can be told from the machine only as long as nobody has
    // written since.
    const blocked: Blocked[] = [];
    for (const intent of before.unknown) {
      const record = toRecord(intent, null);
      if (!survives(record)) continue;
      try {
        records.push(await decideStep(run, intent));
      } catch (error) {
        // A GPU that is gone cannot say what it took. The others are put back nevertheless.
        if (!(error instanceof WarpgaugeError) || error.code === 'ERR_JOURNAL') throw error;
        blocked.push({ record, error });
      }
    }
    const undone: StepRecord[] = [];
    let number = before.nextStep;
    for (const record of changes(records.toSorted((a, b) => a.step - b.step)).filter(survives)) {
      for (let round = 0; ; round++) {
        const result = await undoOnce(
          run,
          record,
          undoneOf(records, record.step),
          patience,
          number,
        );
        if (result === null) break;
        if ('record' in result) {
          number += 1;
          records.push(result.record);
          if (result.record.observed !== null) undone.push(result.record);
        }
        const error = result.error ?? (round < MOST_ROUNDS ? null : endless(record));
        if (error !== null) {
          blocked.push({ record, error });
          break;
        }
      }
    }
    if (blocked.length === 0) journal.append({ type: 'rolledback', reason });
    return { undone, blocked, records };
  } finally {
    journal.close();
  }
}

type Once =
  | null
  | { readonly record: StepRecord; readonly error: WarpgaugeError | null }
  | { readonly error: WarpgaugeError };

async function undoOnce(
  run: StepRun,
  record: StepRecord,
  undone: readonly StepRecord[],
  patience: { readonly deadline: number },
  number: number,
): Promise<Once> {
  try {
    const undoing = await operationOf(run.kind, record.op).undo(record, undone, patience);
    if (undoing === null) return null;
    if ('blocked' in undoing) return { error: undoing.blocked };
    const taken = await takeStep(run, number, undoing, record.step);
    return { record: taken.record, error: asError(taken.failure) };
  } catch (error) {
    // A journal that cannot be written ends everything; a device that cannot be read leaves its step for later.
    if (error instanceof WarpgaugeError && error.code !== 'ERR_JOURNAL') return { error };
    throw error;
  }
}

function asError(failure: unknown): WarpgaugeError | null {
  if (failure === null || failure instanceof WarpgaugeError) return failure;
  throw failure;
}

function endless(record: StepRecord): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_REFUSED',
    `${record.op} of ${record.target} is not taken back after ${MOST_ROUNDS} steps`,
    { source: record.target },
  );
}
