import type { NativePowerGpu } from '../../addon.ts';
import { readPowerGpu } from './device.ts';
import type { PowerSetting, PowerStep } from './plan.ts';
import { judgeClock, observeClock } from './verified.ts';

/** A setting that no longer is what was set. Limits in W, clocks in MHz. */
export interface PowerDrift {
  /** ISO 8601. */
  readonly time: string;
  readonly gpu: string;
  readonly setting: PowerSetting;
  readonly expected: string;
  /** null: the GPU cannot be read any more. */
  readonly found: string | null;
  /** What it looks like, one sentence. */
  readonly reason: string;
}

export interface DriftOptions {
  /** Time between two readings, ms. Default 1000. */
  readonly intervalMs?: number;
}

/** What was found in place of one setting; null: it is as it was set, or nothing speaks against it. */
interface Finding {
  readonly expected: string;
  readonly found: string | null;
  readonly reason: string;
}

const DEFAULT_INTERVAL_MS = 1000;
const watts = (milliwatts: number | null): string =>
  milliwatts === null ? 'unknown' : `${milliwatts / 1000} W`;

/** Compares settings with what the driver says now. */
export function findDrift(step: PowerStep, gpu: NativePowerGpu): Finding | null {
  switch (step.setting) {
    case 'persistence': {
      const found = gpu.persistence.value;
      if (found === (step.to ? 1 : 0)) return null;
      const word = (on: boolean): string => (on ? 'on' : 'off');
      return {
        expected: word(step.to),
        found: found === null ? null : word(found === 1),
        reason: 'another program, or a reload of the driver, has switched it',
      };
    }
    case 'power_limit':
      return limitDrift(step.to, gpu);
    default: {
      const seen = observeClock(gpu, step.setting === 'sm_clock' ? 'sm' : 'memory');
      if (judgeClock(step.to, seen) !== 'not_in_effect') return null;
      return {
        expected: `${step.to.min}-${step.to.max} MHz`,
        found: `${seen.mhz} MHz`,
        reason:
          'the clock is outside its lock: unlocked by another program or by a reload of the driver',
      };
    }
  }
}

function limitDrift(limitW: number, gpu: NativePowerGpu): Finding | null {
  const limit = Math.round(limitW * 1000);
  const requested = gpu.limitRequestedMw.value;
  const current = gpu.limitEnforcedMw.value;
  if (requested === limit && current !== null && current <= limit) return null;
  const lost = requested !== null && requested === gpu.limitDefaultMw.value;
  const forgotten = lost && gpu.persistence.value === 0;
  return {
    expected: watts(limit),
    found: requested === limit ? watts(current) : watts(requested),
    reason: forgotten
      ? 'the default is back and persistence is off: the driver forgot it with its last client'
      : lost
        ? 'the default is back: a reload of the driver, or another program'
        : requested === limit
          ? 'it is asked for, and more is in force'
          : 'another program has set it',
  };
}

/**
 * Watches settings that were made: tells within one reading what is no longer so, once until it changes again. It reads
 * with handles asked for anew, so that nothing of it keeps a GPU from being reset, and keeps no process alive.
 */
export class DriftWatch {
  readonly #steps: readonly PowerStep[];
  readonly #root: string | undefined;
  readonly #listener: (drift: PowerDrift) => void;
  readonly #intervalMs: number;
  /** What was told last, by GPU and setting. */
  readonly #told = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    steps: readonly PowerStep[],
    listener: (drift: PowerDrift) => void,
    {
      intervalMs = DEFAULT_INTERVAL_MS,
      root,
    }: DriftOptions & { readonly root?: string | undefined },
  ) {
    this.#steps = steps;
    this.#root = root;
    this.#listener = listener;
    this.#intervalMs = intervalMs;
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  // The next reading is due an interval after the last has ended: a slow driver is not asked faster than it answers.
  #schedule(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#intervalMs).unref();
  }

  async #look(): Promise<void> {
    try {
      this.#tell(await readDrift(this.#steps, this.#root));
    } finally {
      if (!this.#closed) this.#schedule();
    }
  }

  #tell(drifts: readonly PowerDrift[]): void {
    if (this.#closed) return;
    const now = new Set(drifts.map(keyOf));
    for (const key of this.#told.keys()) if (!now.has(key)) this.#told.delete(key);
    for (const drift of drifts) {
      const key = keyOf(drift);
      const text = `${drift.found} ${drift.reason}`;
      if (this.#told.get(key) === text) continue;
      this.#told.set(key, text);
      try {
        this.#listener(drift);
      } catch (error) {
        // The user's own, for `uncaughtException`; the watch and the other drifts go on.
        process.nextTick(() => {
          throw error;
        });
      }
      if (this.#closed) return;
    }
  }
}

const keyOf = ({ gpu, setting }: PowerDrift): string => `${gpu} ${setting}`;

/** What is no longer as it was set, now. A GPU that cannot be read is a drift of all its settings. */
export async function readDrift(
  steps: readonly PowerStep[],
  root: string | undefined,
): Promise<PowerDrift[]> {
  const drifts: PowerDrift[] = [];
  for (const uuid of new Set(steps.map(({ gpu }) => gpu))) {
    const own = steps.filter(({ gpu }) => gpu === uuid);
    let gpu: NativePowerGpu | null = null;
    let message = '';
    try {
      gpu = await readPowerGpu(uuid, { root });
    } catch (error) {
      message = (error as Error).message;
    }
    const time = new Date().toISOString();
    for (const step of own) {
      const finding =
        gpu === null
          ? { expected: JSON.stringify(step.to), found: null, reason: message }
          : findDrift(step, gpu);
      if (finding !== null) drifts.push({ time, gpu: uuid, setting: step.setting, ...finding });
    }
  }
  return drifts;
}
