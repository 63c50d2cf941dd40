import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { persistentPages, poolFile, readPool } from '#lib/mitigate/pool-status';

export const MB2: number = 2 ** 21;
export const GB: number = 2 ** 30;

/** Why tests that change this machine's pools cannot run here, or false. */
export function cannotReserve(pageBytes: number = MB2): string | false {
  try {
    accessSync(poolFile(pageBytes), constants.W_OK);
    return false;
  } catch (error) {
    return `${poolFile(pageBytes)} cannot be written: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** Pages of a pool as a write to its file counts them. */
export function persistent(pageBytes: number = MB2): number {
  const pool = readPool(pageBytes);
  return pool === null ? Number.NaN : (persistentPages(pool, null) as number);
}

/** Pages that a mapping gets for sure. */
export function free(pageBytes: number = MB2): number {
  const pool = readPool(pageBytes);
  return pool === null ? Number.NaN : Math.max(0, pool.free - pool.reserved);
}

/**
 * Puts these pools back after all tests of a file, whatever was killed in between: this process is the parent
 * that survives. Returns a state folder of its own.
 */
export function guardPools(...pageSizes: readonly number[]): string {
  const sizes = pageSizes.filter((pageBytes) => readPool(pageBytes) !== null);
  const before = sizes.map((pageBytes) => persistent(pageBytes));
  const stateDir = mkdtempSync(join(tmpdir(), 'warpgauge-state-'));
  after(() => {
    for (const [index, pageBytes] of sizes.entries()) {
      if (persistent(pageBytes) !== before[index] && cannotReserve(pageBytes) === false) {
        writeFileSync(poolFile(pageBytes), `${before[index]}`);
      }
    }
    rmSync(stateDir, { recursive: true, force: true });
  });
  return stateDir;
}

/** What the kernel says of one pool, for a change that is not ours. */
export function setPool(pages: number, pageBytes: number = MB2): void {
  writeFileSync(poolFile(pageBytes), `${pages}`);
  const now = readFileSync(poolFile(pageBytes), 'utf8').trim();
  if (now !== `${pages}`) throw new Error(`asked the kernel for ${pages} pages, it made ${now}`);
}
