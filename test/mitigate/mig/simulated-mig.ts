// A Simulated GPU that can be divided, with a boot id, a state that outlives processes, and a place for journals.
import {
  chmodSync,
  cpSync,
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
import { fakeLibrary } from '../../monitor/gpu-fake.js';

export const GPU = 'GPU-53494d55-4c41-5445-4400-000000000000';
export const SECOND_GPU = 'GPU-53494d55-4c41-5445-4400-000000000001';

/** Functions of the driver that change something. */
const MUTATING =
  /^nvml(Device(Set|Reset)\w+|DeviceCreateGpuInstance\w*|GpuInstanceDestroy|GpuInstanceCreateComputeInstance\w*|ComputeInstanceDestroy)\(/;

const VARIABLES = [
  'WARPGAUGE_NVML',
  'WARPGAUGE_FAKE_SCRIPT',
  'WARPGAUGE_FAKE_LOG',
  'WARPGAUGE_ROOT',
  'WARPGAUGE_STATE_DIR',
  'WARPGAUGE_NVIDIA_SMI',
] as const;

export interface Given {
  readonly board?: string;
  /** Lines of the script. */
  readonly script?: string;
  readonly mode?: boolean;
  /** `profile@start:slices@start+slices@start`, by start. */
  readonly instances?: readonly string[];
}

export class SimulatedMig {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'warpgauge-mig-'));
  readonly root: string = join(this.folder, 'root');
  readonly stateDir: string = join(this.folder, 'warpgauge');
  readonly state: string = join(this.folder, 'state');
  readonly script: string = join(this.folder, 'script');
  readonly log: string = join(this.folder, 'calls.log');
  readonly #saved = VARIABLES.map((name) => [name, process.env[name]] as const);
  readonly #given: Given;
  #boot = 1;
  #version = 0;

  constructor(given: Given = {}) {
    this.#given = given;
    const smi = join(this.folder, 'nvidia-smi');
    // The reset of the Simulated GPU: the fake sees the file.
    writeFileSync(smi, `#!/bin/sh\necho "$@" >>${this.folder}/resets\n: >${this.state}.reset.0\n`);
    chmodSync(smi, 0o755);
    mkdirSync(join(this.root, 'proc/sys/kernel/random'), { recursive: true });
    this.#writeBoot();
    this.writeState(given.mode ?? true, given.instances ?? []);
    this.write();
    process.env['WARPGAUGE_NVML'] = fakeLibrary();
    process.env['WARPGAUGE_FAKE_SCRIPT'] = this.script;
    process.env['WARPGAUGE_FAKE_LOG'] = this.log;
    process.env['WARPGAUGE_ROOT'] = this.root;
    process.env['WARPGAUGE_STATE_DIR'] = this.stateDir;
    process.env['WARPGAUGE_NVIDIA_SMI'] = smi;
  }

  /** The machine as it is, with further lines. Another text each time: counts of calls begin anew. */
  write(more = ''): void {
    const { board = 'H100-80', script = '' } = this.#given;
    // Renamed into place: a driver that is being polled must not read half of it.
    writeFileSync(
      `${this.script}.new`,
      `# ${++this.#version} ${process.pid}
name = NVIDIA ${board.replace('-', ' ')}GB
nvml.0.mig_board = ${board}
nvml.state = ${this.state}
nvml.boot_id = boot-${this.#boot}
${script}
${more}
`,
    );
    renameSync(`${this.script}.new`, this.script);
  }

  #writeBoot(): void {
    writeFileSync(join(this.root, 'proc/sys/kernel/random/boot_id'), `boot-${this.#boot}\n`);
  }

  writeState(mode: boolean, instances: readonly string[]): void {
    const lines = [`boot boot-${this.#boot} first`, 'serial 100', `gpu 0 ${+mode} ${+mode}`];
    instances.forEach((text, i) => {
      const [gi = '', ci = ''] = text.split(':');
      const [profile, start] = gi.split('@').map(Number);
      const size = { 0: 8, 5: 4, 9: 4, 14: 2, 15: 2, 19: 1, 20: 1 }[profile ?? 0];
      lines.push(`gi 0 ${20 + i} ${profile} ${start} ${size}`);
      ci.split('+')
        .filter(Boolean)
        .forEach((part, j) => {
          const [slices, at] = part.split('@').map(Number);
          lines.push(`ci 0 ${20 + i} ${j} ${slices} ${at} ${10 * i + j}`);
        });
    });
    writeFileSync(this.state, `${lines.join('\n')}\n`);
  }

  /** Everything that a user can tell of a GPU: mode, and instances with their places; no ids, which are the driver's. */
  now(index = 0): string {
    const lines = readFileSync(this.state, 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([, gpu]) => gpu === `${index}`);
    const mode = lines.find(([word]) => word === 'gpu');
    const instances = lines
      .filter(([word]) => word === 'gi')
      .map(([, , id, profile, start]) => {
        const compute = lines
          .filter(([word, , gi]) => word === 'ci' && gi === id)
          .map(([, , , , slices, at]) => `${slices}@${at}`)
          .sort();
        return `${profile}@${start}:${compute.join('+')}`;
      });
    return [`mode ${mode?.[2]}${mode?.[2] === mode?.[3] ? '' : '?'}`, ...instances.sort()].join(
      ' ',
    );
  }

  /** Another boot: instances are gone, and the mode where it does not last. */
  reboot(): void {
    this.#boot++;
    this.#writeBoot();
    this.write();
  }

  /** Calls of the driver that change something, so far. */
  mutations(): string[] {
    return this.calls().filter((line) => MUTATING.test(line));
  }

  calls(): string[] {
    if (!existsSync(this.log)) return [];
    const lines = readFileSync(this.log, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => line.slice(line.indexOf(' ') + 1));
  }

  forgetCalls(): void {
    writeFileSync(this.log, '');
  }

  resets(): number {
    const path = join(this.folder, 'resets');
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').length : 0;
  }

  /** Keeps driver and journals as they are, to come back to them. */
  snapshot(): () => void {
    const copy = mkdtempSync(join(this.folder, 'copy-'));
    cpSync(this.state, join(copy, 'state'));
    if (existsSync(this.stateDir))
      cpSync(this.stateDir, join(copy, 'warpgauge'), { recursive: true });
    const boot = this.#boot;
    return () => {
      rmSync(this.stateDir, { recursive: true, force: true });
      cpSync(join(copy, 'state'), this.state);
      if (existsSync(join(copy, 'warpgauge'))) {
        cpSync(join(copy, 'warpgauge'), this.stateDir, { recursive: true });
      }
      this.#boot = boot;
      this.#writeBoot();
      this.write();
    };
  }

  [Symbol.dispose](): void {
    for (const [name, value] of this.#saved) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
