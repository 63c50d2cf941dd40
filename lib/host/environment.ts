import { createHash } from 'node:crypto';
import { loadBinding } from '../addon.ts';
import { packageVersion } from '../version.ts';
import { type Fact, FactSheet } from './environment-facts.ts';
import { gpuFacts } from './environment-gpus.ts';
import {
  firmware,
  gpuDriver,
  hardware,
  host,
  kernel,
  limits,
  memoryPolicy,
  mitigations,
  numaAndPower,
  state,
  variables,
} from './environment-groups.ts';

export interface EnvironmentOptions {
  /** Recorded tree that stands for `/`. Default: `WARPGAUGE_ROOT`, else the machine. */
  readonly root?: string;
}

type Facts = Readonly<Record<string, Fact>>;

/**
 * The machine behind a result, `warpgauge/environment/2`: what someone needs to know to compare two results.
 * Sizes in bytes unless named otherwise; a null has its reason in `reasons` under its path
 * (nulls within lists, a node or a pool that does not tell, excepted).
 */
export interface EnvironmentRecord {
  readonly schema: 'warpgauge/environment/2';
  /**
   * SHA-256 (hex) over the canonical JSON (RFC 8785) of `identity`: equal on machines where the same numbers can
   * be expected. Names, free memory, limits and all that changes by itself are outside.
   */
  readonly digest: string;
  /** ISO 8601, UTC. */
  readonly recorded: string;
  /** Hardware, firmware, kernel and its policies, GPU and driver, libraries. */
  readonly identity: Facts;
  /** What this process was allowed to do: limits, container, environment variables from a list. */
  readonly process: Facts;
  /** What changes by itself: free memory, pools, load, link speeds. */
  readonly state: Facts;
  /** Names of this machine and of its GPUs. */
  readonly host: Facts;
  /** Why a field is null: path such as `identity.thp.enabled` to a few words. */
  readonly reasons: Readonly<Record<string, string>>;
}

/**
 * JSON by RFC 8785: keys in the order of their UTF-16 code units, no blanks, numbers and strings as ECMAScript writes
 * them, so that the same facts give the same text anywhere.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function readLibc(): string | null {
  try {
    return loadBinding().libcVersion();
  } catch {
    return null; // doctor says why the addon does not load
  }
}

/** The public function of the same name: see lib/host/index.ts. */
export async function environment(options: EnvironmentOptions = {}): Promise<EnvironmentRecord> {
  const { root } = options;
  const groups = {
    identity: new FactSheet(root),
    process: new FactSheet(root),
    state: new FactSheet(root),
    host: new FactSheet(root),
  };
  hardware(groups.identity);
  firmware(groups.identity);
  kernel(groups.identity);
  memoryPolicy(groups.identity);
  numaAndPower(groups.identity);
  mitigations(groups.identity);
  gpuDriver(groups.identity);
  groups.identity.set('libraries.warpgauge', packageVersion(), '');
  groups.identity.set('libraries.node', process.version, '');
  groups.identity.set('libraries.v8', process.versions.v8, '');
  groups.identity.set('libraries.glibc', readLibc(), 'not glibc, or the addon does not load');
  await gpuFacts(groups.identity, groups.state, groups.host);
  limits(groups.process);
  variables(groups.process);
  state(groups.state);
  host(groups.host, (text) => sha256(text).slice(0, 16));
  const reasons: Record<string, string> = {};
  for (const [name, sheet] of Object.entries(groups)) {
    for (const [path, reason] of Object.entries(sheet.reasons)) reasons[`${name}.${path}`] = reason;
  }
  const identity = groups.identity.facts();
  return {
    schema: 'warpgauge/environment/2',
    digest: sha256(canonicalJson(identity)),
    recorded: new Date().toISOString(),
    identity,
    process: groups.process.facts(),
    state: groups.state.facts(),
    host: groups.host.facts(),
    reasons,
  };
}

function flatten(value: unknown, path = ''): [string, unknown][] {
  if (value === null || typeof value !== 'object') return [[path, value]];
  const entries = Object.entries(value);
  if (entries.length === 0) return [[path, Array.isArray(value) ? '[]' : '{}']];
  return entries.flatMap(([key, item]) => flatten(item, path === '' ? key : `${path}.${key}`));
}

/** One fact by its path, `identity.kernel.release`; null where it is not told. */
export function factAt(record: EnvironmentRecord, path: string): Fact {
  let at: unknown = record;
  for (const name of path.split('.')) at = (at as Readonly<Record<string, unknown>> | null)?.[name];
  return (at ?? null) as Fact;
}

/** The machine in one line: "Linux 6.1.0, AMD EPYC, 2 CPUs, hypervisor kvm, Node v20". */
export function describeMachine(record: EnvironmentRecord): string {
  const told = (path: string): string => String(factAt(record, path) ?? 'unknown');
  return (
    `Linux ${told('identity.kernel.release')}, ${told('identity.hardware.cpu.model')}, ` +
    `${told('identity.hardware.cpu.online')} CPUs, hypervisor ${told('identity.hardware.hypervisor')}, ` +
    `Node ${told('identity.libraries.node')}`
  );
}

/** One field that differs between two environments. */
export interface EnvironmentDifference {
  /** Path of the field, such as `identity.thp.enabled`. */
  readonly field: string;
  /** null: not told, or the field is not there. */
  readonly a: unknown;
  readonly b: unknown;
  /** true: the field takes part in the digest, so the numbers may differ by it. */
  readonly decides: boolean;
}

/** Fields that differ by nature and say nothing about the machine; reasons only explain nulls. */
const ALWAYS_DIFFERENT = /^(schema|digest|recorded|reasons\..*)$/;

/** Field by field, those that decide about the numbers first. */
export function diffEnvironments(
  a: Readonly<Record<string, unknown>>,
  b: Readonly<Record<string, unknown>>,
): EnvironmentDifference[] {
  const left = new Map(flatten(a));
  const right = new Map(flatten(b));
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((field) => !ALWAYS_DIFFERENT.test(field) && left.get(field) !== right.get(field))
    .map((field) => ({
      field,
      a: left.get(field) ?? null,
      b: right.get(field) ?? null,
      decides: field.startsWith('identity.'),
    }))
    .sort((x, y) => Number(y.decides) - Number(x.decides));
}
