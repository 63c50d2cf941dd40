import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinding } from '../../addon.ts';
import { WarpgaugeError } from '../../errors.ts';
import { pidNamespace, processStart } from '../../host/process.ts';
import { bootId } from '../../host/state-folder.ts';

/**
 * The journal of one change to the machine: an append-only file of JSON lines, each with its sequence
 * number and a CRC-32 over its own text, each fsynced before the next step. `intent` stands before
 * the change and holds what was there, `done` after it and holds what was observed. An intent without
 * done means *unknown*: recovery reads the machine to decide.
 *
 * Whoever writes to a journal holds flock on it: its owner while it applies, and whoever undoes it. The guardian
 * (native/guardian) reads and writes the same lines; the order of their members is part of the form.
 */

export type JournalValue =
  | string
  | number
  | boolean
  | null
  | readonly JournalValue[]
  | { readonly [key: string]: JournalValue };

/** First line: who changes what, in which boot. */
export interface JournalHeader {
  readonly type: 'header';
  readonly schema: 'warpgauge/journal/1';
  readonly id: string;
  /** Kind of change: `pools`, `thp`, `mig`, `power`. */
  readonly action: string;
  /** Devices whose locks the owner held; whoever undoes takes them first. */
  readonly locks: readonly string[];
  readonly bootId: string;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot: a pid alone may have been reused. */
  readonly pidStart: number;
  readonly pidNamespace: string | null;
  readonly argv: readonly string[];
  /** ISO 8601. */
  readonly started: string;
}

/** Before a change: what will be done to `target`, which held `prior`. */
export interface JournalIntent {
  readonly type: 'intent';
  readonly step: number;
  readonly op: string;
  readonly target: string;
  readonly prior: JournalValue;
  readonly asked: JournalValue;
  /** The step that this one takes back, in whole or in part. */
  readonly undoes?: number;
}

/**
 * After a change: what of it took effect (null: nothing). `decidedBy: 'reading'` stands where recovery resolved an
 * unknown.
 */
export interface JournalDone {
  readonly type: 'done';
  readonly step: number;
  readonly observed: JournalValue;
  readonly decidedBy?: 'reading';
}

/** The change is to be taken back at a time, whatever its process does. */
export interface JournalLease {
  readonly type: 'lease';
  /** CLOCK_BOOTTIME of the boot in the header, in ms; null: with the end of its process. */
  readonly expires: number | null;
  /** Process that takes it back; null: left to `recover`. */
  readonly guardian: number | null;
}

/** The change is wanted beyond the life of its process. */
export interface JournalCommit {
  readonly type: 'commit';
}

/** Last line: the change is for good, and nothing of it will be undone. */
export interface JournalKept {
  readonly type: 'kept';
}

/** Last line: nothing is left to undo. */
export interface JournalRolledBack {
  readonly type: 'rolledback';
  readonly reason: string;
}

export type JournalEntry =
  | JournalIntent
  | JournalDone
  | JournalLease
  | JournalCommit
  | JournalKept
  | JournalRolledBack;

/** What stands in a journal file. */
export interface JournalContents {
  readonly path: string;
  /** null: the process was killed before its first line was whole; it changed nothing. */
  readonly header: JournalHeader | null;
  readonly entries: readonly JournalEntry[];
  /** The last line was cut in its middle: it was never acknowledged, so it says nothing. */
  readonly torn: boolean;
  /** A whole line that is not what was written: this journal must not be acted upon. */
  readonly corrupt: { readonly line: number; readonly reason: string } | null;
  /** Length of the whole lines. */
  readonly validBytes: number;
}

/** Called at each boundary of a change; crash tests end the process there. */
export type StepHook = (step: string) => void;

/** An open journal file. Only the holder of the lock for its action writes to it. */
export class Journal {
  readonly path: string;
  readonly header: JournalHeader;
  readonly #fd: number;
  readonly #onStep: StepHook | undefined;
  #sequence: number;
  #closed = false;

  private constructor(
    path: string,
    header: JournalHeader,
    fd: number,
    sequence: number,
    onStep: StepHook | undefined,
  ) {
    this.path = path;
    this.header = header;
    this.#fd = fd;
    this.#sequence = sequence;
    this.#onStep = onStep;
  }

