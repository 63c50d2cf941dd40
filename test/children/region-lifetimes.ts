// Run with --expose-gc: shared regions are seen in /proc/self/maps by the name of their memory file, so the child
// can tell when nothing refers to one any more. Prints "ok" or what went wrong.
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { mitigate } from 'warpgauge';

const mapped = (): number =>
  readFileSync('/proc/self/maps', 'latin1').split('/memfd:warpgauge').length - 1;

async function collect(until: number): Promise<number> {
  for (let i = 0; i < 50 && mapped() !== until; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    await turn(); // finalizers of memory run when the event loop turns
  }
  return mapped();
}

async function expect(what: string, count: number): Promise<void> {
  const found = await collect(count);
  if (found !== count) {
    console.log(`${what}: ${found} mapped, expected ${count}`);
    process.exit(1);
  }
}

const make = () => mitigate.allocate({ bytes: 1e6, pages: '4k', shared: true });

for (let i = 0; i < 10; i++) await make();
await expect('regions that nothing refers to', 0);

const kept: unknown[] = [(await make()).view(5, 10), (await make()).buffer, await make()];
await expect('a view, a buffer and a region, each held', 3);
(kept[0] as Uint8Array)[0] = 9;
if ((kept[0] as Uint8Array)[0] !== 9) throw new Error('the view lost its memory');
kept.length = 0;
await expect('after letting them go', 0);

const closed = await make();
const buffer = closed.buffer;
closed.close();
if (mapped() !== 0) throw new Error('close() did not give the memory back at once');
closed.close();
await expect('closed, but its buffer object still held', 0);
if (buffer.byteLength !== 0) throw new Error('the buffer was not detached');
console.log('ok');
