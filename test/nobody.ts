import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

let why: string | false | undefined;

/**
 * For tests that run a program of this checkout as uid 65534.
 *
 * @returns false where that can be done, else why the test should be skipped: the value of its option `skip`.
 */
export function whyNotNobody(): string | false {
  why ??= find();
  return why;
}

function find(): string | false {
  if (process.getuid?.() !== 0) return 'only root can become uid 65534';
  const file = JSON.stringify(fileURLToPath(import.meta.url));
  const look = ['--eval', `require('node:fs').readFileSync(${file})`];
  const run = spawnSync(process.execPath, look, { uid: 65534, gid: 65534, cwd: '/' });
  return run.status === 0
    ? false
    : 'uid 65534 cannot read this checkout: it lies in a closed folder';
}
