import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Readers of the small files of /proc and /sys. Paths are those of the real machine
 * (`/sys/kernel/mm/...`); `root` puts a recorded tree in their place: the option where one is
 * given, else `WARPGAUGE_ROOT`, else `/`. They never throw: what cannot be read is null.
 */

/** The folder that stands for `/`. */
export function hostRoot(root?: string): string {
  return root ?? (process.env['WARPGAUGE_ROOT'] || '/');
}

/** Where `path` of the machine lies under `root`. */
export function hostPath(path: string, root?: string): string {
  return join(hostRoot(root), path);
}

/** A file's text without the last newline, or the system's reason in a few words. */
export function readTextOrReason(
  path: string,
  root?: string,
): { readonly text: string } | { readonly reason: string } {
  try {
    return { text: readFileSync(hostPath(path, root), 'utf8').replace(/\n$/, '') };
  } catch (error) {
    return { reason: `${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}` };
  }
}

/** A file's text without the last newline, or null. */
export function readText(path: string, root?: string): string | null {
  const result = readTextOrReason(path, root);
  return 'text' in result ? result.text : null;
}

/** A file that holds one decimal number, or null. A word such as `max` is null too. */
export function readNumber(path: string, root?: string): number | null {
  const text = readText(path, root)?.trim();
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : null;
}

/** Names in a folder, sorted; an absent or unreadable folder has none. */
export function listDir(path: string, root?: string): string[] {
  try {
    return readdirSync(hostPath(path, root)).sort();
  } catch {
    return [];
  }
}

/** The chosen word of a line such as `always [madvise] never`, or null. */
export function chosenWord(line: string | null): string | null {
  return /\[([^\]]+)\]/.exec(line ?? '')?.[1] ?? null;
}

/** Lines `name value` or `Name:   value kB` (meminfo, vmstat, events files) as numbers; kB become bytes. */
export function parseKeyValues(text: string | null): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of (text ?? '').split('\n')) {
    const match = /^([^\s:]+):?\s+(\d+)(\s+kB)?\s*$/.exec(line);
    if (match) values.set(match[1] as string, Number(match[2]) * (match[3] ? 1024 : 1));
  }
  return values;
}

/** Numbers of a list such as `0-1,4`. */
export function parseList(text: string | null): number[] {
  const numbers: number[] = [];
  for (const part of (text ?? '').trim().split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) continue;
    for (let n = Number(match[1]); n <= Number(match[2] ?? match[1]); n++) numbers.push(n);
  }
  return numbers;
}
