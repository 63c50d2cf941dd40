import type { SourceDescriptor } from './descriptor.ts';

/** Every source that can be asked for, in the order that `warpgauge sources` lists them. */
export const SOURCES: readonly SourceDescriptor[] = [];
