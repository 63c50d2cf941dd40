import type { WarpgaugeError } from '../../errors.ts';
import type { JournalValue } from './journal.ts';

/**
 * What an action has to be, so that {@link begin} can apply it and `recover` can undo it; docs/transactions.md explains
 * it with an example. An action is a list of steps; a step is an operation on a target; an operation knows how to read,
 * set and undo. What undoes a step is itself a step, journalled like any other.
 */
export interface Step {
  /** Name of an operation of the kind: `pool.grow`, `file.set`, `mig.create-gi`. */
  readonly op: string;
  /** What it acts upon, named so that it can be found again after a crash: a file, a UUID with a placement; no handle, no index. */
  readonly target: string;
  readonly asked: JournalValue;
}

/** A step of a plan. */
export interface PlannedStep extends Step {
  /** What {@link Operation.read} gave for the plan; read again before the first change, and another value is a stale plan. */
  readonly from?: JournalValue;
}

/** A step that was taken, as the journal has it. */
export interface StepRecord extends Step {
  readonly step: number;
  readonly prior: JournalValue;
  /** What of it took effect; null: nothing. */
  readonly observed: JournalValue;
  readonly undoes?: number;
}

/**
 * What to do to take back a step: another step; nothing any more (null); or nothing now, because something is in the
 * way: the journal stays open and a later `recover` tries again.
 */
export type Undoing = Step | null | { readonly blocked: WarpgaugeError };

/** How long undoing may wait for what is in use. */
export interface Patience {
  /** `performance.now()` at which waiting ends. */
  readonly deadline: number;
}

/** All functions may take their time: they are awaited and must not block the event loop. */
export interface Operation {
  /** One line for people: `grow the pool of 2 MiB pages by 512`. */
  describe(step: Step): string;
  /** What is there. Needs no privilege that reading does not need, and changes nothing. */
  read(target: string): JournalValue | Promise<JournalValue>;
  /** Why the step would fail (permission, holders), told without trying; null: nothing known. */
  preflight?(step: Step): WarpgaugeError | null | Promise<WarpgaugeError | null>;
  /** Makes the change. May throw; what then took effect is read. */
  set(step: Step, prior: JournalValue): void | Promise<void>;
  /**
   * What of the step is in effect where `prior` was read before it and `now` after it; null: nothing. Decides about a
   * step that was cut by a crash, so it must not depend on anything remembered.
   */
  effect(step: Step, prior: JournalValue, now: JournalValue): JournalValue;
  /**
   * The same for a step that a crash cut, or whose {@link set} threw, where that is more doubtful than {@link effect}
   * makes it: a setting that cannot be read back, or that others may have changed meanwhile. Default: effect.
   */
  doubtful?(step: Step, prior: JournalValue, now: JournalValue, threw: boolean): JournalValue;
  /** Why the effect is not what was asked for, or null. */
  verify(step: Step, prior: JournalValue, effect: JournalValue): WarpgaugeError | null;
  /**
   * What takes back what is left of `record`, given the steps that took back some of it already. Looks at the machine:
   * what others changed meanwhile is theirs. Asked again after each step until it gives null.
   */
  undo(
    record: StepRecord,
    undone: readonly StepRecord[],
    patience: Patience,
  ): Undoing | Promise<Undoing>;
}

export interface ActionKind {
  /** Name of the kind: first part of its journals' names, and how `recover` finds it. Lower-case letters. */
  readonly name: string;
  /** Its commands: `warpgauge pages recover`. */
  readonly command: string;
  readonly operations: Readonly<Record<string, Operation>>;
  /** Whether the effect of a step outlives a boot of the machine. Default: none does. */
  readonly survivesBoot?: (record: StepRecord) => boolean;
}

/** One line about a step, also of an operation that this version does not know. */
export function describeStep(kind: ActionKind | null, step: Step): string {
  return kind?.operations[step.op]?.describe(step) ?? `${step.op} ${step.target}`;
}
