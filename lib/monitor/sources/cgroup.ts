import { invalidArgument } from '../../errors.ts';
import type { SourceSpec } from '../types.ts';
import type { SourceDescriptor, SourceOption } from './descriptor.ts';
import type { TickOptions } from './tick-options.ts';

const path: SourceOption = {
  help: 'A cgroup, from the root of the v2 hierarchy or its mount point; default that of this process.',
  expects: 'a path that begins with / and holds no ..',
  parse: (text) => {
    if (!text.startsWith('/') || text.split('/').includes('..')) {
      throw invalidArgument('path', path.expects, text);
    }
    return text;
  },
};

export const cgroupDescriptor: SourceDescriptor = {
  name: 'cgroup',
  help: 'CPU, throttling, memory by kind, pids, I/O, pressure and huge pages of a control group.',
  defaultIntervalMs: 100,
  options: { path },
  needs: 'cgroup v2; a field whose controller is elsewhere says so',
};

/** Options of {@link cgroup}. */
export interface CgroupOptions extends TickOptions {
  /**
   * A cgroup: `/serve/worker` from the root of the v2 hierarchy, or with its mount point before it
   * (`/sys/fs/cgroup/serve/worker`). Default: that of this process.
   */
  readonly path?: string;
}

/**
 * A control group of the v2 hierarchy. Table `cgroup`, keyed by `path`: CPU time and throttling (ns), memory by kind
 * (bytes), faults, reclaim, events, pids. `cgroup.io` by `device`, `cgroup.pressure` by `resource`, `cgroup.hugetlb` by
 * `page_size` (`2m`, `1g`).
 *
 * Where a controller is not in the v2 hierarchy of this cgroup (v1 and hybrid hosts, or not enabled by the parent) its
 * fields are null, and the `reason` in their metadata names it: `needs_cgroup2:memory`. Others: `not_in_root_cgroup`,
 * `not_supported` (an older kernel).
 *
 * Default interval 100 ms. When the cgroup is removed its rows end, with a row of `state`.
 *
 * Errors: `ERR_INVALID_ARGUMENT`, `ERR_GONE`, `ERR_PERMISSION`.
 *
 * @example
 * ```ts
 * const sampler = await monitor.sample({ sources: [monitor.cgroup({ path: '/serve/worker' })] });
 * ```
 */
export function cgroup(options: CgroupOptions = {}): SourceSpec {
  const { path: named, ...rest } = options;
  return { source: 'cgroup', ...rest, options: named === undefined ? {} : { path: named } };
}
