import { invalidArgument } from '../../errors.ts';
import { compareProfiles, type MigProfile, type MigProfileSet } from './profiles.ts';

/**
 * Profiles of boards for planning without a driver. They are defaults, not truth: the same board has had other sizes
 * under other drivers, and SM counts are not slices times something. The placements and counts were seen on an A100 and
 * in two listings of an H100 NVL; `apply` compares them with the driver's own and refuses where they differ.
 */
export const MIG_BOARDS = ['A100-40', 'A100-80', 'H100-80', 'H200-141', 'B200-180'] as const;
export type MigBoard = (typeof MIG_BOARDS)[number];

/** What all 7-slice boards share: `[id, slices, memory slices, starts, most]`. */
const GEOMETRY = [
  [0, 7, 8, [0], 1],
  [5, 4, 4, [0], 1],
  [9, 3, 4, [0, 4], 2],
  [14, 2, 2, [0, 2, 4], 3],
  [15, 1, 2, [0, 2, 4, 6], 4],
  [19, 1, 1, [0, 1, 2, 3, 4, 5, 6], 7],
  [20, 1, 1, [0, 1, 2, 3, 4, 5, 6], 1],
] as const;

/** Of one board, in the order of GEOMETRY; null: in no listing that we know. */
interface Board {
  readonly note: string;
  readonly gb: readonly number[];
  readonly mib: readonly (number | null)[];
  readonly sms: readonly (number | null)[];
  readonly copyEngines: readonly (number | null)[];
  readonly decoders: readonly (number | null)[];
  readonly jpegs: readonly (number | null)[];
}

const gib = (...values: readonly (number | null)[]): (number | null)[] =>
  values.map((value) => (value === null ? null : Math.round(value * 1024)));

const AMPERE = {
  sms: [98, 56, 42, 28, 14, 14, 14],
  copyEngines: [7, 4, 3, 2, 1, 1, 1],
  jpegs: [1, 0, 0, 0, 0, 0, 1],
};
const HOPPER = {
  sms: [132, 64, 60, 32, 26, 16, 16],
  copyEngines: [8, 4, 3, 2, 1, 1, 1],
  decoders: [7, 4, 3, 2, 1, 1, 1],
  jpegs: [7, 4, 3, 2, 1, 1, 1],
};

const BOARDS: Readonly<Record<MigBoard, Board>> = {
  'A100-40': {
    note: 'published listings of an A100-SXM4-40GB',
    gb: [40, 20, 20, 10, 10, 5, 5],
    mib: [40192, 19968, 19968, 9856, 9856, 4864, 4864],
    decoders: [5, 2, 2, 1, 1, 0, 1],
    ...AMPERE,
  },
  'A100-80': {
    note: 'published listings of an A100-SXM4-80GB, which disagree about decoders',
    gb: [80, 40, 40, 20, 20, 10, 10],
    mib: [80384, 40192, 40192, 19968, 19968, 9856, 9856],
    decoders: [5, null, null, null, 1, null, 1],
    ...AMPERE,
  },
  'H100-80': {
    note: 'published listings of an H100 SXM 80GB; parts with 114 SMs have fewer per profile',
    gb: [80, 40, 40, 20, 20, 10, 10],
    mib: gib(79.25, 39.5, 39.5, 19.62, 19.62, 9.75, 9.75),
    ...HOPPER,
  },
  'H200-141': {
    note: 'a published listing of an H200; another driver gives up to 0.25 GiB more per profile',
    gb: [141, 71, 71, 35, 35, 18, 18],
    mib: gib(139.75, 69.5, 69.5, 32.25, 32.25, 16, 16),
    ...HOPPER,
  },
  'B200-180': {
    note: 'published listings of a B200 for 1g and 2g (the memory of 1g differs between drivers, hence null); 3g, 4g and 7g are inferred from the boards before it',
    gb: [180, 90, 90, 45, 45, 23, 23],
    mib: gib(null, null, null, 44.25, 44.25, null, null),
    sms: [null, null, null, 36, 30, 18, 18],
    copyEngines: [null, null, null, null, 2, 2, 2],
    decoders: [null, null, null, 2, 1, 1, 1],
    jpegs: [null, null, null, 2, 1, 1, 1],
  },
};

/** Compute instances of a GPU instance: 1, 2, 3, 4 or 7 slices, as many as fit at their starts. */
const COMPUTE_STARTS: Readonly<Record<number, readonly number[]>> = {
  1: [0, 1, 2, 3, 4, 5, 6],
  2: [0, 2, 4],
  3: [0, 4],
  4: [0],
  7: [0],
};

/** Where compute instances of `slices` may lie in a GPU instance of `of` slices, where no driver says. */
export function computeStarts(slices: number, of: number): readonly number[] {
  const starts = COMPUTE_STARTS[slices] ?? [0];
  return starts.filter((start) => start + slices <= of);
}

/** Where no driver says otherwise. */
export function computeProfiles(of: number): MigProfile['compute'] {
  return [1, 2, 3, 4, 7]
    .filter((slices) => slices <= of)
    .map((slices, id) => ({
      id,
      number: null,
      slices,
      maxInstances: computeStarts(slices, of).length,
    }));
}

/** The offline table of a board; throws `ERR_INVALID_ARGUMENT` for a name that is none. */
export function offlineProfiles(board: string): MigProfileSet {
  const name = MIG_BOARDS.find((one) => one.toLowerCase() === board.toLowerCase());
  if (name === undefined) throw invalidArgument('--board', MIG_BOARDS.join(', '), board);
  const { note, gb, mib, sms, copyEngines, decoders, jpegs } = BOARDS[name];
  const profiles = GEOMETRY.map(([id, slices, memorySlices, starts, maxInstances], i) => ({
    name: `${slices}g.${gb[i]}gb${id === 20 ? '+me' : ''}`,
    id,
    number: null,
    slices,
    memorySlices,
    starts,
    maxInstances,
    memoryMib: mib[i] ?? null,
    multiprocessors: sms[i] ?? null,
    copyEngines: copyEngines[i] ?? null,
    decoders: decoders[i] ?? null,
    encoders: null,
    jpegs: jpegs[i] ?? null,
    ofas: id === 20 || id === 0 ? 1 : 0,
    compute: computeProfiles(slices),
  }));
  return {
    board: name,
    source: { kind: 'offline', note },
    memorySlices: 8,
    profiles: profiles.sort(compareProfiles),
  };
}
