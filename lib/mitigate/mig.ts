import { readFileSync } from 'node:fs';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import type { StateOptions } from '../host/state-folder.ts';
import type { HeldMig, MigApplied, MigApplyOptions } from './mig/apply.ts';
import type { MigAssertion } from './mig/assert.ts';
import type { MigGpu } from './mig/device.ts';
import type { MigPartedRule } from './mig/mig-parted.ts';
import type { MigPlan } from './mig/plan-types.ts';
import type { MigProfileSet } from './mig/profiles.ts';
import type { MigWant } from './mig/want.ts';
import type { SettledTransaction, SettleOptions } from './transaction/settle.ts';

/** Which profiles to plan with. Without any of them: the only GPU of this machine that has MIG. */
export interface MigTarget extends StateOptions {
  /** UUID of a GPU. */
  readonly gpu?: string;
  /** `A100-40`, `A100-80`, `H100-80`, `H200-141`, `B200-180`: the offline table of a board. */
  readonly board?: string;
  /** File that {@link Mig.saveProfiles} wrote. */
  readonly saved?: string;
}

export interface MigPlanOptions extends MigTarget {
  /** MIG devices by profile name: the whole layout that is wanted. Empty: no instances. */
  readonly instances: MigWant;
  /** false: MIG is switched off. Default true. */
  readonly enabled?: boolean;
  /** UUIDs of MIG devices that must stay, besides those in use. */
  readonly protect?: readonly string[];
}

export interface MigFileOptions extends StateOptions {
  /** Path of a YAML file: `version: v1`, `mig-configs`. */
  readonly file: string;
  /** Label in it. */
  readonly config: string;
  /** UUID: only this GPU. */
  readonly gpu?: string;
  readonly protect?: readonly string[];
}

export type MigAssertOptions = StateOptions & {
  readonly gpu?: string;
  /** Compare the mode alone. */
  readonly modeOnly?: boolean;
} & (
    | { readonly file: string; readonly config: string }
    | { readonly instances: MigWant; readonly enabled?: boolean }
  );

/** A plan that can be carried out. */
export interface ApplicableMigPlan extends MigPlan {
  /** Makes the layout, to stay: beyond this process, and with `ttlMs` until then. */
  apply(options?: MigApplyOptions): Promise<MigApplied>;
  /**
   * Makes the layout for as long as this process wants it: at `release()`, the end of the block, `ttlMs`, or the death of
   * the process the layout of before is restored; of the last a guardian takes care (`guardian: false`: `mig.recover`).
   */
  hold(options?: MigApplyOptions): Promise<HeldMig>;
}

/**
 * MIG: partitions of a GPU.
 *
 * @example
 * ```ts
 * import { mitigate } from 'warpgauge';
 * const plan = await mitigate.mig.plan({ board: 'H100-80', instances: { '3g.40gb': 1, '1g.10gb': 2 } });
 * if (!plan.feasible) console.error(plan.blockedBy);
 * ```
 */
export interface Mig {
  /** Every GPU with its mode, instances, processes and free slots. Needs no privilege but for what it then says. */
  status(options?: StateOptions & { readonly gpu?: string }): Promise<readonly MigGpu[]>;
  /** What a GPU or board can be divided into, and where. */
  profiles(target: MigTarget): Promise<MigProfileSet>;
  /** Keeps what the driver says of its profiles for planning without it; gives the file. */
  saveProfiles(target: MigTarget): Promise<string>;
  /** What it takes to get to a layout; changes nothing and needs no privilege. */
  plan(options: MigPlanOptions): Promise<ApplicableMigPlan>;
  /** One plan for each GPU that a label of a file of nvidia-mig-parted's form is about. */
  planFile(options: MigFileOptions): Promise<readonly ApplicableMigPlan[]>;
  /** Makes several layouts, as `apply` of each plan does, on all GPUs or on none. */
  applyAll(plans: readonly MigPlan[], options?: MigApplyOptions): Promise<readonly MigApplied[]>;
  /** Whether a GPU is divided as wanted. */
  assert(options: MigAssertOptions): Promise<readonly MigAssertion[]>;
  /** The layout of all GPUs as a file of nvidia-mig-parted's form. */
  exportFile(options?: StateOptions & { readonly label?: string }): Promise<string>;
  /** Ends layouts that were made with a time, before it. */
  release(options?: SettleOptions): Promise<readonly SettledTransaction[]>;
  /** Undoes what killed processes left. A second call does nothing. */
  recover(options?: SettleOptions): Promise<readonly SettledTransaction[]>;
}

