/**
 * Started by cases/systeminformation.ts: who (systeminformation, warpgauge, idle), fact, seconds. Prints the CPU time
 * of this process and its children after the first answer.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const INTERVAL_MS = 1000;
/** Of /proc/PID/stat on Linux, whatever the kernel's own tick is. */
const CLOCK_TICK_NS = 10e6;

/** User and system time, ns; that of ended children in steps of 10 ms. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  // Behind the name in brackets: state is field 3, cutime and cstime are 16 and 17.
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const children = Number(fields[13]) + Number(fields[14]);
  return (user + system) * 1e3 + children * CLOCK_TICK_NS;
}

type Ask = () => Promise<unknown>;

async function peer(fact: string): Promise<Ask> {
  const { default: si } = await import('systeminformation');
  const asks: Record<string, Ask> = {
    cpu: () => si.currentLoad(),
    memory: () => si.mem(),
    disk: () => si.disksIO(),
    network: () => si.networkStats('*'),
    process: () => si.processLoad('node'),
  };
  if (fact === 'all') return () => Promise.all(Object.values(asks).map((ask) => ask()));
  return asks[fact] as Ask;
}

async function ours(fact: string): Promise<Ask> {
  const { monitor } = await import('warpgauge');
  const each = { intervalMs: INTERVAL_MS };
  const sources = {
    cpu: monitor.cpu(each),
    memory: monitor.meminfo(each),
    disk: monitor.disk(each),
    network: monitor.net(each),
    process: monitor.process(each),
  };
  const wanted = fact === 'all' ? Object.values(sources) : [sources[fact as keyof typeof sources]];
  const sampler = await monitor.sample({ sources: wanted });
  const batches = sampler[Symbol.asyncIterator]();
  // Ends with the process, which this does not keep alive.
  void (async () => {
    while (!(await batches.next()).done);
  })();
  return async () => sampler.latest();
}

async function main(who: string, fact: string, seconds: number): Promise<void> {
  const nothing: Ask = async () => undefined;
  const ask = who === 'warpgauge' ? await ours(fact) : who === 'idle' ? nothing : await peer(fact);
  await ask();
  await sleep(INTERVAL_MS);
  const before = cpuNs();
  const start = performance.now();
  for (let tick = 1; tick <= Math.max(1, Math.round((seconds * 1000) / INTERVAL_MS)); tick++) {
    await ask();
    await sleep(start + tick * INTERVAL_MS - performance.now());
  }
  process.stdout.write(`${JSON.stringify({ cpuNs: cpuNs() - before })}\n`);
  process.exit();
}

const [who = '', fact = '', seconds] = process.argv.slice(2);
void main(who, fact, Number(seconds));
