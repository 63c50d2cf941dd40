import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { hostPath, readText } from './sysfs.ts';

/** Where what warpgauge changes on a machine is written down, and how a boot of the machine is named. */
export interface StateOptions {
  /** Folder that stands for `/`. Default: `WARPGAUGE_ROOT`, else `/`. */
  readonly root?: string;
  /** Default: `WARPGAUGE_STATE_DIR`, else /var/lib/warpgauge as root, else ~/.local/state/warpgauge. */
  readonly stateDir?: string;
}

interface Named {
  readonly root?: string | undefined;
  readonly stateDir?: string | undefined;
}

/**
 * Where changes are recorded: `stateDir`, else `WARPGAUGE_STATE_DIR`, else by user. Always absolute: the guardian, which
 * works in `/`, must find what we write.
 */
export function stateFolder(options: Named): string {
  const named = options.stateDir ?? process.env['WARPGAUGE_STATE_DIR'];
  if (named) return resolve(named);
  if (process.getuid?.() === 0) return resolve(hostPath('/var/lib/warpgauge', options.root));
  return resolve(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'warpgauge');
}

/**
 * Where the locks lie: /run/warpgauge as root, else `$XDG_RUNTIME_DIR/warpgauge`. Never inside `stateDir`: two runs with
 * state folders of their own still change the same machine.
 */
export function lockFolder(options: Named = {}): string {
  if (process.getuid?.() === 0) return resolve(hostPath('/run/warpgauge', options.root));
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime ? resolve(runtime, 'warpgauge') : join(stateFolder({}), 'run');
}

/** Names this boot of the machine; every pool, power and clock setting ends with it. */
export function bootId(root?: string): string {
  return readText('/proc/sys/kernel/random/boot_id', root)?.trim() ?? 'unknown';
}
