import { invalidArgument } from '../../errors.ts';
import { didYouMean } from '../../near-match.ts';

/** Where a set of profiles was read: a plan names it, and `apply` refuses where the driver disagrees. */
export type MigProfileSource =
  | {
      readonly kind: 'offline';
      /** What is known of the table's origin, and what in it nobody has seen. */
      readonly note: string;
    }
  | {
      readonly kind: 'saved';
      readonly file: string;
      readonly driverVersion: string;
      readonly readAt: string;
    }
  | { readonly kind: 'driver'; readonly driverVersion: string; readonly simulated: boolean };

/** A kind of compute instance of one kind of GPU instance: `1c.3g.40gb`. */
export interface MigComputeProfile {
  readonly id: number;
  /** NVML's enum, by which it is asked for; null in offline tables. */
  readonly number: number | null;
  /** Compute slices; as many as the GPU instance has: the whole of it. */
  readonly slices: number;
  readonly maxInstances: number;
}

/** A kind of GPU instance of one board. */
export interface MigProfile {
  /** The driver's own name, `3g.40gb`. */
  readonly name: string;
  /** Unique per board only: id 14 is 2g on an A100 and 1g on an RTX PRO 6000. */
  readonly id: number;
  /** NVML's enum, by which it is asked for; null in offline tables. */
  readonly number: number | null;
  /** Compute slices, the number before `g`. */
  readonly slices: number;
  /** Memory slices: what a placement occupies. */
  readonly memorySlices: number;
  /** First memory slices at which it may lie, ascending. */
  readonly starts: readonly number[];
  /** At most this many on a GPU, whatever room there is. */
  readonly maxInstances: number;
  readonly memoryMib: number | null;
  readonly multiprocessors: number | null;
  readonly copyEngines: number | null;
  readonly decoders: number | null;
  readonly encoders: number | null;
  readonly jpegs: number | null;
  readonly ofas: number | null;
  readonly compute: readonly MigComputeProfile[];
}

/** All profiles of one board, largest first. */
export interface MigProfileSet {
  /** `H100-80` of an offline table, else the device's name. */
  readonly board: string;
  readonly source: MigProfileSource;
  /** Memory slices of the board. */
  readonly memorySlices: number;
  readonly profiles: readonly MigProfile[];
}

/** A profile's name in its parts; the memory is what differs between drivers for one profile. */
export interface MigName {
  /** Compute slices of a compute instance, `1` of `1c.3g.40gb`; null: the whole GPU instance. */
  readonly compute: number | null;
  readonly slices: number;
  readonly memoryGb: number;
  /** `me`, `gfx`, `me.all` behind a plus; `-me` behind a minus; sorted. */
  readonly attributes: readonly string[];
}

const NAME = /^(?:(\d+)c\.)?(\d+)g\.(\d+)gb((?:[+-][a-z][a-z.]*)*)$/;

/** null for a text that is no profile name. */
export function parseMigName(text: string): MigName | null {
  const match = NAME.exec(text.trim().toLowerCase());
  if (match === null) return null;
  const [, compute, slices, memory, attributes = ''] = match;
  return {
    compute: compute === undefined ? null : Number(compute),
    slices: Number(slices),
    memoryGb: Number(memory),
    attributes: [...attributes.matchAll(/([+-])([a-z.]+)/g)]
      .map(([, sign, word]) => (sign === '-' ? `-${word}` : `${word}`))
      .sort(),
  };
}

/** `1c.3g.40gb`, or the plain name for a compute instance over the whole GPU instance. */
export function computeName(profile: MigProfile, slices: number): string {
  return slices === profile.slices ? profile.name : `${slices}c.${profile.name}`;
}

/** Largest first: memory, compute, plain ones before those with extras, id. Every list of profiles has this order. */
export function compareProfiles(a: MigProfile, b: MigProfile): number {
  return (
    b.memorySlices - a.memorySlices ||
    b.slices - a.slices ||
    attributesOf(a) - attributesOf(b) ||
    a.id - b.id
  );
}

function attributesOf(profile: MigProfile): number {
  return parseMigName(profile.name)?.attributes.length ?? 0;
}

export interface ResolvedName {
  readonly profile: MigProfile;
  /** Compute slices of the compute instance. */
  readonly compute: number;
}

/**
 * The profile that a name means. Drivers round the same memory differently (3g.40gb and 3g.39gb, 1g.24gb and 1g.23gb),
 * so a name that is no one's counts for the profile of the same slices and extras whose size differs by 1 GB.
 */
export function resolveMigName(set: MigProfileSet, text: string, knob: string): ResolvedName {
  const name = parseMigName(text);
  if (name === null) {
    throw invalidArgument(knob, 'a MIG profile such as 3g.40gb or 1c.3g.40gb', text);
  }
  const sameShape = set.profiles.filter((profile) => {
    const own = parseMigName(profile.name);
    return (
      own !== null &&
      own.slices === name.slices &&
      own.attributes.join() === name.attributes.join() &&
      Math.abs(own.memoryGb - name.memoryGb) <= 1
    );
  });
  const profile =
    sameShape.find((one) => parseMigName(one.name)?.memoryGb === name.memoryGb) ??
    (sameShape.length === 1 ? sameShape[0] : undefined);
  if (profile === undefined) {
    const names = set.profiles.map((one) => one.name);
    throw invalidArgument(
      knob,
      `a profile of ${set.board} (${names.join(', ')}${didYouMean(text, names)})`,
      text,
    );
  }
  const compute = name.compute ?? profile.slices;
  if (!profile.compute.some((one) => one.slices === compute)) {
    const names = profile.compute.map((one) => computeName(profile, one.slices));
    throw invalidArgument(
      knob,
      `a compute instance of ${profile.name} (${names.join(', ')})`,
      text,
    );
  }
  return { profile, compute };
}
