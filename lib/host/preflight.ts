import { setTimeout as sleep } from 'node:timers/promises';
import { readCgroupMemory } from './cgroup.ts';
import {
  type CheckLine,
  checkCgroupHugetlb,
  checkCgroupMemory,
  checkGovernor,
  checkMemlock,
  checkMemory,
  checkNuma,
  checkPageReporting,
  checkPool,
  checkSwap,
  checkThp,
  checkVirtualization,
} from './checks.ts';
import { readCgroupHugetlb, readHugepagePools, readThp } from './hugepages.ts';
import {
  readCapabilities,
  readCpu,
  readMemlock,
  readMemory,
  readNuma,
  readPageReporting,
  readStatus,
  readVirtualization,
} from './machine.ts';
import { readText } from './sysfs.ts';

/** One preflight line: the state of something that changes the numbers. */
export type PreflightLine = CheckLine;

export interface PreflightOptions {
  /** Recorded tree that stands for `/`. Default: `WARPGAUGE_ROOT`, else the machine. */
  readonly root?: string;
  /** How long steal is watched. Default 100. */
  readonly stealMs?: number;
}

/** Ticks of all CPUs since boot: in all columns, and those the hypervisor took. */
function readTicks(root?: string): { readonly all: number; readonly steal: number } | null {
  const columns = /^cpu\s+(.*)$/m.exec(readText('/proc/stat', root) ?? '')?.[1]?.split(/\s+/);
  // user nice system idle iowait irq softirq steal; guest time is part of user and nice.
  const ticks = columns?.slice(0, 8).map(Number);
  if (ticks === undefined || ticks.length < 8 || ticks.some(Number.isNaN)) return null;
  return { all: ticks.reduce((sum, n) => sum + n, 0), steal: ticks[7] as number };
}

function checkLoad(cpus: number | null, root?: string): CheckLine {
  const load = /^([\d.]+)/.exec(readText('/proc/loadavg', root) ?? '')?.[1];
  const base = { check: 'load', effect: null, fix: null };
  if (load === undefined || cpus === null) {
    return { ...base, level: 'WARN', value: 'unknown (/proc/loadavg)' };
  }
  const value = `${load} on ${cpus} CPU${cpus === 1 ? '' : 's'} (1 min)`;
  // The benchmark itself needs one CPU; what is above half of them competes for caches and memory.
  if (Number(load) <= cpus / 2) return { ...base, level: 'OK', value };
  return {
    check: 'load',
    level: 'WARN',
    value,
    effect:
      'other programs share the memory bandwidth and the caches: wider intervals, slower samples',
    fix: 'stop other programs, or wait until the load falls',
  };
}

function checkSteal(before: ReturnType<typeof readTicks>, after: typeof before): CheckLine {
  const base = { check: 'steal', effect: null, fix: null };
  if (before === null || after === null) {
    return { ...base, level: 'WARN', value: 'unknown (/proc/stat)' };
  }
  const all = after.all - before.all;
  const steal = after.steal - before.steal;
  if (all <= 0) return { ...base, level: 'WARN', value: 'unknown (no tick passed)' };
  if (steal <= 0) return { ...base, level: 'OK', value: '0 % now' };
  return {
    check: 'steal',
    level: 'WARN',
    value: `${((steal / all) * 100).toFixed(1)} % now`,
    effect: 'the hypervisor takes CPU time from this guest: single samples come out slow',
    fix: 'measure when the host is less busy, or on a dedicated host',
  };
}

/**
 * Looks at everything about this machine that changes the numbers of a benchmark, before it runs. Changes
 * nothing, never throws; what cannot be read is a line that says so. Takes `stealMs` milliseconds.
 */
export async function preflight(options: PreflightOptions = {}): Promise<PreflightLine[]> {
  const { root, stealMs = 100 } = options;
  const before = readTicks(root);
  const cpu = readCpu(root);
  const pools = readHugepagePools(root);
  const memory = readMemory(root);
  const thpEnabled = readStatus(root).get('THP_enabled');
  const lines = [
    checkMemory(memory),
    checkCgroupMemory(readCgroupMemory(root)),
    checkSwap(memory),
    checkVirtualization(readVirtualization(root)),
    checkPageReporting(readPageReporting(root)),
    checkThp(readThp(root), thpEnabled === '0' ? 1 : null),
    checkPool('2m', pools, cpu.pdpe1gb),
    checkPool('1g', pools, cpu.pdpe1gb),
    checkCgroupHugetlb(readCgroupHugetlb(root)),
    checkMemlock(readMemlock(root), readCapabilities(root)),
    checkNuma(readNuma(root)),
    checkGovernor(cpu),
  ];
  await sleep(stealMs);
  const steal = checkSteal(before, readTicks(root));
  return [checkLoad(cpu.allowed ?? cpu.count, root), steal, ...lines];
}
