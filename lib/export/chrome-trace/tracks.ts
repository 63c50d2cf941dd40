import { argumentsText, type EventFile } from './event-file.ts';

/** Linux gives no pid or tid above 2^22: what we number ourselves begins beyond it. */
const FIRST_OWN = 2 ** 23;

/** Slices of one track nest or follow each other; `flat`: they only follow. */
class Lane {
  readonly tid: number;
  readonly #open: number[] = [];
  #lastStart = Number.NEGATIVE_INFINITY;

  constructor(tid: number) {
    this.tid = tid;
  }

  /** Takes the slice unless it would cross another one. */
  take(start: number, end: number, flat: boolean): boolean {
    // Earlier than one already here: what it would cross is no longer known.
    if (start < this.#lastStart) return false;
    while (this.#open.length > 0 && (this.#open.at(-1) as number) <= start) this.#open.pop();
    const around = this.#open.at(-1);
    if (around !== undefined && (flat || end > around)) return false;
    this.#lastStart = start;
    // A slice without length ends where it begins: it holds nothing up.
    if (end > start) this.#open.push(end);
    return true;
  }
}

interface Track {
  readonly name: string;
  readonly order: number;
  readonly lanes: Lane[];
}

/**
 * Processes and threads as the format knows them. Slices of one thread must not cross, so that a track has as many threads
 * as it takes: `stream 7`, `stream 7 (2)`.
 */
export class Tracks {
  readonly #file: EventFile;
  readonly #processes = new Map<string, number>();
  readonly #tracks = new Map<string, Track>();
  #next = FIRST_OWN;

  constructor(file: EventFile) {
    this.#file = file;
  }

  /** Number of a process that we make up, or of a real one where `pid` is given. Named at first use. */
  process(key: string, name: string, order: number, pid?: number): number {
    const known = this.#processes.get(key);
    if (known !== undefined) return known;
    const number = pid ?? this.#next++;
    this.#processes.set(key, number);
    this.#file.metadata(number, 0, 'process_name', argumentsText({ name }));
    this.#file.metadata(number, 0, 'process_sort_index', argumentsText({ sort_index: order }));
    return number;
  }

  /** A thread for a slice of a track; `tid`: the real one, for the first lane. */
  lane(
    pid: number,
    key: string,
    name: string,
    start: number,
    end: number,
    { flat = false, order = 0, tid }: { flat?: boolean; order?: number; tid?: number } = {},
  ): number {
    const track = this.#track(pid, key, name, order);
    const taken = track.lanes.find((lane) => lane.take(start, end, flat));
    if (taken !== undefined) return taken.tid;
    const number = track.lanes.length + 1;
    const lane = new Lane(number === 1 && tid !== undefined ? tid : this.#next++);
    track.lanes.push(lane);
    lane.take(start, end, flat);
    this.#name(pid, lane.tid, number === 1 ? name : `${name} (${number})`, order);
    return lane.tid;
  }

  /** The first thread of a track, for what has no length. */
  thread(pid: number, key: string, name: string, order = 0, tid?: number): number {
    const track = this.#track(pid, key, name, order);
    const [first] = track.lanes;
    if (first !== undefined) return first.tid;
    const lane = new Lane(tid ?? this.#next++);
    track.lanes.push(lane);
    this.#name(pid, lane.tid, name, order);
    return lane.tid;
  }

  #track(pid: number, key: string, name: string, order: number): Track {
    const id = `${pid} ${key}`;
    const known = this.#tracks.get(id);
    if (known !== undefined) return known;
    const track: Track = { name, order, lanes: [] };
    this.#tracks.set(id, track);
    return track;
  }

  #name(pid: number, tid: number, name: string, order: number): void {
    this.#file.metadata(pid, tid, 'thread_name', argumentsText({ name }));
    this.#file.metadata(pid, tid, 'thread_sort_index', argumentsText({ sort_index: order }));
  }
}
