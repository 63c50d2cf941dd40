import type { ErrorRecord } from '../errors.ts';
import { type StateOptions, stateFolder } from '../host/state-folder.ts';
import type { PoolChange } from './pool-change.ts';
import {
  changeOf,
  DEMOTE,
  GONE,
  GROW,
  outstandingPages,
  type PoolInternals,
  poolsKind,
  SHRINK,
} from './pool-operations.ts';
import type { StepRecord } from './transaction/kind.ts';
import { changes, undoneOf } from './transaction/records.ts';
import {
  listTransactions,
  type SettledTransaction,
  type SettleOptions,
  settle,
  type TransactionReport,
  type TransactionState,
} from './transaction/settle.ts';

/** What giving back achieved. */
export interface ReturnReport {
  readonly returned: readonly PoolChange[];
  /** Pages that are still in use; recover or a second release takes them later. */
  readonly remaining: readonly PoolChange[];
  /** Pages of ours that somebody else had already taken out of the pool. */
  readonly gone: readonly PoolChange[];
}

export type JournalState = TransactionState;

/** One journal that is not closed, and its growth as far as the journal knows. */
export interface JournalReport {
  readonly id: string | null;
  readonly path: string;
  readonly state: JournalState;
  readonly pid: number | null;
  readonly command: string | null;
  /** ISO 8601. */
  readonly started: string | null;
  readonly outstanding: readonly PoolChange[];
}

/** What recover or release did about one journal. */
export interface SettledJournal extends JournalReport, ReturnReport {
  readonly outcome: 'untouched' | 'returned' | 'partly-returned' | 'void' | 'failed';
  readonly error: ErrorRecord | null;
}

export interface SettleReport {
  /** Where the journals were looked for. */
  readonly stateDir: string;
  readonly journals: readonly SettledJournal[];
  /** Nothing that had to be given back is left. */
  readonly complete: boolean;
}

/** What steps that undid something gave back, and what the journal still has. */
export function returnReport(
  undone: readonly StepRecord[],
  records: readonly StepRecord[],
): ReturnReport {
  const of = (op: string): PoolChange[] =>
    undone.filter((step) => step.op === op).map((step) => changeOf(step, step.observed));
  return { returned: of(SHRINK), remaining: outstanding(records), gone: of(GONE) };
}

/** Pages of a journal that are still to go back; of a splitting, the large pages that are still missing. */
function outstanding(records: readonly StepRecord[]): PoolChange[] {
  return changes(records)
    .map((step) => {
      const undone = undoneOf(records, step.step);
      const back = step.op === DEMOTE ? undone.filter(({ op }) => op === GROW) : undone;
      return changeOf(step, outstandingPages(step, back));
    })
    .filter(({ pages }) => pages > 0)
    .reverse();
}

/** All journals of pools that are not closed, with what they stand for. */
export function listReservations(options: StateOptions = {}): JournalReport[] {
  return listTransactions({ ...stateOf(options), action: 'pools' }).map(journalReport);
}

function journalReport(report: TransactionReport): JournalReport {
  const { id, path, state, pid, command, started } = report;
  return { id, path, state, pid, command, started, outstanding: outstanding(report.records) };
}

/** Gives back what dead processes left (`recover`), or what `reserve` left on purpose (`release`). */
export async function settleJournals(
  mode: 'recover' | 'release',
  options: StateOptions = {},
  internals: PoolInternals = {},
): Promise<SettleReport> {
  const settled = await settle(mode, {
    ...stateOf(options),
    kind: poolsKind({ root: options.root, ...internals }),
    onStep: internals.onStep,
    patienceMs: internals.patienceMs,
  });
  const journals = settled.map(settledJournal);
  const complete = journals.every(
    ({ outcome }) => !['partly-returned', 'failed'].includes(outcome),
  );
  return { stateDir: stateFolder(options), journals, complete };
}

const OUTCOMES = { undone: 'returned', 'partly-undone': 'partly-returned' } as const;

function settledJournal(settled: SettledTransaction): SettledJournal {
  const { outcome, undone, records, error } = settled;
  const acted = outcome === 'undone' || outcome === 'partly-undone';
  const { returned, remaining, gone } = returnReport(undone, records);
  // What was outstanding before: the steps taken now are not counted.
  const before = records.filter((record) => !undone.includes(record));
  return {
    ...journalReport({ ...settled, records: before }),
    outcome: outcome === 'undone' || outcome === 'partly-undone' ? OUTCOMES[outcome] : outcome,
    returned,
    remaining: acted ? remaining : [],
    gone,
    error,
  };
}

/** Without members that are undefined, and without what is no option of state. */
function stateOf({ root, stateDir }: StateOptions): Pick<SettleOptions, 'root' | 'stateDir'> {
  return {
    ...(root === undefined ? {} : { root }),
    ...(stateDir === undefined ? {} : { stateDir }),
  };
}
