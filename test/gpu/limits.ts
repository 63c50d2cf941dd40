/**
 * The part of `npm run test:gpu` about what may be set: power limits and their range, supported clocks, persistence, MIG
 * profiles and placements, and the node of each GPU. It reads and changes nothing: no test ever sets any of it on a real GPU.
 */
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { mitigate } from 'warpgauge';

export interface LimitsCheck {
  readonly passed: boolean;
  readonly measured: Readonly<Record<string, unknown>>;
}

/** Half of the last digit that nvidia-smi prints. */
const PRINTED_W = 0.005;
const QUERY = [
  'persistence_mode',
  'power.limit',
  'enforced.power.limit',
  'power.default_limit',
  'power.min_limit',
  'power.max_limit',
  'clocks.max.sm',
  'clocks.max.memory',
] as const;

async function smi(args: readonly string[]): Promise<string[][]> {
  const { stdout } = await promisify(execFile)('nvidia-smi', [
    ...args,
    '--format=csv,noheader,nounits',
  ]);
  const lines = stdout.trim().split('\n');
  return lines.map((line) => line.split(',').map((word) => word.trim()));
}

/** What is wrong with a reading by itself; null: nothing. */
function contradiction(gpu: mitigate.PowerGpu): string | null {
  const { requestedW, currentW, minW, maxW, defaultW } = gpu.powerLimit;
  if (minW !== null && maxW !== null) {
    for (const [name, watts] of Object.entries({ requestedW, defaultW })) {
      if (watts !== null && (watts < minW || watts > maxW)) return `${name} is out of its range`;
    }
    if (currentW !== null && currentW > maxW) return 'more is in force than may be asked for';
  }
  const { supportedMhz, maxMhz } = gpu.smClock;
  if (supportedMhz !== null && maxMhz !== null && supportedMhz.max > maxMhz) {
    return 'supported SM clocks go beyond the highest';
  }
  return null;
}

/** Compares with nvidia-smi: the first difference, null for none. */
async function compare(gpu: mitigate.PowerGpu): Promise<string | null> {
  const [row = []] = await smi([`--query-gpu=${QUERY.join(',')}`, `--id=${gpu.uuid}`]);
  const { requestedW, currentW, defaultW, minW, maxW } = gpu.powerLimit;
  const ours: readonly (number | string | null)[] = [
    gpu.persistence === null ? null : gpu.persistence ? 'Enabled' : 'Disabled',
    ...[requestedW, currentW, defaultW, minW, maxW],
    gpu.smClock.maxMhz,
    gpu.memoryClock.maxMhz,
  ];
  for (const [index, name] of QUERY.entries()) {
    const own = ours[index] ?? null;
    const theirs = row[index] ?? '';
    const same =
      typeof own === 'number' ? Math.abs(own - Number(theirs)) <= PRINTED_W : own === theirs;
    if (own !== null && !same) return `${name}: ${own}, nvidia-smi ${theirs}`;
  }
  const pairs = await smi(['--query-supported-clocks=memory,graphics', `--id=${gpu.uuid}`]);
  const memory = [...new Set(pairs.map(([mhz]) => Number(mhz)))].sort((a, b) => a - b);
  const graphics = pairs.map(([, mhz]) => Number(mhz));
  const range = { min: Math.min(...graphics), max: Math.max(...graphics) };
  const { supportedMhz } = gpu.smClock;
  if (JSON.stringify(supportedMhz) !== JSON.stringify(range)) {
    return `SM clocks ${JSON.stringify(supportedMhz)}, nvidia-smi ${JSON.stringify(range)}`;
  }
  return JSON.stringify(gpu.memoryClock.supportedMhz) === JSON.stringify(memory)
    ? null
    : `memory clocks ${gpu.memoryClock.supportedMhz?.join(' ')}, nvidia-smi ${memory.join(' ')}`;
}

/** Everything that names one machine is left out of what is kept. */
const masked = (text: string): string =>
  text.replace(/(GPU|MIG)-[0-9a-f]{8}-[0-9a-f-]{27}/g, '$1-masked');

export async function checkLimits(simulated: boolean): Promise<LimitsCheck> {
  let passed = true;
  const say = (ok: boolean, text: string): void => {
    passed &&= ok;
    console.log(`${simulated ? 'Simulated  ' : ''}${ok ? 'ok' : 'FAILED'}  ${text}`);
  };
  const { gpus } = await mitigate.power.status();
  for (const gpu of gpus) {
    const { minW, maxW, requestedW, currentW } = gpu.powerLimit;
    const wrong = contradiction(gpu) ?? (simulated ? null : await compare(gpu));
    const sm = gpu.smClock.supportedMhz;
    say(
      wrong === null,
      `${gpu.name}: ${requestedW} W asked for, ${currentW} W in force, ${minW} to ${maxW} W; SM ${sm?.min}-${sm?.max} MHz; ${wrong ?? 'as nvidia-smi says'}`,
    );
  }
  const mig = await mitigate.mig.status();
  for (const { name, mode, profiles, reason } of mig) {
    const found = profiles?.profiles.map(({ name: one, starts }) => `${one}@${starts.join('/')}`);
    const state = mode === null ? 'no MIG' : mode.enabled ? 'MIG on' : 'MIG off';
    say(
      mode === null || profiles !== null,
      `${name}: ${state}; ${found?.join(', ') ?? 'no profiles'}; ${reason ?? 'by the driver'}`,
    );
  }
  const numa = await mitigate.numa.status();
  for (const { index, node, source, disagreement } of numa.gpus) {
    say(true, `GPU ${index}: node ${node ?? 'unknown'} by ${source}; ${disagreement ?? 'agreed'}`);
  }
  const measured = { simulated, power: gpus, mig, affinity: numa.gpus };
  return { passed, measured: JSON.parse(masked(JSON.stringify(measured))) as typeof measured };
}

/** The file of docs/results that a run on a real GPU writes; null where that folder is not. */
export function limitsFile(name: string): string | null {
  const folder = 'docs/results';
  const slug = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const day = new Date().toISOString().slice(0, 10);
  return existsSync(folder) ? `${folder}/${day}-${slug}-limits.json` : null;
}

export function writeLimits(file: string, { measured }: LimitsCheck): void {
  writeFileSync(file, `${JSON.stringify(measured, null, 1)}\n`);
  console.log(`    limits written to ${file}`);
}
