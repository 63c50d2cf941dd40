export { type JsColumn, type JsTableOptions, table } from './js-table.ts';
export { now } from './now.ts';
export { sample } from './sampler.ts';
export { type PageFaultsOptions, pageFaults } from './sources/page-faults.ts';
export { type VmstatOptions, vmstat } from './sources/vmstat.ts';
export { type Span, span } from './span.ts';
export type {
  CallCost,
  JsTable,
  Row,
  SampledBatch,
  SampleOptions,
  Sampler,
  SamplerStats,
  SourceSpec,
  StateRow,
  TableInfo,
  TableKind,
  TableStats,
} from './types.ts';
