export { exportRecording } from './export-recording.ts';
export type {
  ExportedFile,
  ExportedTable,
  ExportFormat,
  ExportOptions,
  ExportProgress,
  ExportResult,
} from './types.ts';
