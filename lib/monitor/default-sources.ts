import type { SourceDescriptor } from './sources/descriptor.ts';
import { SOURCES } from './sources/registry.ts';
import type { SourceSpec } from './types.ts';

/** What is to be watched; at most one of them. Nothing: the whole machine. */
export interface Target {
  /** A process that runs. */
  readonly pid?: number;
  /** A process that waits to become a command: with all that it will start. */
  readonly command?: number;
  /** A cgroup, by its path. */
  readonly cgroup?: string;
}

/** Options by which a source is told what to watch; the first one that a source knows is used. */
const WAYS: Readonly<Record<keyof Target, readonly string[]>> = {
  pid: ['pid', 'tree'],
  command: ['command', 'tree', 'pid'],
  cgroup: ['cgroup', 'path'],
};

const AIMS = ['pid', 'tid', 'tree', 'command', 'cgroup', 'path', 'cpu', 'system'];

/** Sources of the whole machine that are recorded when none is named: cheap enough for any machine. */
const MACHINE = ['vmstat', 'meminfo', 'hugepages', 'pressure', 'cpu', 'disk', 'net', 'gpu'];

/** Sources that only make sense with a target. */
const OF_TARGET = ['process', 'cgroup'];

const known = (name: string, sources: readonly SourceDescriptor[]): SourceDescriptor | undefined =>
  sources.find((source) => source.name === name);

/**
 * The sources that `record` takes without `--source`: vmstat, meminfo, hugepages, pressure, cpu, disk, net, gpu and perf
 * (page faults and context switches), with a process also `process`, with a cgroup also `cgroup`. What the machine lacks is a
 * row of the `state` table.
 */
export function defaultSources(
  target: Target = {},
  sources: readonly SourceDescriptor[] = SOURCES,
): SourceSpec[] {
  const names = [
    ...MACHINE,
    'perf',
    ...(target.pid !== undefined || target.command !== undefined ? ['process'] : []),
    ...(target.cgroup !== undefined ? ['cgroup'] : []),
  ];
  return names
    .filter((name) => known(name, sources) !== undefined)
    .map((source) => ({
      source,
      // Who named a process or a cgroup that is not there is to be told.
      optional: !OF_TARGET.includes(source),
      options: known(source, sources)?.standard ?? {},
    }));
}

/**
 * Points every source that can watch something at `target`, unless it was told what to watch. Without a target it
 * watches the whole machine: a recorder that counts its own page faults would help nobody.
 */
export function aim(
  specs: readonly SourceSpec[],
  target: Target,
  sources: readonly SourceDescriptor[] = SOURCES,
): SourceSpec[] {
  const [way, what] = Object.entries(target).find(([, value]) => value !== undefined) ?? [];
  return specs.map((spec) => {
    const options = known(spec.source, sources)?.options ?? {};
    if (AIMS.some((name) => Object.hasOwn(spec.options, name))) return spec;
    const option =
      way === undefined
        ? ['system'].find((name) => Object.hasOwn(options, name))
        : WAYS[way as keyof Target].find((name) => Object.hasOwn(options, name));
    if (option === undefined) return spec;
    const value = way === undefined ? 'true' : String(what);
    return { ...spec, options: { ...spec.options, [option]: value } };
  });
}
