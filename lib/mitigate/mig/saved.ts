import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WarpgaugeError } from '../../errors.ts';
import { type StateOptions, stateFolder } from '../../host/state-folder.ts';
import type { MigProfile, MigProfileSet } from './profiles.ts';

/**
 * Readings of a driver's profiles, kept so that plans can be made without the right to ask it, or without the GPU. One
 * file per board and driver: the same board has other sizes under another driver.
 */
interface SavedReading {
  readonly schema: 'warpgauge/mig-profiles/1';
  readonly board: string;
  readonly driverVersion: string;
  readonly readAt: string;
  readonly memorySlices: number;
  readonly profiles: readonly MigProfile[];
}

const SCHEMA = 'warpgauge/mig-profiles/1';

function fileOf(board: string, driverVersion: string, options: StateOptions): string {
  const name = `${board} ${driverVersion}`.replace(/[^A-Za-z0-9.]+/g, '-');
  return join(stateFolder(options), 'mig-profiles', `${name}.json`);
}

/** Keeps what a driver said; gives the file. */
export function saveProfiles(set: MigProfileSet, options: StateOptions = {}): string {
  if (set.source.kind !== 'driver') {
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Only what a driver said can be saved, and these profiles are from an ${set.source.kind} table`,
      { fix: 'Run it as root on the machine with the GPU, without --board' },
    );
  }
  const { driverVersion } = set.source;
  const path = fileOf(set.board, driverVersion, options);
  const reading: SavedReading = {
    schema: SCHEMA,
    board: set.board,
    driverVersion,
    readAt: new Date().toISOString(),
    memorySlices: set.memorySlices,
    profiles: set.profiles,
  };
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(`${path}.new`, `${JSON.stringify(reading, null, 2)}\n`);
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw new WarpgaugeError(
      'ERR_OUTPUT',
      `The profiles cannot be saved: ${(error as Error).message}`,
      {
        fix: 'Name a writable folder: WARPGAUGE_STATE_DIR=DIR',
        source: path,
        cause: error,
      },
    );
  }
  return path;
}

/** A saved reading by its file; throws where it is none. */
export function loadProfiles(path: string): MigProfileSet {
  let reading: SavedReading;
  try {
    reading = JSON.parse(readFileSync(path, 'utf8')) as SavedReading;
    if (reading.schema !== SCHEMA) throw new Error(`its schema is ${String(reading.schema)}`);
    if (!Array.isArray(reading.profiles) || !reading.profiles.every(isProfile)) {
      throw new Error('its profiles are damaged');
    }
  } catch (error) {
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `${path} is no saved reading of MIG profiles: ${(error as Error).message}`,
      { fix: 'warpgauge mig profiles --save writes one', source: path, cause: error },
    );
  }
  const { board, driverVersion, readAt, memorySlices, profiles } = reading;
  return {
    board,
    source: { kind: 'saved', file: path, driverVersion, readAt },
    memorySlices,
    profiles,
  };
}

/** The reading of this board under this driver, or null. */
export function savedProfiles(
  board: string,
  driverVersion: string,
  options: StateOptions = {},
): MigProfileSet | null {
  try {
    return loadProfiles(fileOf(board, driverVersion, options));
  } catch {
    return null;
  }
}

function isProfile(value: MigProfile): boolean {
  const numbers = [value.id, value.slices, value.memorySlices, value.maxInstances];
  return (
    typeof value.name === 'string' &&
    numbers.every(Number.isInteger) &&
    Array.isArray(value.starts) &&
    value.starts.every((start) => Number.isInteger(start) && start >= 0 && start < 26) &&
    Array.isArray(value.compute)
  );
}
