/** Child processes of the benchmarks: plain `node`, and the native executables of the CMake preset `bench`. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Skip } from './result.ts';

export interface ChildOutcome {
  /** From before the start to the end of the process and its output. */
  readonly wallNs: number;
  readonly stdout: string;
}

/** What would make one `node` different from another. */
const NOT_INHERITED = /^(NODE_|npm_|WARPGAUGE_)/;

function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name)),
  );
}

/** The exit code of bench/native for "this machine cannot". */
const UNAVAILABLE = 3;

/** Runs a program to its end. Throws {@link Skip} where it says that the machine cannot. */
export async function runChild(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<ChildOutcome> {
  signal.throwIfAborted();
  const start = process.hrtime.bigint();
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: cleanEnvironment(),
    signal,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const wallNs = Number(process.hrtime.bigint() - start);
  if (code === UNAVAILABLE) throw new Skip(stderr.trim());
  if (code !== 0) {
    throw new Error(`${command} ${args.join(' ')}: exit code ${code}: ${stderr || stdout}`);
  }
  return { wallNs, stdout };
}

/** A fresh `node` like this one. */
export async function runNode(args: readonly string[], signal: AbortSignal): Promise<ChildOutcome> {
  return runChild(process.execPath, args, signal);
}

/** Builds bench/native and links it with the objects of the shipped addon; returns the folder of the executables. */
export async function buildNative(signal: AbortSignal): Promise<string> {
  try {
    await runChild('cmake', ['--preset', 'bench'], signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Skip('cmake is missing: apt-get install -y cmake');
  }
  await runChild('cmake', ['--build', '--preset', 'bench'], signal);
  return 'out/bench/bench';
}

/** One JSON value per line. */
export function parseLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

/** Starts bench/probes/`name` in a process of its own and gives back what it printed: one JSON value per line. */
export async function runProbe<T>(
  name: string,
  args: readonly (string | number)[],
  signal: AbortSignal,
): Promise<T[]> {
  const file = fileURLToPath(new URL(`probes/${name}.js`, import.meta.url));
  return parseLines<T>((await runNode([file, ...args.map(String)], signal)).stdout);
}

/** The same of a probe that prints one line. */
export async function askProbe<T>(
  name: string,
  args: readonly (string | number)[],
  signal: AbortSignal,
): Promise<T> {
  const [first, ...more] = await runProbe<T>(name, args, signal);
  if (first === undefined || more.length > 0) {
    throw new Error(`${name} printed ${more.length + (first === undefined ? 0 : 1)} lines`);
  }
  return first;
}
