export { type JsColumn, type JsTableOptions, table } from './js-table.ts';
export { now } from './now.ts';
export {
  type ColumnSummary,
  type Manifest,
  type ManifestTable,
  type Mark,
  mark,
  type OpenRecording,
  openRecording,
  type RecordedTable,
  type Recording,
  type RecordingEnd,
  type RecordingResult,
  type RecordingStats,
  type RecordingSummary,
  type RecordOptions,
  type RecoveredTable,
  type RecoverResult,
  record,
  recover,
  type SectionSummary,
  summarize,
  type TableSummary,
} from './recording/index.ts';
export { sample } from './sampler.ts';
export { type CgroupOptions, cgroup } from './sources/cgroup.ts';
export { type CpuOptions, cpu } from './sources/cpu.ts';
export { type CudaTraceOptions, cudaTrace } from './sources/cuda.ts';
export { disk } from './sources/disk.ts';
export { type GpuOptions, type GpuTableName, gpu } from './sources/gpu.ts';
export { hugepages } from './sources/hugepages.ts';
export { meminfo } from './sources/meminfo.ts';
export { net } from './sources/net.ts';
export { numa } from './sources/numa.ts';
export { type PageFaultsOptions, pageFaults } from './sources/page-faults.ts';
export { type PcieOptions, pcie } from './sources/pcie.ts';
export { type PerfOptions, perf } from './sources/perf.ts';
export { type PmSamplingOptions, pmSampling } from './sources/pm-sampling.ts';
export { pressure } from './sources/pressure.ts';
export { type ProcessOptions, process } from './sources/process.ts';
export { thermal } from './sources/thermal.ts';
export type { TickOptions } from './sources/tick-options.ts';
export { vmstat } from './sources/vmstat.ts';
export { type Span, span } from './span.ts';
export {
  type CommandEnd,
  type CudaApi,
  type CudaKind,
  summarizeTrace,
  type TraceCommandOptions,
  type TracedCommand,
  type TraceSummary,
  traceCommand,
} from './trace/index.ts';
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
