import type { MigProfileSet } from './profiles.ts';
import type { ComputePlacement, MigWant } from './want.ts';

/** A GPU instance as it was found. */
export interface ObservedInstance {
  /** The driver's id of it, valid until it is destroyed. */
  readonly id: number;
  readonly profileId: number;
  readonly start: number;
  readonly size: number;
  readonly compute: readonly ObservedCompute[];
  /** A process runs in it. */
  readonly inUse: boolean;
}

export interface ObservedCompute {
  readonly id: number;
  readonly slices: number;
  /** First compute slice inside the GPU instance; null where the driver does not say. */
  readonly start: number | null;
  /** `MIG-...`; null where it could not be read. */
  readonly uuid: string | null;
}

/** What a plan starts from. */
export interface MigObservation {
  readonly gpu: string;
  readonly modeEnabled: boolean;
  readonly modePending: boolean;
  /** Whether switching the mode needs a reset of the GPU; null: not known. */
  readonly modeNeedsReset: boolean | null;
  readonly instances: readonly ObservedInstance[];
}

/** A GPU instance of the layout that a plan leads to. */
export interface PlannedInstance {
  readonly profile: string;
  /** The driver's id of the profile. */
  readonly profileId: number;
  readonly start: number;
  readonly size: number;
  readonly compute: readonly ComputePlacement[];
  /** MIG devices by name, `1c.3g.40gb`. */
  readonly devices: readonly string[];
  /** The GPU instance that is there already; null: to be created. */
  readonly existing: number | null;
  /** Not asked for, and kept because it is in use or protected. */
  readonly extra: boolean;
  readonly keptBecause: 'wanted' | 'in_use' | 'protected' | null;
}

export type MigStep =
  | { readonly action: 'set_mode'; readonly enabled: boolean; readonly mayReset: boolean | null }
  | {
      readonly action: 'destroy_compute';
      readonly instance: number;
      readonly compute: number;
      readonly slices: number;
    }
  | {
      readonly action: 'destroy_instance';
      readonly instance: number;
      readonly profile: string;
      readonly start: number;
      readonly size: number;
    }
  | {
      readonly action: 'create_instance';
      readonly profile: string;
      readonly profileId: number;
      readonly start: number;
      readonly size: number;
    }
  | {
      readonly action: 'create_compute';
      /** Memory slice at which the GPU instance starts: its id is known only when it was created. */
      readonly at: number;
      readonly profile: string;
      readonly profileId: number;
      readonly slices: number;
      readonly start: number;
    };

/** Why a request cannot be met. */
export type MigBlocker =
  | {
      readonly kind: 'instance_count';
      readonly profile: string;
      readonly wanted: number;
      readonly most: number;
    }
  | {
      /** MIG cannot be switched off while these stay. */
      readonly kind: 'instances_stay';
      readonly instances: readonly BlockingInterval[];
    }
  | {
      readonly kind: 'placement';
      /** The first instance for which no start is free, with all others that were placed before it. */
      readonly profile: string;
      readonly starts: readonly {
        readonly start: number;
        readonly size: number;
        readonly by: readonly BlockingInterval[];
      }[];
    };

export interface BlockingInterval {
  readonly profile: string;
  readonly start: number;
  readonly size: number;
  readonly because: 'wanted' | 'in_use' | 'protected';
  readonly existing: number | null;
}

/** What applying needs besides the right to do it: each is a consent of its own. */
export type MigConsent = 'mode' | 'reset';

export interface MigPlan {
  /** UUID; null: planned for a board, not for a GPU. */
  readonly gpu: string | null;
  readonly board: string;
  readonly source: MigProfileSet['source'];
  readonly want: MigWant;
  readonly modeEnabled: boolean;
  readonly feasible: boolean;
  readonly blockedBy: readonly MigBlocker[];
  /** By start; empty where it is not feasible. */
  readonly layout: readonly PlannedInstance[];
  readonly steps: readonly MigStep[];
  readonly consents: readonly MigConsent[];
  readonly destroys: number;
  readonly creates: number;
  /** How many more of each profile alone fit afterwards. */
  readonly freeSlots: Readonly<Record<string, number>>;
  /** What the plan was made for; null offline. */
  readonly observed: MigObservation | null;
}

export interface MigPlanRequest {
  readonly profiles: MigProfileSet;
  readonly want: MigWant;
  /** Off: all idle instances go and MIG is switched off; `want` must be empty. Default true. */
  readonly enabled?: boolean;
  /** Default: an empty GPU in MIG mode. */
  readonly observed?: MigObservation;
  /** GPU instance ids that must stay. */
  readonly protect?: readonly number[];
}
