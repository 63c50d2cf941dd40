import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { WarpgaugeError } from '../errors.ts';
import { commandLine, holderOf } from '../host/process.ts';
import { hostRoot } from '../host/sysfs.ts';

/**
 * One holder per machine for one kind of change.
 *
 * The lock is a bound abstract unix socket that nobody ever connects to. Node has no flock, and a
 * lock *file* with a pid needs a takeover when its holder was killed: every takeover made of link,
 * rename and unlink has a moment in which a slow second taker removes the fresh lock of the first.
 * Here the kernel arbitrates: bind is atomic, and the name is free the moment its holder is gone,
 * by whatever death. There is no stale lock, hence no takeover. The kernel also knows the holder
 * (/proc/net/unix and /proc/PID/fd), so nothing written down can name a wrong one.
 *
 * Limits: processes in different network namespaces do not see each other's lock, and any local
 * user could take the name first; the error then names that process.
 */
export class MachineLock implements AsyncDisposable {
  readonly #server: Server;
  #released: Promise<void> | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Takes the lock `name` or throws `ERR_LOCKED` with the holder's pid and command line. It does not
   * wait. Within one process, too, the second taker is refused.
   */
  static async acquire(
    name: string,
    options: { readonly root?: string } = {},
  ): Promise<MachineLock> {
    const address = lockAddress(name, options.root);
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(error.code === 'EADDRINUSE' ? locked(name, address) : bindFailed(name, error));
      });
      // exclusive: in a cluster worker the primary would bind for all workers, and all would hold it.
      server.listen({ path: `\0${address}`, exclusive: true }, resolve);
    });
    // A lock must not keep a finished program alive.
    server.unref();
    return new MachineLock(server);
  }

  /** Gives the lock back. Idempotent. */
  release(): Promise<void> {
    this.#released ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
    return this.#released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** `sun_path` holds 108 bytes, the first of which is the NUL of the abstract namespace. */
const ADDRESS_BYTES = 107;

/**
 * Padded to the full length: Node 20 binds abstract names with the rest of `sun_path` as NULs, later
 * versions with their exact length, and both must mean the same name.
 */
function lockAddress(name: string, root?: string): string {
  const place = hostRoot(root);
  const suffix =
    place === '/' ? '' : `:${createHash('sha256').update(place).digest('hex').slice(0, 16)}`;
  return `warpgauge:${name}${suffix}:`.padEnd(ADDRESS_BYTES, '-');
}

function holderPid(address: string): number | null {
  let table: string;
  try {
    table = readFileSync('/proc/net/unix', 'latin1');
  } catch {
    return null;
  }
  const line = table.split('\n').find((row) => row.endsWith(`@${address}`));
  const inode = line?.trim().split(/\s+/)[6];
  return inode === undefined ? null : holderOf(`socket:[${inode}]`);
}

function locked(name: string, address: string): WarpgaugeError {
  const pid = holderPid(address);
  if (pid === null) {
    return new WarpgaugeError(
      'ERR_LOCKED',
      `The ${name} of this machine are held by another process that cannot be seen from here`,
      { fix: `Run as root to see the holder: sudo ss -xlp | grep 'warpgauge:${name}'` },
    );
  }
  const command = commandLine(pid) ?? 'unknown command';
  return new WarpgaugeError(
    'ERR_LOCKED',
    `The ${name} of this machine are held by pid ${pid} (${command})`,
    {
      fix: pid === process.pid ? 'Release the first reservation of this process' : `kill ${pid}`,
      source: `pid ${pid}`,
    },
  );
}

function bindFailed(name: string, error: NodeJS.ErrnoException): WarpgaugeError {
  return new WarpgaugeError('ERR_SYSCALL', `The lock for the ${name} failed: ${error.message}`, {
    source: 'bind',
    cause: error,
    ...(error.errno === undefined ? {} : { status: -error.errno }),
  });
}
