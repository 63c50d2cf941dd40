import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { injectionLibraryPath } from '../../addon.ts';
import { WarpgaugeError } from '../../errors.ts';
import { readDriver } from '../../host/drivers.ts';
import { outputError } from '../recording/output-error.ts';
import { cuptiPaths } from '../sources/cuda.ts';
import type { CudaKind } from './kinds.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Whether a command of this environment can be traced at all; asked before anything is made.
 *
 * @throws WarpgaugeError `ERR_NO_DRIVER`, `ERR_BUSY`, `ERR_LIBRARY_MISSING`: each with the fix.
 */
export function checkTraceable(env: Environment): string {
  const { present, reason } = readDriver(process.env['WARPGAUGE_ROOT']);
  if (!present && !env['WARPGAUGE_CUDA'] && !env['WARPGAUGE_CUPTI']) {
    throw new WarpgaugeError('ERR_NO_DRIVER', `There is nothing to trace: ${reason}`, {
      fix: 'install the NVIDIA driver and load it: sudo modprobe nvidia',
    });
  }
  const injected = env['CUDA_INJECTION64_PATH'];
  if (injected) {
    throw new WarpgaugeError(
      'ERR_BUSY',
      `The environment has CUDA_INJECTION64_PATH=${injected}: CUDA loads one such library, and another tool wants to be it`,
      { fix: 'env -u CUDA_INJECTION64_PATH warpgauge trace ...' },
    );
  }
  const library = injectionLibraryPath();
  if (library === null) {
    throw new WarpgaugeError(
      'ERR_LIBRARY_MISSING',
      'libwarpgauge_inject.so, which traced programs load, is not beside the addon',
      { fix: 'npm install warpgauge again, or in a checkout: npm run build' },
    );
  }
  return library;
}

/** What a traced command finds in its environment. */
export function tracedEnvironment(
  env: Environment,
  about: {
    readonly library: string;
    readonly fd: number;
    readonly dir: string;
    readonly kinds: readonly CudaKind[];
  },
): Record<string, string | undefined> {
  const paths = cuptiPaths();
  // NVTX hands its ranges to the library of this name: CUPTI itself.
  const cupti = env['WARPGAUGE_CUPTI'] || paths.split(':')[0] || '';
  const wantsMarkers = about.kinds.includes('marker') && cupti !== '';
  return {
    ...env,
    CUDA_INJECTION64_PATH: about.library,
    WARPGAUGE_TRACE_RING: `/proc/${process.pid}/fd/${about.fd}`,
    WARPGAUGE_TRACE_DIR: about.dir,
    WARPGAUGE_CUPTI_PATHS: paths,
    ...(wantsMarkers ? { NVTX_INJECTION64_PATH: cupti } : {}),
  };
}

/** A folder that any user can make a file in and only we can list: for processes that cannot open our memory. */
export async function makeTraceFolder(parent: string | undefined): Promise<string> {
  const place = parent ?? tmpdir();
  try {
    const dir = await mkdtemp(join(place, 'warpgauge-trace-'));
    await chmod(dir, 0o1733);
    return dir;
  } catch (cause) {
    throw outputError(place, cause);
  }
}

/** Removes it with what is in it; nothing is said where that fails: the command may have taken it away. */
export async function removeTraceFolder(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true }).catch(() => undefined);
}
