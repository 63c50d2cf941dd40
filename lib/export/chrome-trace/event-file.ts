import type { OutputFile } from '../output-file.ts';

/** Characters that become bytes at once: text that grows is a tree of pieces, far larger than what it says. */
const CHUNK = 1 << 16;
/** Bytes that wait before they are written. */
const WAITING = 1 << 20;

/** A time or duration in the unit of the format, microseconds, with all its nanoseconds: 1234567 as `1234.567`. */
export function microseconds(ns: number): string {
  const sign = ns < 0 ? '-' : '';
  const abs = Math.abs(Math.round(ns));
  const rest = abs % 1000;
  return `${sign}${(abs - rest) / 1000}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}`;
}

const MOST_TEXTS = 10_000;
const texts = new Map<string, string>();

/** A text as JSON. Words, names of kernels and commands come again and again: each is quoted once. */
export function quoted(text: string): string {
  let json = texts.get(text);
  if (json === undefined) {
    json = JSON.stringify(text);
    if (texts.size < MOST_TEXTS) texts.set(text, json);
  }
  return json;
}

/** An argument of an event. */
export type Argument = string | number | boolean | null;

/** Members of a JSON object, for rows that all have the same: what is null or NaN is left out, never 0. */
export function argumentsOf(
  columns: readonly (readonly [name: string, read: (at: number) => Argument])[],
): (at: number) => string {
  const members = columns.map(([name, read]) => [`${quoted(name)}:`, read] as const);
  return (at) => {
    let text = '';
    for (const [name, read] of members) {
      const value = read(at);
      if (value === null || Number.isNaN(value)) continue;
      text += `${text === '' ? '' : ','}${name}${typeof value === 'string' ? quoted(value) : value}`;
    }
    return text;
  };
}

/** The same for a single event. */
export function argumentsText(args: Readonly<Record<string, Argument>>): string {
  return argumentsOf(Object.entries(args).map(([name, value]) => [name, () => value]))(0);
}

const withArguments = (text: string): string => (text === '' ? '' : `,"args":{${text}}`);

/**
 * Writes events of the Trace Event Format one after the other. Nothing is kept but what waits to be written, so that a file of
 * any size takes the same memory. Times are ns since the base of the file.
 */
export class EventFile {
  /** Events so far, without those that only name tracks. */
  events = 0;
  readonly #file: OutputFile;
  #text: string;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #first = true;

  /** `head`: the JSON text of the members that come before the events, without braces. */
  constructor(file: OutputFile, head: string) {
    this.#file = file;
    this.#text = `{${head},"traceEvents":[\n`;
  }

  /** A slice: something that lasted. */
  slice(pid: number, tid: number, at: number, length: number, name: string, args: string): void {
    this.#add(
      `"ph":"X","pid":${pid},"tid":${tid},"ts":${microseconds(at)},"dur":${microseconds(length)},"name":${quoted(name)}${withArguments(args)}`,
    );
  }

  /** A moment; `scope` g: of the whole trace, t: of a thread. */
  instant(
    pid: number,
    tid: number,
    at: number,
    name: string,
    scope: 'g' | 't',
    args: string,
  ): void {
    this.#add(
      `"ph":"i","s":"${scope}","pid":${pid},"tid":${tid},"ts":${microseconds(at)},"name":${quoted(name)}${withArguments(args)}`,
    );
  }

  /** A counter takes a value, which holds until the next one. `unit` becomes part of the track's name. */
  counter(pid: number, at: number, name: string, unit: string, value: number): void {
    this.#add(
      `"ph":"C","pid":${pid},"tid":0,"ts":${microseconds(at)},"name":${quoted(name)},"args":{${quoted(unit)}:${value}}`,
    );
  }

  /** One end of an arrow; it binds to the slice that is open there. */
  flow(end: 's' | 'f', pid: number, tid: number, at: number, id: number): void {
    this.#add(
      `"ph":"${end}"${end === 'f' ? ',"bp":"e"' : ''},"id":${id},"pid":${pid},"tid":${tid},"ts":${microseconds(at)},"cat":"launch","name":"launch"`,
    );
  }

  /** Names a process or a thread, or says where it stands. */
  metadata(pid: number, tid: number, what: string, args: string): void {
    this.#add(`"ph":"M","pid":${pid},"tid":${tid},"ts":0,"name":"${what}"${withArguments(args)}`);
    this.events--;
  }

  /** Whether enough waits for a write to be worth its while. */
  get full(): boolean {
    return this.#waitingBytes >= WAITING;
  }

  async flush(): Promise<void> {
    this.#seal();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (waiting.length > 0) await this.#file.writeMany(waiting);
  }

  async finish(): Promise<void> {
    this.#text += '\n]}\n';
    await this.flush();
  }

  #add(members: string): void {
    this.#text += `${this.#first ? '' : ',\n'}{${members}}`;
    this.#first = false;
    this.events++;
    if (this.#text.length >= CHUNK) this.#seal();
  }

  #seal(): void {
    if (this.#text === '') return;
    const bytes = Buffer.from(this.#text);
    this.#text = '';
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.byteLength;
  }
}
