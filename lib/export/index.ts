export { exportRecording } from './export-recording.ts';
export type {
  ExportedFile,
  ExportedTable,
  ExportedTrace,
  ExportFormat,
  ExportOptions,
  ExportProgress,
  ExportResult,
  TableFormat,
} from './types.ts';
