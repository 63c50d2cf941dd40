export { type ErrorCode, type ErrorDetails, type ErrorRecord, WarpgaugeError } from './errors.ts';
export * as mitigate from './mitigate/index.ts';
