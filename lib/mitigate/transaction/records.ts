import type { JournalContents, JournalIntent } from './journal.ts';
import type { StepRecord } from './kind.ts';

/** What a journal says was done. */
export interface Records {
  /** Steps with a known end, in order: those that changed something and those that took it back. */
  readonly records: readonly StepRecord[];
  /** Steps that a crash cut: whether they happened, only reading tells. */
  readonly unknown: readonly JournalIntent[];
  readonly nextStep: number;
}

export function readRecords(contents: JournalContents): Records {
  const open = new Map<number, JournalIntent>();
  const records: StepRecord[] = [];
  let nextStep = 0;
  for (const entry of contents.entries) {
    if (entry.type === 'intent') {
      open.set(entry.step, entry);
      nextStep = Math.max(nextStep, entry.step + 1);
    } else if (entry.type === 'done') {
      const intent = open.get(entry.step);
      if (intent === undefined) continue;
      open.delete(entry.step);
      records.push(toRecord(intent, entry.observed));
    }
  }
  return { records, unknown: [...open.values()], nextStep };
}

export function toRecord(intent: JournalIntent, observed: StepRecord['observed']): StepRecord {
  const { step, op, target, prior, asked, undoes } = intent;
  const record = { step, op, target, prior, asked, observed };
  return undoes === undefined ? record : { ...record, undoes };
}

/** The steps that took back some of step `number`. */
export function undoneOf(records: readonly StepRecord[], number: number): StepRecord[] {
  return records.filter((record) => record.undoes === number && record.observed !== null);
}

/** Steps that changed something, newest first: the order in which they are taken back. */
export function changes(records: readonly StepRecord[]): StepRecord[] {
  return records
    .filter(({ undoes, observed }) => undoes === undefined && observed !== null)
    .reverse();
}
