import { accessSync, constants } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { WarpgaugeError } from '../../errors.ts';
import { chosenWord, hostPath } from '../../host/sysfs.ts';
import type { JournalValue } from './journal.ts';
import type { Operation, Step } from './kind.ts';

/** A setting that is a file of sysfs or procfs; the guardian undoes it without us. */
export const FILE_SET = 'file.set';

/** What a file of settings says: the word in brackets of `always [madvise] never`, else the whole text. */
export function settingOf(text: string): string {
  const line = text.split('\n', 1)[0] ?? '';
  return chosenWord(line) ?? line;
}

/** `file.set`: writes a value, and puts back what was there, unless somebody else has changed it since. */
export function fileOperation(options: { readonly root?: string | undefined } = {}): Operation {
  const { root } = options;
  const read = async (target: string): Promise<string> => {
    try {
      return settingOf(await readFile(hostPath(target, root), 'utf8'));
    } catch (error) {
      throw fileFailed(target, 'read', error);
    }
  };
  return {
    describe: (step) => `set ${step.target} to ${step.asked}`,
    read,
    preflight(step) {
      try {
        accessSync(hostPath(step.target, root), constants.W_OK);
        return null;
      } catch (error) {
        return fileFailed(step.target, 'written', error, step.asked);
      }
    },
    async set(step) {
      try {
        // As echo writes it, into a file that exists: none is ever made.
        await writeFile(hostPath(step.target, root), `${step.asked}\n`, {
          flag: constants.O_WRONLY,
        });
      } catch (error) {
        throw fileFailed(step.target, 'written', error, step.asked);
      }
    },
    effect: (step, prior, now) => (now === step.asked && now !== prior ? now : null),
    verify: (step, prior, effect) =>
      effect === step.asked || prior === step.asked ? null : refused(step),
    async undo(record) {
      const now = await read(record.target);
      if (now !== record.observed) return null;
      return { op: FILE_SET, target: record.target, asked: record.prior };
    },
  };
}

function refused(step: Step): WarpgaugeError {
  return new WarpgaugeError(
    'ERR_REFUSED',
    `${step.target} was set to ${step.asked} and does not read so`,
    { source: step.target, fix: `cat ${step.target}` },
  );
}

function fileFailed(
  target: string,
  what: 'read' | 'written',
  error: unknown,
  asked: JournalValue = null,
): WarpgaugeError {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  const details = {
    source: target,
    cause: error,
    ...(errno === undefined ? {} : { status: -errno }),
  };
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const where =
      code === 'EROFS' ? ' (read-only here, as in a container: run it on the host)' : '';
    return new WarpgaugeError('ERR_PERMISSION', `${target} cannot be ${what}: ${code}${where}`, {
      ...details,
      capability: target,
      fix: `sudo sh -c 'echo ${asked ?? ''} > ${target}'`,
    });
  }
  return new WarpgaugeError('ERR_SYSCALL', `${target} cannot be ${what}: ${message}`, details);
}
