import { WarpgaugeError } from '../../errors.ts';
import type { ActionKind } from './kind.ts';

/** What a kind is made with when `recover` makes it. */
export interface KindOptions {
  readonly root?: string | undefined;
  /** How long things in use are waited for, ms. Each kind has its default. */
  readonly patienceMs?: number | undefined;
}

/** Every kind of change by its name; each loads its part when it is needed. */
const KINDS: Readonly<Record<string, (options: KindOptions) => Promise<ActionKind>>> = {
  mig: async (options) => (await import('../mig/operations.ts')).migKind(options),
  power: async (options) => (await import('../power/operations.ts')).powerKind(options),
  thp: async (options) => await (await import('../thp.ts')).thpKind(options),
  pools: async ({ root }) => (await import('../pool-operations.ts')).poolsKind({ root }),
};

export async function kindByName(name: string, options: KindOptions): Promise<ActionKind> {
  const make = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (make === undefined) {
    throw new WarpgaugeError('ERR_JOURNAL', `No action of this version is called ${name}`, {
      fix: 'Use the version of warpgauge that made the change',
    });
  }
  return await make(options);
}
