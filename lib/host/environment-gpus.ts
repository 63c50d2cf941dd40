import { loadBinding, type NativeGpuSystem } from '../addon.ts';
import { WarpgaugeError } from '../errors.ts';
import { LIBRARY_OVERRIDES } from './drivers.ts';
import type { Fact, FactSheet } from './environment-facts.ts';
import { hostRoot } from './sysfs.ts';

/** A driver that hangs must not hold up a record: 5 s, because a first initialization can take one. */
const DRIVER_TIMEOUT_MS = 5_000;

/** What names a device rather than its kind: these go to `host`. */
const NAMES = new Set(['uuid', 'serial', 'pciAddress']);
/** What an operator or the driver may change between two runs without a new machine. */
const CHANGES = new Set(['migPending', 'eccPending', 'persistence']);

/**
 * The GPUs by NVML, added to three sheets. Only where the kernel driver is present or a library is named: native code
 * asks nothing else. What cannot be had is one null with the reason.
 */
export async function gpuFacts(
  identity: FactSheet,
  state: FactSheet,
  host: FactSheet,
): Promise<void> {
  let system: NativeGpuSystem;
  try {
    const override = process.env[LIBRARY_OVERRIDES.nvml] ?? '';
    system = await withinTime(loadBinding().readGpus(override, nativeRoot(identity.root)));
  } catch (error) {
    const reason = error instanceof WarpgaugeError ? error.message : String(error);
    identity.set('gpu.nvml', null, reason);
    identity.set('gpu.models', null, reason);
    return;
  }
  identity.set('gpu.nvml.version', system.nvmlVersion, 'the library does not tell');
  identity.set('gpu.nvml.driver', system.driverVersion, 'the library does not tell');
  identity.set('gpu.nvml.cuda', system.cudaVersion, 'the library does not tell');
  identity.set('gpu.nvml.simulated', system.simulated, '');
  for (const [index, gpu] of system.gpus.entries()) {
    for (const [name, value] of Object.entries(gpu.values)) {
      const sheet = NAMES.has(name) ? host : CHANGES.has(name) ? state : identity;
      const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      sheet.set(`gpu.models.${index}.${field}`, value, gpu.reasons[name] ?? 'not_supported');
    }
    const instances = gpu.instances.map(({ uuid: _uuid, ...rest }) => rest);
    identity.set(`gpu.models.${index}.mig_instances`, instances as unknown as Fact, '');
    host.set(
      `gpu.models.${index}.mig_uuids`,
      gpu.instances.map((each) => each.uuid),
      '',
    );
  }
}

/** Native code puts the root before absolute paths: the machine itself is the empty prefix. */
function nativeRoot(root?: string): string {
  const folder = hostRoot(root);
  return folder === '/' ? '' : folder;
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const seconds = DRIVER_TIMEOUT_MS / 1000;
    const message = `NVML did not answer within ${seconds} s: the driver hangs`;
    timer = setTimeout(() => reject(new WarpgaugeError('ERR_NVML', message)), DRIVER_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
