import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { loadBinding } from '../../addon.ts';
import { type AuditRecord, auditFile, parseAuditLine } from '../../audit.ts';
import { bootId, stateFolder } from '../../host/state-folder.ts';

/**
 * Changes that warpgauge makes to this machine while a recording is written, by whatever process: the new lines of the
 * audit log. It reads only, and what it may not read is not there.
 */
export class ActionWatch {
  readonly #path: string;
  readonly #boot = bootId();
  readonly #since: bigint;
  readonly #seen = new Set<string>();
  #inode = 0;
  #offset = 0;
  #rest = '';

  constructor(stateDir: string = stateFolder({})) {
    this.#path = auditFile(stateDir);
    this.#since = loadBinding().monotonicNs();
  }

  /** The changes since the last call, oldest first. */
  take(): AuditRecord[] {
    const found: AuditRecord[] = [];
    const text = this.#read();
    if (text === '') return found;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const record = parseAuditLine(line);
      if (record === null || record.boot_id !== this.#boot) continue;
      const key = `${record.transaction} ${record.step}`;
      if (BigInt(record.monotonic_ns) < this.#since || this.#seen.has(key)) continue;
      this.#seen.add(key);
      found.push(record);
    }
    return found;
  }

  /** What was appended; after the log was put aside, all of the new one. */
  #read(): string {
    let fd: number;
    try {
      fd = openSync(this.#path, 'r');
    } catch {
      return '';
    }
    try {
      const { ino, size } = fstatSync(fd);
      if (ino !== this.#inode || size < this.#offset) {
        this.#inode = ino;
        this.#offset = 0;
        this.#rest = '';
      }
      const bytes = Buffer.alloc(Math.max(0, size - this.#offset));
      const length = readSync(fd, bytes, 0, bytes.length, this.#offset);
      this.#offset += length;
      return bytes.toString('utf8', 0, length);
    } catch {
      return '';
    } finally {
      closeSync(fd);
    }
  }
}
