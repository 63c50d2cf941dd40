import { setTimeout as sleep } from 'node:timers/promises';
import { WarpgaugeError } from '../../errors.ts';
import type { GuardianProcess, GuardianReport } from './guardian.ts';
import { isClosed, Journal } from './journal.ts';
import { type ActionKind, describeStep, type StepRecord } from './kind.ts';
import type { DeviceLock } from './lock.ts';
import { type UndoOptions, type UndoReport, undoJournal } from './undo.ts';

/** Stands in the message of an error after which the machine is not as it was found. */
export const LEFT_BEHIND = '; left behind: ';

/** Longer timers do not exist in Node; the guardian's clock has no such limit. */
const MOST_TIMER_MS = 2 ** 31 - 1;

const NOTHING: UndoReport = Object.freeze({ undone: [], blocked: [], records: [] });

/** A lease as it was granted. */
export interface GrantedLease {
  readonly guardian: GuardianProcess;
  readonly ttlMs: number | null;
}

/** What stands in the locks while the devices change, and how long others have to let go of them. */
export interface Announced {
  readonly intent: string;
  readonly announceMs: number;
}

/** A change that was applied and verified; its devices stay locked until {@link undo} or {@link commit}. */
export class Transaction implements AsyncDisposable {
  /** Name of the journal, or null when there was nothing to change. */
  readonly id: string | null;
  readonly records: readonly StepRecord[];
  /** What else happened that a person wants to know, one sentence each. */
  readonly notes: readonly string[];
  /** Who undoes the change when this process dies. */
  readonly guardian: GuardianReport;
  /** When the change is undone whatever happens, or null. ISO 8601. */
  readonly expires: string | null;
  readonly #lease: GrantedLease | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #path: string | null;
  readonly #kind: ActionKind;
  readonly #locks: readonly DeviceLock[];
  readonly #undoing: UndoOptions;
  readonly #announced: Announced;
  #state: 'held' | 'committed' | 'undone' = 'held';
  #resting = false;
  #running: Promise<UndoReport> | undefined;

  /** Made by {@link begin}. */
  constructor(made: {
    readonly kind: ActionKind;
    readonly journal: Journal | null;
    readonly records: readonly StepRecord[];
    readonly notes: readonly string[];
    readonly locks: readonly DeviceLock[];
    readonly undoing: UndoOptions;
    readonly announced: Announced;
    readonly lease?: GrantedLease;
  }) {
    this.id = made.journal?.header.id ?? null;
    this.#path = made.journal?.path ?? null;
    this.records = made.records;
    this.notes = made.notes;
    this.#kind = made.kind;
    this.#locks = made.locks;
    this.#undoing = made.undoing;
    this.#announced = made.announced;
    this.#lease = made.lease;
    this.guardian = made.lease?.guardian.report ?? { pid: null, reason: 'no lease' };
    const ttlMs = made.lease?.ttlMs ?? null;
    this.expires = ttlMs === null ? null : new Date(Date.now() + ttlMs).toISOString();
    if (ttlMs !== null && ttlMs <= MOST_TIMER_MS) {
      // What then fails is for the guardian and for recover.
      this.#timer = setTimeout(() => this.undo('expired').catch(() => {}), ttlMs).unref();
    }
  }

  /** Whether the change was left as it is: nothing is undone at the end of a block. */
  get committed(): boolean {
    return this.#state === 'committed';
  }

  /**
   * The change stands for a while: others may use the devices again, though not change them. {@link undo} then announces
   * itself as {@link begin} did.
   */
  rest(): void {
    this.#resting = true;
    for (const lock of this.#locks) lock.announce(`held: ${this.#announced.intent}`);
  }

  /**
   * Takes back what was changed, and what others changed since stays. What is in the way (pages or devices in use) is
   * reported as `blocked`; a later call tries again. Idempotent.
   */
  undo(reason = 'released'): Promise<UndoReport> {
    this.#running ??= this.#undo(reason);
    return this.#running;
  }

  async #undo(reason: string): Promise<UndoReport> {
    if (this.#state === 'committed') {
      throw new WarpgaugeError('ERR_CLOSED', 'This change was committed', {
        fix: `warpgauge ${this.#kind.command} release`,
      });
    }
    const rested = this.#resting;
    let report = NOTHING;
    try {
      await this.#wake();
      if (this.#path !== null) {
        report = await undoJournal(this.#path, this.#kind, reason, this.#undoing);
      }
    } catch (error) {
      this.#undoneInPart(rested);
      throw error;
    }
    if (report.blocked.length > 0) {
      this.#undoneInPart(rested);
      return report;
    }
    this.#state = 'undone';
    this.#unlock();
    return report;
  }

  /** A later call tries again; until then others use the devices as they did before this one. */
  #undoneInPart(rested: boolean): void {
    this.#running = undefined;
    if (rested) this.rest();
  }

  async #wake(): Promise<void> {
    if (!this.#resting || this.#path === null) return;
    this.#resting = false;
    for (const lock of this.#locks) lock.announce(this.#announced.intent);
    if (this.#announced.announceMs > 0) await sleep(this.#announced.announceMs);
  }

  /** After a failure: takes back, gives the locks up whatever comes of it, and adds to the error what stays. */
  async undoAfter(error: unknown): Promise<void> {
    let left: string;
    try {
      const { blocked } = await this.undo('failed');
      left = blocked
        .map(({ record, error: why }) => `${describeStep(this.#kind, record)} (${why.message})`)
        .join('; ');
    } catch (second) {
      left = `what was changed (${(second as Error).message})`;
    }
    this.#unlock();
    if (left !== '' && error instanceof Error && !error.message.includes(left)) {
      error.message += `${LEFT_BEHIND}${left}: run warpgauge ${this.#kind.command} recover`;
    }
  }

  /** Leaves the change as it is, beyond this process, until `release`. Where that cannot be written down it is undone. */
  async commit(): Promise<void> {
    await this.#leave('commit');
  }

  /** Leaves the change as it is, for good: nothing of it will be undone by anybody. As {@link commit} otherwise. */
  async keep(): Promise<void> {
    await this.#leave('kept');
  }

  async #leave(type: 'commit' | 'kept'): Promise<void> {
    if (this.#state !== 'held') {
      throw new WarpgaugeError('ERR_CLOSED', `This change was ${this.#state}`);
    }
    if (this.#running !== undefined) throw undoneMeanwhile();
    if (this.#path !== null) {
      try {
        const { journal, contents } = await Journal.reopen(this.#path, {
          onStep: this.#undoing.onStep,
        });
        try {
          // The guardian is as fast as we are where the time is shorter than the change took.
          if (isClosed(contents)) throw undoneMeanwhile();
          journal.append({ type });
        } finally {
          journal.close();
        }
      } catch (error) {
        await this.undoAfter(error);
        throw error;
      }
    }
    this.#state = 'committed';
    this.#unlock();
  }

  #unlock(): void {
    clearTimeout(this.#timer);
    this.#lease?.guardian.look();
    for (const lock of this.#locks) lock.release();
  }

  /** {@link undo}, unless committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state !== 'committed') await this.undo();
  }
}

function undoneMeanwhile(): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_CLOSED',
    'This change was undone before it could be left: its time was over',
    {
      fix: 'Give it more time (ttlMs, --ttl)',
    },
  );
}
