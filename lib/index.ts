export { type ErrorCode, type ErrorDetails, type ErrorRecord, WarpgaugeError } from './errors.ts';
export {
  type DoctorLine,
  type DoctorOptions,
  type DoctorReport,
  doctor,
  type EnvironmentOptions,
  type EnvironmentRecord,
  environment,
} from './host/index.ts';
export * as measure from './measure/index.ts';
export * as mitigate from './mitigate/index.ts';
export * as monitor from './monitor/index.ts';
