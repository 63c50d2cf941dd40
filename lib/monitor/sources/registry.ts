import type { SourceDescriptor } from './descriptor.ts';
import { pageFaultsDescriptor } from './page-faults.ts';
import { vmstatDescriptor } from './vmstat.ts';

/** Every source that can be asked for, in the order that `warpgauge sources` lists them. */
export const SOURCES: readonly SourceDescriptor[] = [vmstatDescriptor, pageFaultsDescriptor];
