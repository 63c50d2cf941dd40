// Opens an isolated source, prints the helper's process id and waits to be killed.
import { IsolatedSource } from '#lib/monitor/isolated';

const source = await IsolatedSource.open(
  { source: 'vmstat', intervalMs: 10, options: {} },
  { instance: 'vmstat', keepAlive: true },
  { batch() {}, state() {} },
);
console.log(source.pid);
