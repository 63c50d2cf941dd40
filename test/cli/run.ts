import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The built command line. */
export const MAIN: string = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `warpgauge ARGS` in a child, without the variables that change what it finds. */
export function warpgauge(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): RunResult {
  const result = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', ...env },
    timeout: 60_000,
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Files of every module that a Node process loaded, as V8's coverage lists them. */
export function loadedModules(nodeArgs: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'warpgauge-modules-'));
  try {
    spawnSync(process.execPath, nodeArgs, {
      env: { PATH: process.env['PATH'] ?? '', NODE_V8_COVERAGE: folder },
      timeout: 60_000,
    });
    return readdirSync(folder).flatMap((file) =>
      (JSON.parse(readFileSync(join(folder, file), 'utf8')) as { result: { url: string }[] }).result
        .map(({ url }) => url)
        .filter((url) => url.startsWith('file:'))
        .map((url) => fileURLToPath(url)),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
