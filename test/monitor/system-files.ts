import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from '#lib/monitor/types';

// The independent reader of the tests: split and regular expressions, nothing of the library.

export const text = (root: string, path: string): string => readFileSync(join(root, path), 'utf8');

/** Every line as its words; a colon counts as a blank. */
export function words(root: string, path: string): string[][] {
  return text(root, path)
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replaceAll(':', ' ').trim().split(/\s+/));
}

/** Lines `name value` as numbers. */
export function pairs(root: string, path: string): Map<string, bigint> {
  return new Map(
    words(root, path).map(([name, value]) => [name as string, BigInt(value as string)]),
  );
}

export const folders = (root: string, path: string, name: RegExp): string[] =>
  existsSync(join(root, path))
    ? readdirSync(join(root, path)).filter((each) => name.test(each))
    : [];

export type Reading = Map<string, bigint>;

/**
 * What the files say now, as `table/key/column` of what the sources must give: only u64 columns, so that two readings
 * can be compared with a row between them.
 */
export function readAll(root: string): Reading {
  const reading: Reading = new Map();
  const put = (at: string, value: string | bigint, factor = 1n) =>
    reading.set(at, BigInt(value) * factor);
  for (const [name, value] of pairs(root, 'proc/vmstat')) put(`vmstat//${name}`, value);
  const snake = (name: string) =>
    name
      .replace(/\W+/g, '_')
      .replace(/_$/, '')
      .replace(/([a-z])([A-Z0-9])/g, '$1_$2')
      .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
      .toLowerCase();
  const meminfo = (at: string, line: string[]) => {
    const [name = '', value = '', unit] = line;
    put(`${at}/${snake(name)}${unit ? '_bytes' : ''}`, value, unit ? 1024n : 1n);
  };
  for (const line of words(root, 'proc/meminfo')) meminfo('meminfo/', line);
  const times = 'user nice system idle iowait irq softirq steal guest guest_nice'.split(' ');
  for (const [name = '', ...values] of words(root, 'proc/stat')) {
    const cpu = /^cpu(\d+)$/.exec(name)?.[1];
    if (cpu !== undefined) {
      for (const [i, field] of times.entries()) {
        put(`cpu/${cpu}/${field}_ns`, values[i] as string, 10_000_000n);
      }
    } else if (name !== 'cpu' && name !== 'btime') {
      put(`cpu.system//${name}`, values[0] as string);
    }
  }
  const disk =
    'reads reads_merged read_bytes read_ns writes writes_merged write_bytes write_ns in_flight io_ns weighted_io_ns ' +
    'discards discards_merged discard_bytes discard_ns flushes flush_ns';
  for (const [, , device = '', ...values] of words(root, 'proc/diskstats')) {
    for (const [i, field] of disk.split(' ').entries()) {
      const factor = field.endsWith('_bytes') ? 512n : field.endsWith('_ns') ? 1_000_000n : 1n;
      put(`disk/${device}/${field}`, values[i] as string, factor);
    }
  }
  const net = 'bytes packets errors dropped fifo_errors frame_errors compressed multicast'.split(
    ' ',
  );
  const sent = 'bytes packets errors dropped fifo_errors collisions carrier_errors compressed';
  for (const [name = '', ...values] of words(root, 'proc/net/dev').slice(2)) {
    for (const [i, field] of net.entries())
      put(`net/${name}/receive_${field}`, values[i] as string);
    for (const [i, field] of sent.split(' ').entries()) {
      put(`net/${name}/transmit_${field}`, values[8 + i] as string);
    }
  }
  for (const resource of folders(root, 'proc/pressure', /./)) {
    for (const line of text(root, `proc/pressure/${resource}`).split('\n')) {
      const match = /^(some|full) .*total=(\d+)$/.exec(line);
      if (match) put(`pressure/${resource}/${match[1]}_total_ns`, match[2] as string, 1000n);
    }
  }
  const sizes = { 'hugepages-2048kB': '2m', 'hugepages-1048576kB': '1g' };
  const nodes = 'sys/devices/system/node';
  for (const node of folders(root, nodes, /^node\d+$/)) {
    const number = node.slice(4);
    for (const [name, value] of pairs(root, `${nodes}/${node}/numastat`)) {
      put(`numa/${number}/${name}`, value);
    }
    for (const line of words(root, `${nodes}/${node}/meminfo`)) {
      meminfo(`numa/${number}`, line.slice(2));
    }
    for (const [folder, size] of Object.entries(sizes)) {
      for (const field of ['nr', 'free', 'surplus']) {
        const path = `${nodes}/${node}/hugepages/${folder}/${field}_hugepages`;
        if (existsSync(join(root, path))) {
          put(`hugepages/${size},${number}/${field}_hugepages`, text(root, path).trim());
        }
      }
    }
  }
  for (const [folder, size] of Object.entries(sizes)) {
    for (const field of ['nr', 'free', 'surplus', 'resv', 'nr_overcommit']) {
      const path = `sys/kernel/mm/hugepages/${folder}/${field}_hugepages`;
      if (existsSync(join(root, path))) {
        put(`hugepages.pool/${size}/${field}_hugepages`, text(root, path).trim());
      }
    }
  }
  return reading;
}

/** Rows of `latest()` in the same form; nulls are left out. */
export function fromRows(latest: Readonly<Record<string, readonly Row[]>>): Reading {
  const keys: Record<string, string[]> = {
    cpu: ['cpu'],
    disk: ['device'],
    net: ['interface'],
    pressure: ['resource'],
    numa: ['node'],
    hugepages: ['page_size', 'node'],
    'hugepages.pool': ['page_size'],
    pcie: ['device'],
  };
  const reading: Reading = new Map();
  for (const [table, rows] of Object.entries(latest)) {
    for (const row of rows) {
      const key = (keys[table] ?? []).map((name) => String(row[name])).join();
      for (const [name, value] of Object.entries(row)) {
        if (name === 'time' || name === 'page_size_bytes' || typeof value !== 'bigint') continue;
        reading.set(`${table}/${key}/${name}`, value);
      }
    }
  }
  return reading;
}
