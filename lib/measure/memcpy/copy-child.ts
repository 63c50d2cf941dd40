import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type {
  NativeBackendInfo,
  NativeBackendOptions,
  NativeSample,
  NativeSampleSpec,
} from '../../addon.ts';
import { WarpgaugeError } from '../../errors.ts';
import { lineSplitter, type Reply, type Request } from './protocol.ts';

export interface CopyChildOptions {
  readonly backend: NativeBackendOptions;
  /** Processor of the copying thread; -1 leaves it to the scheduler. */
  readonly cpu: number;
}

/**
 * One copying process. `sample` asks for one sample at a time; a child that dies rejects the request in
 * progress with `ERR_CHILD_DIED` and all later ones.
 */
export class CopyChild {
  readonly info: NativeBackendInfo;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #state: ChildState;

  private constructor(
    process: ChildProcessWithoutNullStreams,
    state: ChildState,
    info: NativeBackendInfo,
  ) {
    this.#process = process;
    this.#state = state;
    this.info = info;
  }

  /** Starts a child and opens the backend in it. Rejects with the backend's own error. */
  static async start(options: CopyChildOptions): Promise<CopyChild> {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./child.js', import.meta.url))], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Inspectors, loaders and heap options of the user's process have no place in the measured one.
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const state = watch(child);
    const reply = await state
      .request({
        op: 'open',
        parentPid: process.pid,
        cpu: options.cpu,
        backend: options.backend,
      })
      .catch((error: unknown) => {
        child.kill('SIGKILL');
        throw error;
      });
    if (!('info' in reply)) {
      child.kill('SIGKILL');
      throw new WarpgaugeError(
        'ERR_CHILD_DIED',
        'the copying child gave an answer of another kind',
      );
    }
    return new CopyChild(child, state, reply.info);
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  get alive(): boolean {
    return this.#state.alive();
  }

  async sample(spec: NativeSampleSpec): Promise<NativeSample> {
    const reply = await this.#state.request({ op: 'sample', spec });
    if (!('sample' in reply)) {
      throw new WarpgaugeError(
        'ERR_CHILD_DIED',
        'the copying child gave an answer of another kind',
      );
    }
    return reply.sample;
  }

  /** Test hook: the child kills itself in the middle of the protocol. */
  async die(): Promise<void> {
    await this.#state.request({ op: 'die' });
  }

  /** Ends the child and waits until it is gone, so that its pages are back in the pools. Idempotent. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#state.ended;
  }

  /** Ends the child in the middle of a sample. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#state.ended;
  }
}

interface ChildState {
  request(request: Request): Promise<Reply>;
  alive(): boolean;
  readonly ended: Promise<void>;
}

/** Keeps the end of what the child said on standard error: it is the only witness of a crash. */
const STDERR_BYTES = 2000;

function watch(child: ChildProcessWithoutNullStreams): ChildState {
  let waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | null = null;
  let dead: WarpgaugeError | null = null;
  let stderr = '';

  const fail = (how: string): void => {
    const said = stderr.trim() === '' ? '' : `; it said: ${stderr.trim().split('\n').at(-1)}`;
    dead ??= new WarpgaugeError('ERR_CHILD_DIED', `the copying child ${how}${said}`);
    waiting?.reject(dead);
    waiting = null;
  };
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      fail(`could not be started: ${error.message}`);
      resolve();
    });
    child.once('close', (code, signal) => {
      fail(signal === null ? `exited with code ${code}` : `died of ${signal}`);
      resolve();
    });
  });

  child.stdout.setEncoding('utf8');
  child.stdout.on(
    'data',
    lineSplitter((line) => {
      const reply = JSON.parse(line) as Reply;
      const { resolve, reject } = waiting ?? { resolve: () => {}, reject: () => {} };
      waiting = null;
      if ('error' in reply) {
        const { code, message, fix, source, status } = reply.error;
        reject(
          new WarpgaugeError(code, message, {
            ...(fix === null ? {} : { fix }),
            ...(source === null ? {} : { source }),
            ...(status === null ? {} : { status }),
          }),
        );
      } else {
        resolve(reply);
      }
    }),
  );
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_BYTES);
  });
  // A write to a child that has just died: its end is reported by 'close'.
  child.stdin.on('error', () => {});

  return {
    ended,
    alive: () => dead === null,
    request: (request) =>
      new Promise((resolve, reject) => {
        if (dead !== null) return reject(dead);
        if (waiting !== null) {
          return reject(new WarpgaugeError('ERR_CHILD_DIED', 'one request at a time'));
        }
        waiting = { resolve, reject };
        child.stdin.write(`${JSON.stringify(request)}\n`);
      }),
  };
}
