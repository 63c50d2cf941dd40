import { loadBinding, type NativeClockAnchor } from '../../addon.ts';
import type { Mark } from './own-tables.ts';

/** A difference of the clocks that no slewing explains: NTP moves CLOCK_REALTIME by at most 0.05 %. */
const SLEW = 0.0006;
const MIN_STEP_NS = 1_000_000;

/** What happened to the clocks between two anchors: a step of UTC, a suspend of the machine. */
export function clockEvents(
  before: NativeClockAnchor,
  after: NativeClockAnchor,
  utcOffsetNs: bigint,
): Mark[] {
  const elapsed = Number(after.monotonicNs - before.monotonicNs);
  const uncertain = before.bracketNs + after.bracketNs;
  const gained = (clock: 'realtimeNs' | 'boottimeNs'): number =>
    Number(after[clock] - before[clock]) - elapsed;
  const asleep = gained('boottimeNs');
  // CLOCK_REALTIME runs on while the machine sleeps, so a suspend alone is no step.
  const stepped = gained('realtimeNs') - asleep;
  const time = after.monotonicNs + utcOffsetNs;
  const marks: Mark[] = [];
  if (asleep > MIN_STEP_NS + uncertain) {
    marks.push({ time, name: 'suspend', attributes: { duration_ns: asleep } });
  }
  if (Math.abs(stepped) > MIN_STEP_NS + uncertain + elapsed * SLEW) {
    marks.push({ time, name: 'clock step', attributes: { step_ns: stepped } });
  }
  return marks;
}

/** Reads the clocks and tells what happened to them since the last reading. */
export class ClockWatch {
  #last: NativeClockAnchor | null = null;
  readonly #read: () => NativeClockAnchor;

  constructor(read: () => NativeClockAnchor = () => loadBinding().readClockAnchor()) {
    this.#read = read;
  }

  anchor(utcOffsetNs: bigint): { readonly anchor: NativeClockAnchor; readonly events: Mark[] } {
    const anchor = this.#read();
    const events = this.#last === null ? [] : clockEvents(this.#last, anchor, utcOffsetNs);
    this.#last = anchor;
    return { anchor, events };
  }
}
