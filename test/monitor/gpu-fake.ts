// The fake NVML for tests of the gpu source: which library, which script, which calls were made.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FAKES = fileURLToPath(new URL('../../../debug/fake/', import.meta.url));

/** Drivers that the fakes play: CMakeLists.txt of test/native. The last is the one of the captures, 590.48.01. */
export const SCHEMES = [
  '535-early',
  '12.2',
  '12.4',
  '12.5',
  '12.8',
  '13.0',
  '580.159',
  '13.2',
  '13.1',
] as const;
export type Scheme = (typeof SCHEMES)[number];

export function fakeLibrary(scheme: Scheme = '13.1'): string {
  return join(FAKES, scheme === '13.1' ? '' : `nvml-${scheme}`, 'libnvidia-ml.so.1');
}

/** Options of a test that needs the fakes: skipped, with the reason, where they are not built. */
export const NEEDS_FAKE = existsSync(fakeLibrary())
  ? {}
  : { skip: 'the fake driver libraries are not built (node scripts/setup.mjs --tests)' };

const VARIABLES = ['WARPGAUGE_NVML', 'WARPGAUGE_FAKE_SCRIPT', 'WARPGAUGE_FAKE_LOG'] as const;
let count = 0;

/** A simulated machine for the time of a test: sets the variables that the library and the fake read. */
export class FakeGpus {
  readonly #folder = mkdtempSync(join(tmpdir(), 'warpgauge-gpu-'));
  readonly #saved = VARIABLES.map((name) => [name, process.env[name]] as const);
  readonly log = join(this.#folder, 'calls.log');
  readonly script = join(this.#folder, 'script');
  /** CLOCK_MONOTONIC ns at which the time of the simulated machine is 0. */
  readonly startNs: bigint = process.hrtime.bigint();

  constructor(script = '', library: string = fakeLibrary()) {
    this.write(script);
    process.env['WARPGAUGE_NVML'] = library;
    process.env['WARPGAUGE_FAKE_SCRIPT'] = this.script;
    process.env['WARPGAUGE_FAKE_LOG'] = this.log;
  }

  /** Replaces the script; with `live = 1` in it the running machine follows. */
  write(script: string): void {
    count++;
    writeFileSync(`${this.script}.new`, `# ${count}\nstart_ns = ${this.startNs}\n${script}`);
    renameSync(`${this.script}.new`, this.script);
  }

  /** Milliseconds of the machine's time. */
  nowMs(): number {
    return Number(process.hrtime.bigint() - this.startNs) / 1e6;
  }

  /** Lines of the call log without their times: `nvmlInit_v2() = 0`. */
  calls(): string[] {
    if (!existsSync(this.log)) return [];
    const lines = readFileSync(this.log, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => line.slice(line.indexOf(' ') + 1));
  }

  /** How often a function was called. */
  count(name: string): number {
    return this.calls().filter((line) => line.startsWith(`${name}(`)).length;
  }

  /** A copy of a library in which one exported function has another name, as if the driver did not have it. */
  without(symbol: string, scheme: Scheme = '13.1'): string {
    const folder = join(this.#folder, `without-${symbol}`);
    mkdirSync(folder, { recursive: true });
    const copy = join(folder, 'libnvidia-ml.so.1');
    copyFileSync(fakeLibrary(scheme), copy);
    const bytes = readFileSync(copy);
    // The first such text is the dynamic symbol's name: .dynstr comes before .rodata.
    const at = bytes.indexOf(`\0${symbol}\0`);
    assert.notEqual(at, -1, `${symbol} is not exported`);
    bytes.write('hidden', at + 1, 'latin1');
    writeFileSync(copy, bytes);
    process.env['WARPGAUGE_NVML'] = copy;
    return copy;
  }

  close(): void {
    for (const [name, value] of this.#saved) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Names of the functions that a library exports: those in its table of dynamic names. */
export function functionNames(library: string): string[] {
  const text = readFileSync(library, 'latin1');
  const begin = text.indexOf('\0nvml');
  const names = text.slice(begin + 1, text.indexOf('\0\0', begin + 1)).split('\0');
  return names.filter((name) => /^nvml[A-Z]\w+$/.test(name));
}