  /** Begins a journal: when this returns, its header and its name are on the disk. */
  static create(options: {
    readonly stateDir: string;
    readonly action: string;
    readonly locks: readonly string[];
    readonly root?: string | undefined;
    readonly onStep?: StepHook | undefined;
  }): Journal {
    const dir = journalDir(options.stateDir);
    const started = new Date().toISOString();
    const id = `${options.action}-${started.replace(/[-:.]/g, '')}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const path = join(dir, `${id}.jsonl`);
    const header: JournalHeader = {
      type: 'header',
      schema: 'warpgauge/journal/1',
      id,
      action: options.action,
      locks: options.locks,
      bootId: bootId(options.root),
      pid: process.pid,
      pidStart: processStart(process.pid) ?? 0,
      pidNamespace: pidNamespace(),
      argv: process.argv,
      started,
    };
    let fd: number;
    const folders = [dir];
    try {
      const firstNew = mkdirSync(dir, { recursive: true, mode: 0o700 });
      for (let up = dir; firstNew !== undefined && up !== dirname(firstNew); ) {
        up = dirname(up);
        folders.push(up);
      }
      const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_APPEND;
      fd = openSync(path, flags, 0o600);
    } catch (error) {
      throw journalFailed(path, error);
    }
    const journal = new Journal(path, header, fd, 0, options.onStep);
    loadBinding().lockFile(fd); // a file that nobody else knows yet
    journal.#append(header);
    // The name must survive as the content does: the folder, and those that name a new folder.
    for (const folder of folders) fsyncFolder(folder);
    options.onStep?.('journal:header-synced');
    return journal;
  }

  /**
   * Goes on with a journal, whose contents it reads again once it holds its lock. A torn last line is cut off first.
   * Throws `ERR_LOCKED` when another process is still undoing it after `waitMs`.
   */
  static async reopen(
    path: string,
    options: { readonly onStep?: StepHook | undefined; readonly waitMs?: number } = {},
  ): Promise<{ readonly journal: Journal; readonly contents: JournalContents }> {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_APPEND);
    } catch (error) {
      throw journalFailed(path, error);
    }
    try {
      const deadline = performance.now() + (options.waitMs ?? LOCK_WAIT_MS);
      while (loadBinding().lockFile(fd) !== null) {
        if (performance.now() >= deadline) {
          throw new WarpgaugeError('ERR_LOCKED', `Another process is undoing ${path}`, {
            source: path,
            fix: `See who: sudo fuser -v ${path}`,
          });
        }
        await sleep(LOCK_POLL_MS);
      }
      const contents = readJournal(path);
      const { header } = contents;
      if (header === null || contents.corrupt !== null) throw corruptJournal(contents);
      if (contents.torn) {
        ftruncateSync(fd, contents.validBytes);
        fsyncSync(fd);
      }
      const journal = new Journal(path, header, fd, contents.entries.length + 1, options.onStep);
      return { journal, contents };
    } catch (error) {
      closeSync(fd);
      throw journalFailed(path, error);
    }
  }

  /** Appends one line and fsyncs it. */
  append(entry: JournalEntry): void {
    this.#append(entry);
  }

  #append(entry: JournalHeader | JournalEntry): void {
    this.#onStep?.(`journal:before-${entry.type}`);
    try {
      const line = encodeLine({ seq: this.#sequence, time: new Date().toISOString(), ...entry });
      const written = writeSync(this.#fd, line);
      if (written !== Buffer.byteLength(line)) throw new Error(`wrote ${written} bytes only`);
      this.#onStep?.(`journal:written-${entry.type}`);
      fsyncSync(this.#fd);
    } catch (error) {
      throw journalFailed(this.path, error);
    }
    this.#sequence += 1;
    this.#onStep?.(`journal:after-${entry.type}`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}

/** Folder of the journals inside the state folder. */
function journalDir(stateDir: string): string {
  return join(stateDir, 'journal');
}

/** Whether the process that began a journal still runs; null where that cannot be known from here. */
export function ownerAlive(header: JournalHeader): boolean | null {
  if (header.pidNamespace !== pidNamespace()) return null;
  return processStart(header.pid) === header.pidStart;
}

/** Paths of all journals, or of those of one action, oldest first. */
export function listJournals(stateDir: string, action?: string): string[] {
  const dir = journalDir(stateDir);
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw journalFailed(dir, error);
  }
  return names
    .filter((name) => /^[a-z]+-\d{8}T\d{9}Z-.*\.jsonl$/.test(name))
    .filter((name) => action === undefined || name.startsWith(`${action}-`))
    .sort((a, b) => (startOf(a) < startOf(b) ? -1 : 1))
    .map((name) => join(dir, name));
}

/** The part of a journal's name that says when it was begun. */
const startOf = (name: string): string => name.slice(name.indexOf('-'));

/** How long one waits for another process that is undoing the same journal. */
const LOCK_WAIT_MS = 5000;
const LOCK_POLL_MS = 10;

/** Journals that are kept as a record after nothing is left to undo. */
const KEPT_CLOSED = 100;

/** Removes the oldest closed journals, so that a machine that runs us daily does not fill up. */
export function pruneJournals(journals: readonly JournalContents[]): void {
  const closed = journals.filter(isClosed);
  for (const { path } of closed.slice(0, Math.max(0, closed.length - KEPT_CLOSED))) {
    rmSync(path, { force: true });
  }
}

/** Whether nothing is left to undo. */
export function isClosed(journal: JournalContents): boolean {
  const last = journal.entries.at(-1)?.type;
  return journal.corrupt === null && (last === 'rolledback' || last === 'kept');
}

/** Reads a journal; damage is reported in the result, never thrown. */
export function readJournal(path: string): JournalContents {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw journalFailed(path, error);
  }
  const end = bytes.lastIndexOf(0x0a) + 1;
  // A last piece without its newline was never acknowledged, nor was anything after a power cut
  // that left zeros.
  const torn = end < bytes.length;
  const lines = bytes.toString('utf8', 0, end).split('\n').slice(0, -1);
  let header: JournalHeader | null = null;
  const entries: JournalEntry[] = [];
  for (const [index, line] of lines.entries()) {
    const decoded = decodeLine(line, index);
    const wrong =
      'reason' in decoded
        ? decoded.reason
        : (index === 0) !== (decoded.value['type'] === 'header')
          ? 'header and entries in the wrong order'
          : null;
    if (wrong !== null || 'reason' in decoded) {
      return {
        path,
        header,
        entries,
        torn,
        corrupt: { line: index + 1, reason: wrong ?? 'unreadable' },
        validBytes: end,
      };
    }
    if (index === 0) header = decoded.value as unknown as JournalHeader;
    else entries.push(decoded.value as unknown as JournalEntry);
  }
  return { path, header, entries, torn, corrupt: null, validBytes: end };
}

/** What to tell about a journal that must not be acted upon. */
export function corruptJournal(journal: JournalContents): WarpgaugeError {
  const at = journal.corrupt
    ? `line ${journal.corrupt.line}: ${journal.corrupt.reason}`
    : 'no header';
  return new WarpgaugeError('ERR_JOURNAL', `${journal.path} cannot be trusted (${at})`, {
    fix: `Compare the machine with what you expect (warpgauge pages status, warpgauge mig status), then: rm ${journal.path}`,
    source: journal.path,
  });
}

function journalFailed(path: string, error: unknown): WarpgaugeError {
  if (error instanceof WarpgaugeError) return error;
  const { errno, message } = error as NodeJS.ErrnoException;
  return new WarpgaugeError('ERR_JOURNAL', `The journal ${path} failed: ${message}`, {
    fix: 'Name a writable folder: WARPGAUGE_STATE_DIR=DIR',
    source: path,
    cause: error,
    ...(errno === undefined ? {} : { status: -errno }),
  });
}

/** `{"seq":…,…,"crc":"89abcdef"}`: the CRC is over the text before it, so no canonical form is needed. */
export function encodeLine(value: object): string {
  const body = JSON.stringify(value).slice(0, -1);
  return `${body},"crc":"${crc32(Buffer.from(body)).toString(16).padStart(8, '0')}"}\n`;
}

function decodeLine(
  line: string,
  index: number,
): { readonly value: Record<string, unknown> } | { readonly reason: string } {
  const match = /^(.*),"crc":"([0-9a-f]{8})"\}$/.exec(line);
  if (!match) return { reason: 'no checksum' };
  const [, body = '', crc = ''] = match;
  if (crc32(Buffer.from(body)) !== Number.parseInt(crc, 16)) return { reason: 'wrong checksum' };
  const value = JSON.parse(`${body}}`) as Record<string, unknown>;
  return value['seq'] === index ? { value } : { reason: `sequence number ${value['seq']}` };
}

function fsyncFolder(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw journalFailed(path, error);
  }
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** CRC-32 as zlib has it; `zlib.crc32` itself came with Node 22.2. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
