import { WarpgaugeError } from '../errors.ts';
import { knownTables } from './known-sources.ts';
import { sample } from './sampler.ts';
import type { SourceDescriptor } from './sources/descriptor.ts';
import { SOURCES } from './sources/registry.ts';
import type { CallCost, SampleOptions, Sampler, TableInfo, TableKind } from './types.ts';

const MEASURE_INTERVAL_MS = 10;
const MEASURE_MS = 300;
/** A table that ticks more rarely is not waited for. */
const LONGEST_MEASURED_MS = 1000;
/** Shortest interval of a sampler. */
const HIGHEST_HZ = 20_000;

/** One field of a table as it is on this machine. */
export interface ListedField {
  readonly name: string;
  /** Arrow type. */
  readonly type: string;
  readonly unit: string;
  readonly kind: string;
  /** Where the number comes from. */
  readonly source: string;
  readonly window: string | null;
  /** Why it is null here; null: it is read. */
  readonly reason: string | null;
  readonly nullable: boolean;
}

export interface ListedTable {
  readonly name: string;
  readonly kind: TableKind;
  readonly grain: string;
  readonly keys: readonly string[];
  readonly intervalMs: number | null;
  readonly simulated: boolean;
  /** Ticks that the costs come from. */
  readonly samples: number;
  /** Time of one tick, measured here and now; null: it has no ticks, or none came in the time. */
  readonly costP50Ns: number | null;
  readonly costP99Ns: number | null;
  /** Rate at which the p99 of the cost still fits, at most 20,000 Hz. */
  readonly highestHz: number | null;
  readonly fields: readonly ListedField[];
}

export interface ListedSource {
  readonly name: string;
  readonly help: string;
  /** What it needs beyond being run; empty for nothing. */
  readonly needs: string;
  readonly defaultIntervalMs: number;
  readonly options: readonly {
    readonly name: string;
    readonly help: string;
    readonly expects: string;
  }[];
  /** Why it cannot be had here, or null. Its tables are then those that it has elsewhere. */
  readonly unavailable: {
    readonly code: string;
    readonly message: string;
    readonly fix: string | null;
  } | null;
  readonly tables: readonly ListedTable[];
}

/** `warpgauge sources --json`. */
export interface SourcesList {
  readonly schema: 'warpgauge/sources/1';
  readonly sources: readonly ListedSource[];
}

function fieldsOf({ schema }: TableInfo): ListedField[] {
  return schema.fields.map(({ name, type, nullable, metadata }) => ({
    name,
    type: String(type),
    unit: metadata.get('unit') ?? '',
    kind: metadata.get('kind') ?? (name === 'time' ? 'key' : ''),
    source: metadata.get('source') ?? '',
    window: metadata.get('window') ?? null,
    reason: metadata.get('reason') ?? null,
    nullable,
  }));
}

/** Of all calls of a table the dearest: the tick as a whole, where the engine keeps it. */
function dearest(costs: readonly CallCost[]): CallCost | null {
  return costs.reduce<CallCost | null>(
    (best, cost) => (cost.calls > 0 && (best === null || cost.p99Ns > best.p99Ns) ? cost : best),
    null,
  );
}

function listTable(info: TableInfo, sampler: Sampler): ListedTable {
  const stats = sampler.stats().tables.find(({ table }) => table === info.name);
  const cost = stats === undefined ? null : dearest(stats.costs);
  return {
    name: info.name,
    kind: info.kind,
    grain: info.grain,
    keys: info.keys,
    intervalMs: info.intervalMs,
    simulated: info.simulated,
    samples: stats?.ticks ?? 0,
    costP50Ns: cost?.p50Ns ?? null,
    costP99Ns: cost?.p99Ns ?? null,
    highestHz: cost === null ? null : Math.min(HIGHEST_HZ, 1e9 / Math.max(cost.p99Ns, 1)),
    fields: fieldsOf(info),
  };
}

/** `ERR_NO_DRIVER`: `no_driver`, as in rows of `state`. */
const reasonOf = (code: string): string => code.replace(/^ERR_/, '').toLowerCase();

function why(error: unknown): NonNullable<ListedSource['unavailable']> {
  if (!(error instanceof WarpgaugeError)) throw error;
  return { code: error.code, message: error.message, fix: error.fix ?? null };
}

async function listSource(
  descriptor: SourceDescriptor,
  open: (options: SampleOptions) => Promise<Sampler>,
): Promise<ListedSource> {
  const { name, help, needs, defaultIntervalMs, options, standard = {} } = descriptor;
  const about = {
    name,
    help,
    needs,
    defaultIntervalMs,
    options: Object.entries(options).map(([key, option]) => ({
      name: key,
      help: option.help,
      expects: option.expects,
    })),
  };
  // What it would give is told all the same: each field says why it is not here.
  const lacking = (unavailable: NonNullable<ListedSource['unavailable']>): ListedSource => ({
    ...about,
    unavailable,
    tables: knownTables(name, reasonOf(unavailable.code)),
  });
  const measure = async (durationMs: number): Promise<ListedSource> => {
    await using sampler = await open({
      sources: [{ source: name, options: standard, intervalMs: MEASURE_INTERVAL_MS }],
      durationMs,
      keepAlive: true,
    });
    for await (const _batch of sampler) {
      // Only the cost is wanted.
    }
    const [state] = sampler.states.filter((row) => row.state !== 'ok' && row.field === '');
    const tables = sampler.tables
      .filter(({ source }) => source === name)
      .map((info) => listTable(info, sampler));
    if (state === undefined || tables.length > 0) return { ...about, unavailable: null, tables };
    return lacking({ code: 'ERR_UNAVAILABLE', message: state.reason, fix: null });
  };
  try {
    const listed = await measure(MEASURE_MS);
    // Some tables tick once a second, because each tick costs the kernel or the driver much.
    const unseen = listed.tables
      .filter(({ kind, costP50Ns }) => kind === 'sample' && costP50Ns === null)
      .map(({ intervalMs }) => intervalMs ?? 0);
    const slowest = Math.max(0, ...unseen);
    if (slowest <= MEASURE_MS || slowest > LONGEST_MEASURED_MS) return listed;
    return await measure(slowest + MEASURE_MS);
  } catch (error) {
    return lacking(why(error));
  }
}

/**
 * Every source with its options, and with its tables, fields and cost on this machine: each is opened with its default
 * options and sampled for 0.3 s, where it has tables that tick once a second for 1.3 s, one after the other. Changes nothing.
 */
export async function listSourcesWith(
  open: (options: SampleOptions) => Promise<Sampler>,
  sources: readonly SourceDescriptor[] = SOURCES,
): Promise<SourcesList> {
  const listed: ListedSource[] = [];
  for (const descriptor of sources) listed.push(await listSource(descriptor, open));
  return { schema: 'warpgauge/sources/1', sources: listed };
}

/** What `warpgauge sources` lists. */
export function listSources(): Promise<SourcesList> {
  return listSourcesWith(sample);
}
