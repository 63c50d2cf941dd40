import { posix } from 'node:path';
import { listDir, readText } from './sysfs.ts';

/**
 * Which control groups this process is in. Machines mount version 1, version 2 or both at once, at
 * any place, and a container sees its own part only, so the mount points come from mountinfo and are
 * never assumed.
 */

interface CgroupMount {
  readonly version: 1 | 2;
  /** Version 1: the controllers of this hierarchy. */
  readonly controllers: readonly string[];
  /** The group of the hierarchy that is mounted there; `/` outside containers. */
  readonly root: string;
  readonly mountPoint: string;
}

/** `\040` and the like, as mountinfo writes blanks. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

function readMounts(root?: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of (readText('/proc/self/mountinfo', root) ?? '').split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , mountRoot, mountPoint] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    if (mountRoot === undefined || mountPoint === undefined) continue;
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    mounts.push({
      version: type === 'cgroup' ? 1 : 2,
      controllers: type === 'cgroup' ? options.split(',') : [],
      root: unescapeMount(mountRoot),
      mountPoint: unescapeMount(mountPoint),
    });
  }
  return mounts;
}

/** Group of this process by version-1 controller; the key `''` is the version-2 hierarchy. */
function readMembership(root?: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of (readText('/proc/self/cgroup', root) ?? '').split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (!match) continue;
    for (const controller of (match[1] as string).split(',')) {
      groups.set(controller, match[2] as string);
    }
  }
  return groups;
}

/** Folder of the group and all its parents up to the mount point: a limit on any of them binds. */
function foldersUpwards(mount: CgroupMount, group: string): string[] {
  // Inside a container the mount shows a subtree; a group outside of it (`/..`) is seen as its top.
  let relative = '/';
  if (mount.root === '/') relative = group;
  else if (group === mount.root || group.startsWith(`${mount.root}/`)) {
    relative = group.slice(mount.root.length);
  }
  if (relative.startsWith('/..')) relative = '/';
  const folders: string[] = [];
  for (let at = posix.normalize(relative || '/'); ; at = posix.dirname(at)) {
    folders.push(posix.join(mount.mountPoint, at));
    if (at === '/') return folders;
  }
}

/** Where the limits of one controller are for this process, nearest folder first. */
export interface CgroupFolders {
  readonly version: 1 | 2;
  readonly folders: readonly string[];
}

/** The folders of `controller` (`memory`, `hugetlb`), or null where it is not mounted. */
export function cgroupFolders(controller: string, root?: string): CgroupFolders | null {
  const mounts = readMounts(root);
  const groups = readMembership(root);
  const v1 = mounts.find((mount) => mount.version === 1 && mount.controllers.includes(controller));
  const v1Group = groups.get(controller);
  if (v1 !== undefined && v1Group !== undefined) {
    return { version: 1, folders: foldersUpwards(v1, v1Group) };
  }
  const v2Group = groups.get('');
  if (v2Group === undefined) return null;
  for (const mount of mounts) {
    if (mount.version !== 2) continue;
    const enabled = readText(`${mount.mountPoint}/cgroup.controllers`, root)?.split(' ') ?? [];
    const folders = foldersUpwards(mount, v2Group);
    if (
      enabled.includes(controller) ||
      folders.some((folder) => listDir(folder, root).some((f) => f.startsWith(`${controller}.`)))
    ) {
      return { version: 2, folders };
    }
  }
  return null;
}

/** `v1`, `v2`, `hybrid` (both mounted), or null without control groups. */
export function readCgroupMode(root?: string): 'v1' | 'v2' | 'hybrid' | null {
  const versions = new Set(readMounts(root).map((mount) => mount.version));
  if (versions.size === 2) return 'hybrid';
  if (versions.has(1)) return 'v1';
  return versions.has(2) ? 'v2' : null;
}

/** A limit in bytes; null when there is none (`max`, or version 1's number near 2^63) or no file. */
export function readLimit(path: string, root?: string): number | null {
  const text = readText(path, root)?.trim();
  if (text === undefined || !/^\d+$/.test(text)) return null;
  const bytes = Number(text);
  return bytes >= 2 ** 62 ? null : bytes;
}

/** The smallest memory limit on this process and where it stands. */
export interface CgroupMemory {
  /** null: no group on the way up has a limit. */
  readonly max_bytes: number | null;
  readonly current_bytes: number | null;
  /** The file with the limit, or with the nearest group's limit when there is none. */
  readonly file: string;
}

/** Memory limit of the control groups, or null without a memory controller. */
export function readCgroupMemory(root?: string): CgroupMemory | null {
  const found = cgroupFolders('memory', root);
  if (found === null) return null;
  const [limit, usage] =
    found.version === 2
      ? ['memory.max', 'memory.current']
      : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
  let best: CgroupMemory | undefined;
  for (const folder of found.folders) {
    const max = readLimit(`${folder}/${limit}`, root);
    const entry = {
      max_bytes: max,
      current_bytes: readLimit(`${folder}/${usage}`, root),
      file: `${folder}/${limit}`,
    };
    if (
      best === undefined ||
      (max !== null && (best.max_bytes ?? Number.POSITIVE_INFINITY) > max)
    ) {
      best = entry;
    }
  }
  return best ?? null;
}
