import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { WarpgaugeError } from '#lib/errors';
import type { ActionKind } from '#lib/mitigate/transaction/kind';

/**
 * Simulated: a device with settings and with parts that are made and destroyed, kept in files, so that it outlives the
 * processes that change it.
 */
export class SimulatedDevice {
  readonly root: string;
  readonly stateDir: string;
  /** Each `set`, in order. */
  readonly calls: string[] = [];
  /** Settings that pretend to succeed and stay as they are. */
  readonly deaf = new Set<string>();
  /** Settings whose set throws. */
  readonly broken = new Set<string>();
  /** What cannot be read: it fell off the bus. */
  readonly gone = new Set<string>();
  /** Parts that somebody uses. */
  readonly used = new Set<string>();
  /** Called within each `set`. */
  onSet: (target: string) => void = () => {};

  constructor(t: TestContext) {
    this.root = mkdtempSync(join(tmpdir(), 'warpgauge-device-'));
    t.after(() => rmSync(this.root, { recursive: true, force: true }));
    this.stateDir = join(this.root, 'state');
    this.boot('one');
  }

  boot(id: string): void {
    const file = join(this.root, 'proc/sys/kernel/random/boot_id');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${id}\n`);
  }

  get(target: string): string | null {
    try {
      return readFileSync(join(this.root, target), 'utf8');
    } catch {
      return null;
    }
  }

  put(target: string, value: string | null): void {
    if (value === null) rmSync(join(this.root, target), { force: true });
    else writeFileSync(join(this.root, target), value);
  }

  /** `device.set`: a setting; `part.make`, `part.destroy`: a part that is there or not. */
  kind(): ActionKind {
    const set = (target: string, value: string | null): void => {
      this.calls.push(`${target}=${value}`);
      this.onSet(target);
      if (this.broken.has(target))
        throw new WarpgaugeError('ERR_NVML', `Simulated: ${target} fails`);
      if (!this.deaf.has(target)) this.put(target, value);
    };
    const read = async (target: string) => {
      if (this.gone.has(target)) {
        throw new WarpgaugeError('ERR_NO_DEVICE', `Simulated: ${target} is gone`);
      }
      return this.get(target);
    };
    const refused = (target: string) =>
      new WarpgaugeError('ERR_REFUSED', `Simulated: ${target} does not follow`, { source: target });
    const inUse = (target: string) =>
      new WarpgaugeError('ERR_IN_USE', `Simulated: ${target} is in use`, {
        holders: [{ pid: 1, command: 'simulated' }],
      });
    return {
      name: 'simulated',
      command: 'simulated',
      survivesBoot: (record) => record.target.startsWith('lasting'),
      operations: {
        'device.set': {
          describe: (step) => `set ${step.target} to ${step.asked}`,
          read,
          preflight: (step) => (this.used.has(step.target) ? inUse(step.target) : null),
          set: (step) => set(step.target, step.asked as string),
          effect: (step, prior, now) => (now === step.asked && now !== prior ? now : null),
          verify: (step, _prior, effect) => (effect === null ? refused(step.target) : null),
          undo: (record) =>
            this.get(record.target) === record.observed
              ? { op: 'device.set', target: record.target, asked: record.prior }
              : null,
        },
        'part.make': {
          describe: (step) => `make ${step.target}`,
          read,
          set: (step) => set(step.target, 'made'),
          effect: (_step, prior, now) => (prior === null && now !== null ? now : null),
          verify: (step, _prior, effect) => (effect === null ? refused(step.target) : null),
          undo: (record) => {
            if (this.get(record.target) === null) return null;
            if (this.used.has(record.target)) return { blocked: inUse(record.target) };
            return { op: 'part.destroy', target: record.target, asked: null };
          },
        },
        'part.destroy': {
          describe: (step) => `destroy ${step.target}`,
          read,
          set: (step) => set(step.target, null),
          effect: (_step, prior, now) => (prior !== null && now === null ? 'destroyed' : null),
          verify: (step, _prior, effect) => (effect === null ? refused(step.target) : null),
          undo: (record) =>
            this.get(record.target) === null
              ? { op: 'part.make', target: record.target, asked: null }
              : null,
        },
      },
    };
  }
}