// Each loads its part when it is called: `import 'warpgauge'` does not pay for tables that nobody reads.
export const mig: Mig = {
  async status(options = {}) {
    const { readMigGpus } = await import('./mig/device.ts');
    return await readMigGpus(options);
  },
  async profiles(target) {
    return (await resolve(target)).profiles;
  },
  async saveProfiles(target) {
    const { saveProfiles } = await import('./mig/saved.ts');
    return saveProfiles(await mig.profiles(target), target);
  },
  async plan(options) {
    const { instances, enabled = true, protect = [] } = options;
    const { planMig } = await import('./mig/plan.ts');
    const { profiles, gpu } = await resolve(options);
    const request = { profiles, want: instances, enabled };
    if (gpu === null) return applicable(planMig(request));
    return await planFor(gpu, instances, enabled, protect);
  },
  async planFile(options) {
    const plans: ApplicableMigPlan[] = [];
    for (const { gpu, rule } of await select(options)) {
      plans.push(await planFor(gpu, rule.instances, rule.enabled, options.protect ?? []));
    }
    return plans;
  },
  async applyAll(plans, options = {}) {
    const { applyMigs } = await import('./mig/apply.ts');
    return await applyMigs(plans, options);
  },
  async assert(options) {
    const { assertMig } = await import('./mig/assert.ts');
    const { modeOnly = false } = options;
    if ('file' in options) {
      return (await select(options)).map(({ gpu, rule }) => assertMig(gpu, rule, { modeOnly }));
    }
    const { instances, enabled = true } = options;
    const { gpu } = await resolve(options.gpu === undefined ? options : { gpu: options.gpu });
    return [assertMig(gpu as MigGpu, { instances, enabled }, { modeOnly })];
  },
  async exportFile(options = {}) {
    const { exportMigParted } = await import('./mig/mig-parted.ts');
    return exportMigParted(await mig.status(options), options.label ?? 'current');
  },
  async release(options = {}) {
    const { settle } = await import('./transaction/settle.ts');
    return await settle('release', { ...options, action: 'mig' });
  },
  async recover(options = {}) {
    const { settle } = await import('./transaction/settle.ts');
    return await settle('recover', { ...options, action: 'mig' });
  },
};

async function planFor(
  gpu: MigGpu,
  want: MigWant,
  enabled: boolean,
  protect: readonly string[],
): Promise<ApplicableMigPlan> {
  const { planMig } = await import('./mig/plan.ts');
  const { observationOf } = await import('./mig/device.ts');
  const profiles = profilesOf(gpu);
  const observed = observationOf(gpu);
  return applicable(
    planMig({ profiles, want, enabled, observed, protect: protectedIds(gpu, protect) }),
  );
}

/** The GPUs that a label is about, each with its rule. */
async function select(
  options: StateOptions & { readonly file: string; readonly config: string; readonly gpu?: string },
): Promise<readonly { readonly gpu: MigGpu; readonly rule: MigPartedRule }[]> {
  const { parseMigParted, selectMigConfig } = await import('./mig/mig-parted.ts');
  const { file, config, gpu, root } = options;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw invalidArgument(
      '--file',
      'a readable file',
      `${file} (${(error as NodeJS.ErrnoException).code})`,
    );
  }
  const parsed = parseMigParted(text, file);
  const chosen = selectMigConfig(parsed, config, await mig.status({ ...options, gpu: '' }), root);
  return gpu === undefined ? chosen : chosen.filter((one) => one.gpu.uuid === gpu);
}

/** The plan as data, with its methods out of sight of JSON. */
function applicable(plan: MigPlan): ApplicableMigPlan {
  const apply = async (options: MigApplyOptions = {}): Promise<MigApplied> => {
    const { applyMig } = await import('./mig/apply.ts');
    return await applyMig(plan, options);
  };
  const hold = async (options: MigApplyOptions = {}): Promise<HeldMig> => {
    const { holdMig } = await import('./mig/apply.ts');
    return await holdMig(plan, options);
  };
  const methods = { apply: { value: apply }, hold: { value: hold } };
  return Object.defineProperties({ ...plan }, methods) as ApplicableMigPlan;
}

async function resolve(
  target: MigTarget,
): Promise<{ readonly profiles: MigProfileSet; readonly gpu: MigGpu | null }> {
  const { board, saved, gpu } = target;
  if ([board, saved, gpu].filter((one) => one !== undefined).length > 1) {
    throw invalidArgument('the target', 'one of gpu, board and saved', 'several');
  }
  if (board !== undefined) {
    const { offlineProfiles } = await import('./mig/boards.ts');
    return { profiles: offlineProfiles(board), gpu: null };
  }
  if (saved !== undefined) {
    const { loadProfiles } = await import('./mig/saved.ts');
    return { profiles: loadProfiles(saved), gpu: null };
  }
  const { readMigGpu } = await import('./mig/device.ts');
  const found = gpu === undefined ? await onlyGpu(target) : await readMigGpu(gpu, target);
  return { profiles: profilesOf(found), gpu: found };
}

function profilesOf({ uuid, profiles, reason }: MigGpu): MigProfileSet {
  if (profiles !== null) return profiles;
  throw new WarpgaugeError('ERR_UNAVAILABLE', `${uuid}: ${reason}`, {
    fix: 'As root the driver tells; or plan for a board: --board',
  });
}

async function onlyGpu(target: StateOptions): Promise<MigGpu> {
  const gpus = (await mig.status(target)).filter(({ mode }) => mode !== null);
  const [first, second] = gpus;
  if (first === undefined) {
    throw new WarpgaugeError('ERR_NO_DEVICE', 'No GPU of this machine has MIG', {
      fix: 'Plan for a board: --board',
    });
  }
  if (second !== undefined) {
    const names = gpus.map(({ uuid }) => uuid).join(', ');
    throw invalidArgument('--gpu', `one of ${names}`, undefined);
  }
  return first;
}

function protectedIds(gpu: MigGpu, uuids: readonly string[]): number[] {
  return uuids.map((uuid) => {
    const instance = gpu.instances.find(({ compute }) => compute.some((one) => one.uuid === uuid));
    if (instance !== undefined) return instance.id;
    const known = gpu.instances.flatMap(({ compute }) => compute.flatMap((one) => one.uuid ?? []));
    throw invalidArgument('--protect', `a MIG device of ${gpu.uuid} (${known.join(', ')})`, uuid);
  });
}
