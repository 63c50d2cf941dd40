import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * Who a process is. Always read from the real /proc, whatever root a recorded tree puts in its
 * place: pids that we write down are pids of the namespace that we run in.
 */

/** Start time of a process in clock ticks since boot, or null when there is no such process. */
export function processStart(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name may hold blanks and parentheses: fields are counted from the last ')'.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie holds nothing any more: its descriptors and its memory are gone.
    return fields[0] === 'Z' || fields[0] === 'X' ? null : Number(fields[19]);
  } catch {
    return null;
  }
}

/** The command line of a process with blanks between its arguments, or null. */
export function commandLine(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').replaceAll('\0', ' ');
  } catch {
    return null;
  }
}

/** Names our pid namespace: a pid of another one says nothing here. */
export function pidNamespace(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return null;
  }
}

/** The process that has `link` (such as `socket:[123]`) open, as far as we may look. */
export function holderOf(link: string): number | null {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (readlinkSync(`/proc/${pid}/fd/${fd}`) === link) return Number(pid);
      }
    } catch {
      // Gone meanwhile, or not ours to look at.
    }
  }
  return null;
}
