import { invalidArgument } from '../../errors.ts';
import { didYouMean } from '../../near-match.ts';

/** What can be recorded of CUDA; `memcpy` includes copies between GPUs. */
export type CudaKind =
  | 'memcpy'
  | 'memset'
  | 'kernel'
  | 'unified-memory'
  | 'synchronization'
  | 'overhead'
  | 'api'
  | 'external'
  | 'marker';

/** Which calls of the CUDA driver and runtime API are recorded: those that copy, all, or none. */
export type CudaApi = 'memcpy' | 'all' | 'none';

/** Bits 1 << kind of native/gpu/cupti/trace_record.h. */
const BITS: Readonly<Record<CudaKind, number>> = {
  memcpy: (1 << 1) | (1 << 2),
  memset: 1 << 3,
  kernel: 1 << 4,
  'unified-memory': 1 << 5,
  synchronization: 1 << 6,
  overhead: 1 << 7,
  api: 1 << 8,
  external: 1 << 9,
  marker: 1 << 10,
};
const APIS: readonly CudaApi[] = ['none', 'memcpy', 'all'];

export const CUDA_KINDS = Object.keys(BITS) as readonly CudaKind[];
export const DEFAULT_KINDS: readonly CudaKind[] = [
  'memcpy',
  'memset',
  'kernel',
  'overhead',
  'api',
  'synchronization',
];

const isKind = (text: string): text is CudaKind => Object.hasOwn(BITS, text);

/** Checked names of kinds. */
export function checkKinds(name: string, kinds: readonly string[]): readonly CudaKind[] {
  if (!Array.isArray(kinds) || kinds.length === 0) {
    throw invalidArgument(name, `kinds such as ${DEFAULT_KINDS.join(', ')}`, kinds);
  }
  return kinds.map((kind) => {
    if (isKind(kind)) return kind;
    const hint = didYouMean(kind, [...CUDA_KINDS]);
    throw invalidArgument(name, `kinds out of ${CUDA_KINDS.join(', ')}`, `${kind}${hint}`);
  });
}

export function checkApi(name: string, api: string): CudaApi {
  const found = APIS.find((each) => each === api);
  if (found === undefined) throw invalidArgument(name, APIS.join(', '), api);
  return found;
}

/** What native code is told. External correlations are told with the calls, so they need those. */
export function kindBits(
  kinds: readonly CudaKind[],
  api: CudaApi,
): { readonly bits: number; readonly api: number } {
  const wanted = new Set(kinds);
  if (api === 'none') wanted.delete('api');
  else if (wanted.has('external')) wanted.add('api');
  let bits = 0;
  for (const kind of wanted) bits |= BITS[kind];
  return { bits, api: wanted.has('api') ? APIS.indexOf(api) : 0 };
}
