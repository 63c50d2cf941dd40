export { type ErrorCode, type ErrorDetails, type ErrorRecord, WarpgaugeError } from './errors.ts';
