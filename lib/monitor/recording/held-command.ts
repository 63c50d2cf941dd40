import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Writable } from 'node:stream';
import { WarpgaugeError } from '../../errors.ts';

/** How a command ended, as a shell would tell it. */
export interface CommandEnd {
  /** Its exit code, or 128 + n after signal n. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
}

/** What a shell answers when a command cannot be started. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;

/**
 * Waits for a line on descriptor 3 and then becomes the command. When we die before, the descriptor ends and so does
 * the waiting shell: nothing stays behind. The process that is watched is the one that runs the command, from
 * before its first instruction.
 */
const WAIT_AND_RUN = 'read -r go <&3 || exit 125; exec 3<&-; exec "$@"';

/** Whether the command can be started at all: 126, 127 or null. */
export function whyNotStartable(
  name: string,
  path: string = process.env['PATH'] ?? '',
): { readonly code: number; readonly message: string } | null {
  const places = name.includes('/')
    ? [name]
    : path.split(delimiter).map((folder) => join(folder || '.', name));
  let found = false;
  for (const place of places) {
    try {
      if (!statSync(place).isFile()) throw new Error('no file');
      found = true;
      accessSync(place, constants.X_OK);
      return null;
    } catch {
      // the next one
    }
  }
  return found || statSync(name, { throwIfNoEntry: false })?.isDirectory() === true
    ? { code: NOT_EXECUTABLE, message: `${name} cannot be executed` }
    : { code: NOT_FOUND, message: `there is no command ${name}` };
}

/** How a command is started. */
export interface HeldCommandOptions {
  /** Default: the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** `stderr`: what it prints goes to our standard error. Default `inherit`. */
  readonly output?: 'inherit' | 'stderr';
}

/** A command that was started and waits: its process can be watched before it does anything. */
export class HeldCommand {
  readonly pid: number;
  /** Resolves when the command has ended. */
  readonly ended: Promise<CommandEnd>;
  readonly #child: ChildProcess;
  #released = false;

  private constructor(child: ChildProcess, pid: number, ended: Promise<CommandEnd>) {
    this.#child = child;
    this.pid = pid;
    this.ended = ended;
  }

  /** @throws WarpgaugeError `ERR_SYSCALL` when there can be no further process. */
  static async start(
    command: readonly string[],
    { env, cwd, output = 'inherit' }: HeldCommandOptions = {},
  ): Promise<HeldCommand> {
    const child = spawn('/bin/sh', ['-c', WAIT_AND_RUN, 'sh', ...command], {
      stdio: ['inherit', output === 'stderr' ? 2 : 'inherit', 'inherit', 'pipe'],
      ...(env === undefined ? {} : { env }),
      ...(cwd === undefined ? {} : { cwd }),
    });
    const { constants: os } = await import('node:os');
    const ended = new Promise<CommandEnd>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        const number = signal === null ? 0 : os.signals[signal];
        resolve({ code: code ?? 128 + number, signal });
      });
    });
    ended.catch(() => undefined); // told below, when there is no process
    if (child.pid === undefined) {
      const cause = await ended.then(
        () => null,
        (error: Error) => error,
      );
      throw new WarpgaugeError('ERR_SYSCALL', `Cannot start a process: ${cause?.message}`, {
        cause,
      });
    }
    // A command that ends while we write to it is told by its exit.
    child.stdio[3]?.on('error', () => undefined);
    return new HeldCommand(child, child.pid, ended);
  }

  /** Lets the command run. */
  release(): void {
    this.#released = true;
    (this.#child.stdio[3] as Writable).end('go\n');
  }

  /** Passes a signal on; a command that still waits is ended without having run. */
  kill(signal: NodeJS.Signals): void {
    if (this.#released) this.#child.kill(signal);
    else this.#child.stdio[3]?.destroy();
  }

  /** When it is no longer watched: one that waits is ended without having run, one that runs is left alone. */
  abandon(): void {
    if (!this.#released) this.#child.stdio[3]?.destroy();
  }
}
