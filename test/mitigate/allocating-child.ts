import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ErrorRecord } from '#lib/errors';
import type { AllocateOptions, GrantedPages, PageKind } from '#lib/mitigate/index';

export const childPath = (name: string): string =>
  fileURLToPath(new URL(`../children/${name}.js`, import.meta.url));

export interface ChildResult {
  readonly pages?: PageKind;
  readonly grantedPages?: GrantedPages;
  readonly fellBackFrom?: PageKind | null;
  readonly reason?: ErrorRecord | null;
  readonly error?: ErrorRecord;
}

/** Runs children/allocate.ts, started by `wrapper` (a command that ends in exec of its arguments). */
export function allocateInChild(
  options: AllocateOptions,
  wrapper: readonly string[] = [],
): ChildResult {
  const [command = '', ...args] = [
    ...wrapper,
    process.execPath,
    childPath('allocate'),
    JSON.stringify(options),
  ];
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 120_000 });
  if (result.error) throw result.error;
  // SIGBUS would show here.
  if (result.signal !== null || result.status !== 0) {
    throw new Error(
      `the child ended by ${result.signal ?? `exit code ${result.status}`}: ${result.stderr}`,
    );
  }
  return JSON.parse(result.stdout) as ChildResult;
}

/** A Python line that runs before the child: Node itself has no prctl. */
export const python = (code: string): string[] => [
  'python3',
  '-c',
  `import ctypes, os, struct, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n${code}\nos.execvp(sys.argv[1], sys.argv[1:])`,
];

/** Makes a system call with a certain third argument fail with EINVAL, as on a kernel that lacks it. */
export function refuseCall(number: number, argument: number): string[] {
  return python(
    [
      'ins = lambda code, jt, jf, k: struct.pack("HBBI", code, jt, jf, k)',
      `prog = ins(0x20,0,0,0) + ins(0x15,0,3,${number}) + ins(0x20,0,0,32) + ins(0x15,0,1,${argument}) + ins(6,0,0,0x50016) + ins(6,0,0,0x7fff0000)`,
      'text = ctypes.create_string_buffer(prog)',
      'filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 6, ctypes.addressof(text)))',
      'assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0',
    ].join('\n'),
  );
}

/** Number of madvise(2) on this architecture. */
export const MADVISE: number = process.arch === 'x64' ? 28 : 233;
export const MADV_POPULATE_WRITE = 23;
