import { loadBinding } from '../addon.ts';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { readThp, type ThpPolicy } from '../host/hugepages.ts';
import type { StateOptions } from '../host/state-folder.ts';
import { readText } from '../host/sysfs.ts';
import type { PageRegion } from './page-region.ts';
import type { GuardianReport, Lease } from './transaction/guardian.ts';
import type { ActionKind, PlannedStep } from './transaction/kind.ts';
import type { SettledTransaction, TransactionReport } from './transaction/settle.ts';
import type { Transaction } from './transaction/transaction.ts';

/** Settings of transparent huge pages for the whole machine; the words are those of the kernel's files. */
export interface ThpSettings {
  /** Which memory gets them: `always`, `madvise` or `never`. */
  readonly enabled?: string;
  /** How hard a page fault tries: `always`, `defer`, `defer+madvise`, `madvise` or `never`. */
  readonly defrag?: string;
  /** Shared memory and tmpfs: `always`, `within_size`, `advise`, `never`, `deny` or `force`. */
  readonly shmem_enabled?: string;
}

export interface ThpStatus {
  readonly policy: ThpPolicy;
  /** The words that each file takes; a file that the kernel lacks is absent. */
  readonly choices: Readonly<Record<string, readonly string[]>>;
  /** Changes by warpgauge that were not undone. */
  readonly changes: readonly TransactionReport[];
}

/** What {@link Thp.set} would do now. */
export interface ThpPlan {
  readonly steps: readonly ThpPlanStep[];
  /** Why it would be refused before the first write, or null. */
  readonly refusal: WarpgaugeError | null;
}

export interface ThpPlanStep {
  readonly setting: keyof ThpSettings;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The same by hand. */
  readonly command: string;
}

export interface ThpSetOptions extends StateOptions, Lease {
  readonly settings: ThpSettings;
  readonly signal?: AbortSignal;
}

/** A policy that was set; {@link undo} or the end of the block puts back what was there. */
export interface ThpChange extends AsyncDisposable {
  /** Name of the journal, or null when the machine was set so already. */
  readonly id: string | null;
  readonly changed: readonly ThpPlanStep[];
  readonly notes: readonly string[];
  readonly guardian: GuardianReport;
  readonly expires: string | null;
  undo(): Promise<void>;
  /** Leaves the policy, beyond this process, until `thp.release()`. */
  commit(): Promise<void>;
}

/**
 * The policy of transparent huge pages. It holds for every program of the machine: prefer `mitigate.allocate` (per region)
 * and `warpgauge run` (per process) where they do.
 *
 * @example
 * ```ts
 * await using change = await mitigate.thp.set({ settings: { enabled: 'always' } });
 * // At the end of the block the policy is what it was.
 * ```
 */
export interface Thp {
  /** Needs no privilege. */
  status(options?: StateOptions): Promise<ThpStatus>;
  /** Needs no privilege and changes nothing. */
  plan(settings: ThpSettings, options?: StateOptions): Promise<ThpPlan>;
  /**
   * Errors: `ERR_INVALID_ARGUMENT` (a word that the kernel does not take), `ERR_UNAVAILABLE`, `ERR_PERMISSION`,
   * `ERR_LOCKED`, `ERR_REFUSED` (it reads as something else, or was set for a time that is not over), `ERR_STALE_PLAN`, `ERR_JOURNAL`, `ERR_INTERRUPTED`; after each of them all is as before.
   */
  set(options: ThpSetOptions): Promise<ThpChange>;
  /**
   * Advice for one region, which no other memory feels: `hugepage` and `nohugepage` for pages to come, `collapse` to put the
   * pages that are there together now (Linux 6.1; it takes the time of copying them). `region.prove()` tells what came of it.
   */
  advise(region: PageRegion, advice: ThpAdvice): void;
  /** Puts back what committed changes replaced. */
  release(options?: StateOptions): Promise<readonly SettledTransaction[]>;
  /** Puts back what killed processes replaced. A second call does nothing. */
  recover(options?: StateOptions): Promise<readonly SettledTransaction[]>;
}

/** See {@link Thp.advise}. */
export type ThpAdvice = 'hugepage' | 'nohugepage' | 'collapse';

/** MADV_ of the kernel. */
const ADVICE: Readonly<Record<ThpAdvice, number>> = { hugepage: 14, nohugepage: 15, collapse: 25 };

const FOLDER = '/sys/kernel/mm/transparent_hugepage';
const SETTINGS = ['enabled', 'defrag', 'shmem_enabled'] as const;

const fileOf = (setting: keyof ThpSettings): string => `${FOLDER}/${setting}`;

function choicesOf(setting: keyof ThpSettings, root?: string): readonly string[] {
  return (readText(fileOf(setting), root) ?? '')
    .split(/\s+/)
    .map((word) => word.replace(/[[\]]/g, ''));
}

