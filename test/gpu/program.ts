/** The C programs beside this file, built where they are missing. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path of a program, built by cmake where it is not there yet. */
export function programPath(name: 'plain_copy' | 'gpu_load'): string {
  const path = fileURLToPath(new URL(`../../../debug/gpu/${name}`, import.meta.url));
  if (existsSync(path)) return path;
  for (const args of [
    ['--preset', 'debug'],
    ['--build', '--preset', 'debug', '--target', name],
  ]) {
    const built = spawnSync('cmake', args, { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`building ${name}: ${built.stderr ?? built.error}`);
  }
  return path;
}

/** Path of test/programs/cuda_copies, which makes known copies and kernels. */
export function copiesProgram(): string {
  const path = fileURLToPath(new URL('../../../debug/programs/cuda_copies', import.meta.url));
  if (!existsSync(path)) throw new Error('node scripts/setup.mjs --tests builds cuda_copies');
  return path;
}

/** Runs a program to its end and gives its output. */
export function runProgram(name: 'plain_copy', args: readonly string[]): string {
  const run = spawnSync(programPath(name), args, { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr || String(run.error ?? run.signal));
  return run.stdout;
}
