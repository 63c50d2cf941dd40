import { WarpgaugeError } from '../../errors.ts';
import { auditStep } from './audit.ts';
import type { Journal, JournalIntent, JournalValue } from './journal.ts';
import type { ActionKind, Operation, Step, StepRecord } from './kind.ts';
import { toRecord } from './records.ts';

/** What taking one step needs. */
export interface StepRun {
  readonly kind: ActionKind;
  readonly journal: Journal;
  readonly stateDir: string;
  /** For the audit log: `apply`, `released`, `recover`. */
  readonly reason: string;
}

export function operationOf(kind: ActionKind, op: string): Operation {
  const operation = Object.hasOwn(kind.operations, op) ? kind.operations[op] : undefined;
  if (operation !== undefined) return operation;
  throw new WarpgaugeError('ERR_JOURNAL', `${kind.name} of this version has no operation ${op}`, {
    fix: 'Use the version of warpgauge that made the change',
  });
}

/**
 * Takes one step: intent, change, reading back, audit record, done. A change that failed or came short is in `failure`; the
 * record says what took effect nevertheless. Throws where that cannot be known (reading or writing the journal failed).
 */
export async function takeStep(
  run: StepRun,
  number: number,
  step: Step,
  undoes?: number,
): Promise<{ readonly record: StepRecord; readonly failure: unknown }> {
  const operation = operationOf(run.kind, step.op);
  const { op, target, asked } = step;
  const prior = await operation.read(target);
  const intent: JournalIntent = {
    type: 'intent',
    step: number,
    op,
    target,
    prior,
    asked,
    ...(undoes === undefined ? {} : { undoes }),
  };
  run.journal.append(intent);
  const begun = performance.now();
  let failure: unknown = null;
  try {
    await operation.set(step, prior);
  } catch (error) {
    failure = error;
  }
  const now = await operation.read(target);
  const observed =
    failure === null
      ? operation.effect(step, prior, now)
      : inDoubt(operation, step, prior, now, true);
  failure ??= operation.verify(step, prior, observed);
  auditStep(run.stateDir, run.journal, intent, {
    observed,
    outcome: failure === null ? 'done' : 'failed',
    error: failure === null ? null : codeOf(failure),
    durationNs: Math.round((performance.now() - begun) * 1e6),
    reason: run.reason,
  });
  run.journal.append({ type: 'done', step: number, observed });
  return { record: toRecord(intent, observed), failure };
}

/** Ends a step that a crash cut: what took effect is told by reading. */
export async function decideStep(run: StepRun, intent: JournalIntent): Promise<StepRecord> {
  const operation = operationOf(run.kind, intent.op);
  const now = await operation.read(intent.target);
  const observed = inDoubt(operation, intent, intent.prior, now, false);
  auditStep(run.stateDir, run.journal, intent, {
    observed,
    outcome: operation.verify(intent, intent.prior, observed) === null ? 'done' : 'failed',
    error: null,
    durationNs: null,
    reason: run.reason,
  });
  run.journal.append({ type: 'done', step: intent.step, observed, decidedBy: 'reading' });
  return toRecord(intent, observed);
}

function inDoubt(
  operation: Operation,
  step: Step,
  prior: JournalValue,
  now: JournalValue,
  threw: boolean,
): JournalValue {
  return operation.doubtful === undefined
    ? operation.effect(step, prior, now)
    : operation.doubtful(step, prior, now, threw);
}

function codeOf(failure: unknown): string {
  return failure instanceof WarpgaugeError ? failure.code : 'ERR_SYSCALL';
}
