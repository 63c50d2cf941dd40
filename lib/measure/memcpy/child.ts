/**
 * The copying child: the main module of a process of its own, started by copy-child.ts. Its main thread is
 * the thread that is measured; it does nothing but answer one request after the other.
 */
import { writeSync } from 'node:fs';
import { loadBinding } from '../../addon.ts';
import { errorRecord } from './options.ts';
import { lineSplitter, type Reply, type Request } from './protocol.ts';

function answer(request: Request): Reply {
  try {
    const binding = loadBinding();
    switch (request.op) {
      case 'open':
        binding.enterChild({ parentPid: request.parentPid, cpu: request.cpu });
        return { info: binding.openBackend(request.backend) };
      case 'sample':
        return { sample: binding.runSample(request.spec) };
      case 'die':
        process.kill(process.pid, 'SIGKILL');
        return { error: errorRecord(new Error('unreachable')) };
    }
  } catch (error) {
    return { error: errorRecord(error) };
  }
}

// Ctrl-C reaches the whole foreground group; the parent decides what becomes of the run.
process.on('SIGINT', () => {});

const feed = lineSplitter((line) => {
  // Synchronous: a reply that sits in a stream's buffer while the next sample runs is a lost sample if the
  // child is killed by it.
  writeSync(1, `${JSON.stringify(answer(JSON.parse(line) as Request))}\n`);
});
process.stdin.setEncoding('utf8');
process.stdin.on('data', feed);
process.stdin.on('end', () => process.exit(0));
