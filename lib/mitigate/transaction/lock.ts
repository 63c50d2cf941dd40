import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinding } from '../../addon.ts';
import { type Holder, WarpgaugeError } from '../../errors.ts';
import { commandLine, processStart } from '../../host/process.ts';
import { lockFolder } from '../../host/state-folder.ts';

/**
 * One holder per device: flock on `DEVICE.lock` in the lock folder. The kernel arbitrates and frees the lock with its
 * holder, by whatever death; the file is never removed, so there is no stale lock and no takeover.
 *
 * The file's content is the announced intent: what the holder is about to do to the device, for other processes of
 * warpgauge to read (an agent then lets go of what it has open there). It is always {@link CONTENT_BYTES} long and
 * written at once, so that nobody reads half of it: one line of JSON and blanks, or blanks alone.
 */
export interface LockIntent {
  readonly pid: number;
  /** Start time of the process in clock ticks since boot: an intent whose process is gone says nothing. */
  readonly pidStart: number;
  readonly intent: string;
  /** ISO 8601. */
  readonly since: string;
}

export const CONTENT_BYTES = 512;

export class DeviceLock implements AsyncDisposable {
  readonly device: string;
  #fd: number | null;

  private constructor(device: string, fd: number) {
    this.device = device;
    this.#fd = fd;
  }

  /**
   * Takes the lock of `device` and announces `intent`, or throws `ERR_LOCKED` with the holder's pid and command line. It
   * does not wait. Within one process, too, the second taker is refused.
   */
  static acquire(
    device: string,
    intent: string,
    options: { readonly root?: string | undefined } = {},
  ): DeviceLock {
    const folder = lockFolder(options);
    const path = join(folder, `${device}.lock`);
    let fd: number;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
    } catch (error) {
      throw lockFailed(path, error);
    }
    const errno = loadBinding().lockFile(fd);
    if (errno === null) {
      const lock = new DeviceLock(device, fd);
      lock.announce(intent);
      return lock;
    }
    const holder = holderOf(fd);
    closeSync(fd);
    if (errno !== system.errno.EWOULDBLOCK)
      throw lockFailed(path, { errno: -errno, message: `flock: errno ${errno}` });
    throw locked(device, path, holder);
  }

  /** Says what the holder is about to do; other processes read it. */
  announce(intent: string): void {
    if (this.#fd === null)
      throw new WarpgaugeError('ERR_CLOSED', `The lock of ${this.device} was released`);
    const content: LockIntent = {
      pid: process.pid,
      pidStart: processStart(process.pid) ?? 0,
      intent,
      since: new Date().toISOString(),
    };
    const room = CONTENT_BYTES - Buffer.byteLength(JSON.stringify({ ...content, intent: '' })) - 1;
    const text = Buffer.from(intent)
      .subarray(0, Math.floor(room / 2))
      .toString()
      .replace(/\uFFFD$/, '');
    write(this.#fd, JSON.stringify({ ...content, intent: text }));
  }

  /** Gives the lock back. Idempotent. */
  release(): void {
    if (this.#fd === null) return;
    try {
      write(this.#fd, '');
    } finally {
      closeSync(this.#fd);
      this.#fd = null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}

/** How long one waits for a guardian, which is about to give the device back; for nobody else. */
const GUARDIAN_WAIT_MS = 2000;
const GUARDIAN_POLL_MS = 10;

/** {@link DeviceLock.acquire}, with patience for the guardian of a process that was killed just now. */
export async function acquireDevice(
  device: string,
  intent: string,
  options: { readonly root?: string | undefined } = {},
): Promise<DeviceLock> {
  const deadline = performance.now() + GUARDIAN_WAIT_MS;
  for (;;) {
    try {
      return DeviceLock.acquire(device, intent, options);
    } catch (error) {
      const holder = error instanceof WarpgaugeError ? error.holders?.[0] : undefined;
      const isGuardian = /^\S*warpgauge-guardian /.test(holder?.command ?? '');
      if (!isGuardian || performance.now() >= deadline) throw error;
      await sleep(GUARDIAN_POLL_MS);
    }
  }
}

function write(fd: number, text: string): void {
  const line = Buffer.alloc(CONTENT_BYTES, ' ');
  line.write(text);
  line[CONTENT_BYTES - 1] = 0x0a;
  writeSync(fd, line, 0, CONTENT_BYTES, 0);
}

/** What the holder of a device's lock is about to do, or null: nobody holds it, or its process is gone. */
export function readIntent(
  device: string,
  options: { readonly root?: string | undefined } = {},
): LockIntent | null {
  try {
    const text = readFileSync(join(lockFolder(options), `${device}.lock`), 'utf8').trim();
    if (text === '') return null;
    const intent = JSON.parse(text) as LockIntent;
    return processStart(intent.pid) === intent.pidStart ? intent : null;
  } catch {
    return null;
  }
}

/** By the kernel's own list of locks: nothing written down can name a wrong one. */
function holderOf(fd: number): number | null {
  const { ino } = fstatSync(fd);
  let table: string;
  try {
    table = readFileSync('/proc/locks', 'latin1');
  } catch {
    return null;
  }
  for (const line of table.split('\n')) {
    const match = /^\d+: FLOCK +\S+ +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line);
    if (match !== null && Number(match[2]) === ino && match[1] !== '0') return Number(match[1]);
  }
  return null;
}

function locked(device: string, path: string, pid: number | null): WarpgaugeError {
  if (pid === null) {
    return new WarpgaugeError(
      'ERR_LOCKED',
      `The lock of ${device} is held by another process that cannot be seen from here`,
      { fix: `See who has it: sudo fuser -v ${path}`, source: path },
    );
  }
  const holder: Holder = { pid, command: commandLine(pid) };
  return new WarpgaugeError(
    'ERR_LOCKED',
    `The lock of ${device} is held by pid ${pid} (${holder.command ?? 'unknown command'})`,
    {
      fix: pid === process.pid ? 'Release the first reservation of this process' : `kill ${pid}`,
      source: path,
      holders: [holder],
    },
  );
}

function lockFailed(path: string, error: unknown): WarpgaugeError {
  const { errno, message } = error as NodeJS.ErrnoException;
  return new WarpgaugeError('ERR_SYSCALL', `The lock ${path} failed: ${message}`, {
    source: path,
    fix:
      process.getuid?.() === 0
        ? `mkdir -p -m 755 ${path.slice(0, path.lastIndexOf('/'))}`
        : 'Set XDG_RUNTIME_DIR to a folder of yours',
    cause: error,
    ...(errno === undefined ? {} : { status: -errno }),
  });
}
