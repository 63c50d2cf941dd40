import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { guardianExecutable } from '../../addon.ts';
import { auditFile } from '../../audit.ts';
import { processStart } from '../../host/process.ts';
import { lockFolder } from '../../host/state-folder.ts';
import { hostRoot } from '../../host/sysfs.ts';
import type { ActionKind } from './kind.ts';

/** How a change ends when its process does not end it. */
export interface Lease {
  /** After this time the change is undone. Default: never. */
  readonly ttlMs?: number | undefined;
  /** Whether a small process undoes the change when ours dies or the time is over. Default true; false leaves it to `recover`. */
  readonly guardian?: boolean | undefined;
}

/** Which process undoes a change when its owner dies. */
export interface GuardianReport {
  /** null: none; after the death of its owner the change is undone by `recover` only. */
  readonly pid: number | null;
  /** Why there is none. */
  readonly reason: string | null;
}

/** Time in which the guardian has to say that it watches. */
const READY_MS = 5000;

/**
 * The process that watches us (native/guardian). It is in a session of its own, and has the journal alone to go
 * by: what it does after our death does not depend on us.
 */
export class GuardianProcess {
  readonly report: GuardianReport;
  readonly #child: ChildProcess | null;

  private constructor(child: ChildProcess | null, reason: string | null) {
    this.#child = child;
    this.report = { pid: child?.pid ?? null, reason };
  }

  static none(reason: string): GuardianProcess {
    return new GuardianProcess(null, reason);
  }

  /** Starts it and waits until it watches. A machine where it cannot be started is a reason, not a failure. */
  static async start(options: {
    readonly kind: ActionKind;
    readonly journal: string;
    readonly stateDir: string;
    readonly root: string | undefined;
    readonly expires: number | null;
  }): Promise<GuardianProcess> {
    const found = guardianExecutable();
    if ('reason' in found) return GuardianProcess.none(found.reason);
    // For what is not a write to a file: the whole library, started when it is needed.
    const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
    const child = spawn(
      found.path,
      [
        options.journal,
        auditFile(options.stateDir),
        lockFolder({ root: options.root }),
        resolve(hostRoot(options.root)),
        `${process.pid}`,
        `${processStart(process.pid) ?? 0}`,
        `${options.expires ?? -1}`,
        ...[process.execPath, main, options.kind.command, 'recover'],
      ],
      {
        detached: true,
        stdio: ['pipe', 'pipe', 'ignore'],
        cwd: '/',
        env: {
          ...process.env,
          WARPGAUGE_STATE_DIR: options.stateDir,
          ...(hostRoot(options.root) === '/'
            ? {}
            : { WARPGAUGE_ROOT: resolve(hostRoot(options.root)) }),
        },
      },
    );
    const problem = await watching(child);
    if (problem !== null) {
      child.kill('SIGKILL');
      return GuardianProcess.none(`${found.path}: ${problem}`);
    }
    // Neither the process nor its pipe keeps ours alive.
    child.unref();
    child.stdout?.destroy();
    (child.stdin as unknown as { unref(): void } | null)?.unref();
    child.stdin?.on('error', () => {}); // it ended: there is nobody to tell
    return new GuardianProcess(child, null);
  }

  /** Tells it to look at the journal: when nothing is left to undo, it ends. */
  look(): void {
    this.#child?.stdin?.end();
  }
}

/** null once it watches, else why it does not. */
function watching(child: ChildProcess): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(`not ready within ${READY_MS} ms`), READY_MS);
    const end = (result: string | null): void => {
      clearTimeout(timer);
      resolve(result);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(`ended with ${signal ?? `exit code ${code}`}`));
    child.stdout?.once('data', () => end(null));
  });
}
