import { closeSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The audit log: one JSON line for each change that warpgauge made to a machine, in `audit.jsonl` of the state folder.
 * mitigate writes it; recordings take the lines of their time into `action.arrows`.
 */

/** One change. `transaction` and `step` name it: where they occur twice, the later line is the fuller one. */
export interface AuditRecord {
  readonly schema: 'warpgauge/audit/1';
  /** ISO 8601, when the change had been read back. */
  readonly time: string;
  /** The same on CLOCK_MONOTONIC of `boot_id`, in ns. */
  readonly monotonic_ns: string;
  readonly boot_id: string;
  readonly uid: number;
  readonly pid: number;
  /** Name of the journal. */
  readonly transaction: string;
  readonly step: number;
  /** `pools`, `thp`, `mig`, `power`. */
  readonly action: string;
  /** `pool.grow`. */
  readonly op: string;
  readonly target: string;
  readonly prior: unknown;
  readonly asked: unknown;
  /** What was found to have taken effect; null: nothing. */
  readonly observed: unknown;
  readonly outcome: 'done' | 'failed';
  /** Step of the same transaction that this one takes back, or null. */
  readonly undoes: number | null;
  /** Code of the error, or null. */
  readonly error: string | null;
  /** null: found by `recover`; nobody timed it. */
  readonly duration_ns: number | null;
  /** Why: `apply`, `released`, `failed`, `recover`, `expired`. */
  readonly reason: string;
}

/** At this size the log becomes `audit.1.jsonl`, whose place it takes. */
const ROTATE_BYTES = 16 * 1024 * 1024;

export function auditFile(stateDir: string): string {
  return join(stateDir, 'audit.jsonl');
}

/** Appends one line. The lines of two writers do not mix: each is one write to the end of the file. */
export function appendAudit(stateDir: string, record: AuditRecord): void {
  const path = auditFile(stateDir);
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > ROTATE_BYTES) renameSync(path, join(stateDir, 'audit.1.jsonl'));
  const fd = openSync(path, 'a', 0o600);
  try {
    // The newline stands first too: what a writer that was killed left of its line does not spoil ours.
    writeSync(fd, `${size === 0 ? '' : '\n'}${JSON.stringify(record)}\n`);
  } finally {
    closeSync(fd);
  }
}

/** All changes of the log and the one before it, oldest first, each once. An absent log has none. */
export function readAudit(stateDir: string): AuditRecord[] {
  const found = new Map<string, AuditRecord>();
  for (const path of [join(stateDir, 'audit.1.jsonl'), auditFile(stateDir)]) {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw error;
    }
    for (const line of text.split('\n')) {
      const record = parseAuditLine(line);
      if (record === null) continue;
      const key = `${record.transaction} ${record.step}`;
      found.delete(key);
      found.set(key, record);
    }
  }
  return [...found.values()];
}

/** A line of the log; null where there is none: an empty or a cut one. */
export function parseAuditLine(line: string): AuditRecord | null {
  if (line === '') return null;
  try {
    const value = JSON.parse(line) as AuditRecord;
    return value.schema === 'warpgauge/audit/1' ? value : null;
  } catch {
    return null; // cut by a kill or a full disk; the journal has what it said
  }
}
