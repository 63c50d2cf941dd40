// What does a program do with CUDA, and how fast are its copies?
// Run: node out/js/examples/monitor-trace.js [COMMAND ...]
import { monitor, WarpgaugeError } from 'warpgauge';

const command = process.argv.length > 2 ? process.argv.slice(2) : ['nvidia-smi', '-L'];

try {
  await using traced = await monitor.traceCommand({
    command,
    kinds: ['memcpy', 'kernel', 'api'],
    sources: [monitor.pageFaults()], // of the command and all that it starts
  });
  const bytes = new Map<string, bigint>();
  for await (const { table, batch } of traced) {
    if (table !== 'cuda.memcpy') continue;
    for (const row of batch) {
      const { direction, bytes: size } = row.toJSON() as { direction: string; bytes: bigint };
      bytes.set(direction, (bytes.get(direction) ?? 0n) + size);
    }
  }
  for (const [direction, total] of bytes) console.log(`${direction}: ${total} bytes`);
  const { code } = await traced.ended;
  console.log(`${command.join(' ')} ended with ${code}`);
} catch (error) {
  if (!(error instanceof WarpgaugeError) || error.code !== 'ERR_NO_DRIVER') throw error;
  console.log(`${error.message}; ${error.fix}`); // a machine without a GPU is an ordinary case
}
