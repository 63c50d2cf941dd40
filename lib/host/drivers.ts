import { existsSync, realpathSync } from 'node:fs';
import { basename } from 'node:path';
import type { Binding } from '../addon.ts';
import { hostPath, listDir, readText } from './sysfs.ts';

/** The driver libraries that are opened at run time. */
export type LibraryName = 'cuda' | 'nvml' | 'cupti';

/** The environment variable that names a library file to use instead of searching. */
export const LIBRARY_OVERRIDES: Readonly<Record<LibraryName, string>> = {
  cuda: 'WARPGAUGE_CUDA',
  nvml: 'WARPGAUGE_NVML',
  cupti: 'WARPGAUGE_CUPTI',
};

/** Whether the kernel half of the GPU driver is there. */
export interface DriverReport {
  readonly present: boolean;
  readonly via: 'kernel module' | 'WSL' | null;
  /** Version of the kernel module. */
  readonly version: string | null;
  readonly reason: string | null;
}

const WSL_FOLDER = '/usr/lib/wsl/lib';

/** Looks for the NVIDIA kernel module, or for what stands in its place under WSL. */
export function readDriver(root?: string): DriverReport {
  const proc = readText('/proc/driver/nvidia/version', root);
  const module = readText('/sys/module/nvidia/version', root);
  if (proc !== null || existsSync(hostPath('/sys/module/nvidia', root))) {
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  …", or "… Open Kernel Module for x86_64  …"
    const version = /Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)/.exec(proc ?? '')?.[1];
    return { present: true, via: 'kernel module', version: version ?? module, reason: null };
  }
  if (
    existsSync(hostPath('/dev/dxg', root)) &&
    existsSync(hostPath(`${WSL_FOLDER}/libnvidia-ml.so.1`, root))
  ) {
    return { present: true, via: 'WSL', version: null, reason: null };
  }
  return {
    present: false,
    via: null,
    version: null,
    reason: 'no NVIDIA kernel driver (neither /proc/driver/nvidia/version nor /sys/module/nvidia)',
  };
}

/** NVIDIA devices on the PCI bus, by address: seen without any driver. */
export function nvidiaDevices(root?: string): string[] {
  const base = '/sys/bus/pci/devices';
  return listDir(base, root).filter(
    (address) =>
      readText(`${base}/${address}/vendor`, root) === '0x10de' &&
      // Display controllers and 3D controllers; not the card's audio or USB function.
      (readText(`${base}/${address}/class`, root) ?? '').startsWith('0x03'),
  );
}

/** Device nodes of the driver, by name: a container may have the driver and not its devices. */
export function nvidiaNodes(root?: string): string[] {
  return listDir('/dev', root).filter((name) => /^nvidia(\d+|ctl)$/.test(name));
}

function cuptiNames(): string[] {
  const sonames = ['libcupti.so.13', 'libcupti.so.12'];
  for (let minor = 8; minor >= 0; minor--) sonames.push(`libcupti.so.11.${minor}`);
  const folders: string[] = [];
  for (const name of ['CUDA_HOME', 'CUDA_PATH']) {
    const home = process.env[name];
    if (home) folders.push(`${home}/lib64`, `${home}/extras/CUPTI/lib64`);
  }
  // /usr/local/cuda is the one that was chosen; after it the versions, newest first.
  const installed = listDir('/usr/local', '/')
    .filter((name) => /^cuda(-[\d.]+)?$/.test(name))
    .sort((a, b) => (a === 'cuda' ? -1 : b === 'cuda' ? 1 : compareVersions(b, a)));
  for (const name of installed) {
    for (const part of ['lib64', 'lib', 'extras/CUPTI/lib64']) {
      folders.push(`/usr/local/${name}/${part}`);
    }
  }
  const pythons = ['/usr/lib', '/usr/local/lib', `${process.env['VIRTUAL_ENV'] ?? ''}/lib`];
  for (const python of pythons) {
    for (const name of listDir(python, '/').filter((entry) => /^python3/.test(entry))) {
      for (const packages of ['site-packages', 'dist-packages']) {
        for (const wheel of ['cuda_cupti', 'cu13']) {
          folders.push(`${python}/${name}/${packages}/nvidia/${wheel}/lib`);
        }
      }
    }
  }
  // A file that is not there costs no dlopen and does not lengthen the reason.
  const files = folders
    .flatMap((folder) => sonames.map((soname) => `${folder}/${soname}`))
    .filter((file) => existsSync(file));
  return [...sonames, ...files];
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** The names to open, in order; an override is the only one. */
export function libraryNames(library: LibraryName): string[] {
  const override = process.env[LIBRARY_OVERRIDES[library]];
  if (override) return [override];
  if (library === 'cuda') return ['libcuda.so.1', `${WSL_FOLDER}/libcuda.so.1`, 'libcuda.so'];
  if (library === 'nvml') {
    return ['libnvidia-ml.so.1', `${WSL_FOLDER}/libnvidia-ml.so.1`, 'libnvidia-ml.so'];
  }
  return cuptiNames();
}

export interface LibraryReport {
  readonly library: LibraryName;
  readonly found: boolean;
  /** The file that the loader mapped, links resolved. */
  readonly path: string | null;
  /** From the file's name, because asking the library needs a call into it. */
  readonly version: string | null;
  /** Value of the override variable, when set. */
  readonly override: string | null;
  /** Why there is none: each name that was tried with the loader's own words. */
  readonly reason: string | null;
}

/**
 * `libcuda.so.535.309.01` -> `535.309.01`. The ABI number of the driver's libraries (`libcuda.so.1`) says
 * nothing and gives null; that of CUPTI is the toolkit's major version.
 */
function versionOfFile(library: LibraryName, path: string): string | null {
  const version = /\.so\.(\d+(?:\.\d+)*)$/.exec(basename(path))?.[1] ?? null;
  return library === 'cupti' || /^\d{3,}\./.test(version ?? '') ? version : null;
}

/** Opens one library by dlopen and looks where it came from. Calls nothing in it. */
export function probeLibrary(binding: Binding, library: LibraryName): LibraryReport {
  const override = process.env[LIBRARY_OVERRIDES[library]] || null;
  const result = binding.probeLibrary(libraryNames(library));
  if ('reason' in result) {
    const reason = result.reason;
    return { library, found: false, path: null, version: null, override, reason };
  }
  let path = result.path;
  try {
    path = realpathSync(path);
  } catch {
    // the loader's own name is the best we have
  }
  const version = versionOfFile(library, path);
  return { library, found: true, path, version, override, reason: null };
}
