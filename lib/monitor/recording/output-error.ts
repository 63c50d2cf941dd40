import { WarpgaugeError } from '../../errors.ts';

const FIXES: Readonly<Record<string, string>> = {
  EACCES: 'choose a folder that you may write',
  EPERM: 'choose a folder that you may write',
  EROFS: 'choose a folder on a writable file system',
  ENOSPC: 'free some space, or choose a folder on another device',
  EDQUOT: 'free some space, or choose a folder on another device',
  EFBIG: 'raise the limit on file sizes (ulimit -f), or rotate',
  ENOENT: 'choose another path',
  ENOTDIR: 'choose another path',
};

/** A failed write in one sentence with its fix. */
export function outputError(path: string, cause: unknown, addition = ''): WarpgaugeError {
  if (cause instanceof WarpgaugeError) return cause;
  const { code, errno, message } = cause as NodeJS.ErrnoException;
  const fix = FIXES[code ?? ''];
  return new WarpgaugeError('ERR_OUTPUT', `Cannot write ${path}: ${message}${addition}`, {
    source: path,
    cause,
    ...(fix === undefined ? {} : { fix }),
    ...(errno === undefined ? {} : { status: -errno }),
  });
}
