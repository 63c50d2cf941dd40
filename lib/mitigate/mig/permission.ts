import { accessSync, constants, readFileSync } from 'node:fs';
import { WarpgaugeError } from '../../errors.ts';
import { hostPath, readText } from '../../host/sysfs.ts';

const CAP_SYS_ADMIN = 21n;

/**
 * Why this process may not change MIG, before the driver is asked: the mode needs CAP_SYS_ADMIN, instances that or read
 * access to the capability file of mig/config. null: nothing known speaks against it.
 */
export function missingRight(mode: boolean, root?: string): WarpgaugeError | null {
  if (hasSysAdmin()) return null;
  const node = mode ? null : configNode(root);
  if (node !== null && mayRead(hostPath(node, root))) return null;
  const what = mode ? 'Switching the MIG mode' : 'Changing MIG instances';
  const capability =
    node === null ? 'CAP_SYS_ADMIN' : `CAP_SYS_ADMIN, or read access to ${node} (mig/config)`;
  return new WarpgaugeError('ERR_PERMISSION', `${what} needs ${capability}`, {
    capability,
    fix: 'Run it as root',
    ...(node === null ? {} : { source: node }),
  });
}

/** By the effective capabilities of this process. */
export function hasSysAdmin(): boolean {
  try {
    const status = readFileSync('/proc/self/status', 'latin1');
    const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
    return ((mask >> CAP_SYS_ADMIN) & 1n) === 1n;
  } catch {
    return process.getuid?.() === 0;
  }
}

/** The device node of the capability, by the driver's own list: `config 1`. */
function configNode(root?: string): string | null {
  const minor = /^config (\d+)$/m.exec(
    readText('/proc/driver/nvidia-caps/mig-minors', root) ?? '',
  )?.[1];
  return minor === undefined ? null : `/dev/nvidia-caps/nvidia-cap${minor}`;
}

function mayRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
