import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pidNamespace } from '#lib/host/process';
import { bootId } from '#lib/host/state-folder';
import {
  encodeLine,
  type JournalEntry,
  type JournalHeader,
  listJournals,
} from '#lib/mitigate/transaction/journal';

/** Writes a journal as a process left it that was killed; `header` changes what it says of that process. */
export function writeJournal(
  { root, stateDir }: { root: string; stateDir: string },
  entries: readonly JournalEntry[],
  header: Partial<JournalHeader> = {},
): string {
  const dir = join(stateDir, 'journal');
  mkdirSync(dir, { recursive: true });
  const nth = String(listJournals(stateDir, 'pools').length).padStart(5, '0');
  const id = `pools-20260101T0000${nth}Z-7-00000000`;
  const path = join(dir, `${id}.jsonl`);
  const first = {
    type: 'header',
    schema: 'warpgauge/journal/1',
    id,
    action: 'pools',
    locks: ['pools'],
    bootId: bootId(root),
    // This process is alive, but it did not start at tick 1: the owner is gone and its pid was used again.
    pid: process.pid,
    pidStart: 1,
    pidNamespace: pidNamespace(),
    argv: ['node', 'killed.js'],
    started: '2026-01-01T00:00:00.000Z',
    ...header,
  };
  const lines = [first, ...entries].map((value, seq) => encodeLine({ seq, ...value }));
  writeFileSync(path, lines.join(''));
  return path;
}
