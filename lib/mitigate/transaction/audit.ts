import { loadBinding } from '../../addon.ts';
import { type AuditRecord, appendAudit, auditFile } from '../../audit.ts';
import { WarpgaugeError } from '../../errors.ts';
import type { Journal, JournalIntent, JournalValue } from './journal.ts';

/** What one change came to, for the audit log. */
export interface Outcome {
  readonly observed: JournalValue;
  readonly outcome: 'done' | 'failed';
  readonly error: string | null;
  readonly durationNs: number | null;
  readonly reason: string;
}

/**
 * Writes the audit record of one step. It stands before `done` in the journal: a crash between repeats it, and never loses
 * it. A log that cannot be written (a full disk) stops a change with `ERR_SYSCALL`, but never the undoing of one: the
 * journal has the same.
 */
export function auditStep(
  stateDir: string,
  journal: Journal,
  intent: JournalIntent,
  outcome: Outcome,
): void {
  const record: AuditRecord = {
    schema: 'warpgauge/audit/1',
    time: new Date().toISOString(),
    monotonic_ns: loadBinding().monotonicNs().toString(),
    boot_id: journal.header.bootId,
    uid: process.getuid?.() ?? -1,
    pid: process.pid,
    transaction: journal.header.id,
    step: intent.step,
    action: journal.header.action,
    op: intent.op,
    target: intent.target,
    prior: intent.prior,
    asked: intent.asked,
    observed: outcome.observed,
    outcome: outcome.outcome,
    undoes: intent.undoes ?? null,
    error: outcome.error,
    duration_ns: outcome.durationNs,
    reason: outcome.reason,
  };
  try {
    appendAudit(stateDir, record);
  } catch (error) {
    if (outcome.reason !== 'apply') return;
    const path = auditFile(stateDir);
    throw new WarpgaugeError(
      'ERR_SYSCALL',
      `The audit log cannot be written: ${(error as Error).message}`,
      {
        source: path,
        fix: `Make room for ${path} and let it be written`,
        cause: error,
      },
    );
  }
}
