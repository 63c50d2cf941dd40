import type { Recording } from '../monitor/recording/recorder.ts';
import { recordingStatus } from '../view/recording-status.ts';

const STATUS_MS = 500;

/** Shows on standard error how a recording grows, until it is closed. */
export function showProgress(recording: Recording, out: string): { close(): void } {
  const status = recordingStatus(process.stderr, out);
  const timer = setInterval(() => status.update(recording.stats()), STATUS_MS);
  return {
    close() {
      clearInterval(timer);
      status.close();
    },
  };
}