function planSteps(settings: ThpSettings, root?: string): ThpPlanStep[] {
  const unknown = Object.keys(settings).find((name) => !SETTINGS.some((known) => known === name));
  if (unknown !== undefined) throw invalidArgument('settings', SETTINGS.join(', '), unknown);
  const policy = readThp(root);
  return SETTINGS.flatMap((setting) => {
    const to = settings[setting];
    if (to === undefined) return [];
    const from = policy[setting];
    const file = fileOf(setting);
    if (from === null) {
      throw new WarpgaugeError('ERR_UNAVAILABLE', `This kernel has no ${file}`, { source: file });
    }
    const choices = choicesOf(setting, root);
    if (!choices.includes(to)) {
      throw invalidArgument(setting, `one of ${choices.join(', ')}`, to);
    }
    if (to === from) return [];
    return [{ setting, file, from, to, command: `sudo sh -c 'echo ${to} > ${file}'` }];
  });
}

/** How the policy is changed: by writes to files. */
export async function thpKind(options: {
  readonly root?: string | undefined;
}): Promise<ActionKind> {
  const { FILE_SET, fileOperation } = await import('./transaction/file-operation.ts');
  return { name: 'thp', command: 'thp', operations: { [FILE_SET]: fileOperation(options) } };
}

const toStep = ({ file, from, to }: ThpPlanStep): PlannedStep => ({
  op: 'file.set',
  target: file,
  asked: to,
  from,
});

class Change implements ThpChange {
  readonly id: string | null;
  readonly changed: readonly ThpPlanStep[];
  readonly notes: readonly string[];
  readonly guardian: GuardianReport;
  readonly expires: string | null;
  readonly #transaction: Transaction;

  constructor(transaction: Transaction, changed: readonly ThpPlanStep[]) {
    this.#transaction = transaction;
    this.id = transaction.id;
    this.changed = changed;
    this.notes = transaction.notes;
    this.guardian = transaction.guardian;
    this.expires = transaction.expires;
  }

  async undo(): Promise<void> {
    const { blocked } = await this.#transaction.undo();
    if (blocked[0] !== undefined) throw blocked[0].error;
  }

  async commit(): Promise<void> {
    await this.#transaction.commit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transaction[Symbol.asyncDispose]();
  }
}

async function settleThp(mode: 'recover' | 'release', options: StateOptions = {}) {
  const { settle } = await import('./transaction/settle.ts');
  return await settle(mode, { ...options, action: 'thp' });
}

export const thp: Thp = {
  async status(options = {}) {
    const { listTransactions } = await import('./transaction/settle.ts');
    const choices = SETTINGS.flatMap((setting) => {
      const words = choicesOf(setting, options.root);
      return words[0] === '' ? [] : [[setting, words] as const];
    });
    return {
      policy: readThp(options.root),
      choices: Object.fromEntries(choices),
      changes: listTransactions({ ...options, action: 'thp' }),
    };
  },
  async plan(settings, options = {}) {
    const steps = planSteps(settings, options.root);
    const { operations } = await thpKind(options);
    for (const step of steps) {
      const refusal = (await operations['file.set']?.preflight?.(toStep(step))) ?? null;
      if (refusal !== null) return { steps, refusal };
    }
    return { steps, refusal: null };
  },
  async set(options) {
    const { settings, signal, ttlMs, guardian, ...state } = options;
    // Who may not write at all learns that first, whoever holds the lock.
    const first = await thp.plan(settings, state);
    if (first.refusal !== null) throw first.refusal;
    const { begin } = await import('./transaction/begin.ts');
    const { refuseLeased } = await import('./refuse-leased.ts');
    let changed: readonly ThpPlanStep[] = [];
    const transaction = await begin({
      ...state,
      kind: await thpKind(state),
      locks: ['thp'],
      intent: `thp: ${Object.entries(settings)
        .map(([name, word]) => `${name} ${word}`)
        .join(', ')}`,
      lease: { ttlMs, guardian },
      signal,
      prepare() {
        changed = planSteps(settings, state.root);
        const steps = changed.map(toStep);
        refuseLeased({ action: 'thp', device: 'thp', what: 'The policy is set', steps }, state);
        return steps;
      },
    });
    return new Change(transaction, changed);
  },
  advise(region, advice) {
    const number = Object.hasOwn(ADVICE, advice) ? ADVICE[advice] : undefined;
    if (number === undefined)
      throw invalidArgument('advice', Object.keys(ADVICE).join(', '), advice);
    loadBinding().adviseRegion(region.buffer, number);
  },
  release: (options) => settleThp('release', options),
  recover: (options) => settleThp('recover', options),
};
