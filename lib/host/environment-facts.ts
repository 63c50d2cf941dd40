import { hostPath, readTextOrReason } from './sysfs.ts';

/** A fact that can be written as JSON. */
export type Fact =
  | string
  | number
  | boolean
  | null
  | readonly Fact[]
  | { readonly [name: string]: Fact };

/**
 * Collects facts under dotted paths and, for each that is null, why: a record never holds a null that nobody
 * explains. Paths become nested objects in the order in which they were added.
 */
export class FactSheet {
  readonly reasons: Record<string, string> = {};
  /** Recorded tree that stands for `/`. */
  readonly root: string | undefined;
  readonly #facts: Record<string, unknown> = {};

  constructor(root?: string) {
    this.root = root;
  }

  /** A fact that was read elsewhere; `reason` is kept when it is null. */
  set(path: string, fact: Fact | undefined, reason: string): void {
    const names = path.split('.');
    const last = names.pop() as string;
    let at = this.#facts;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = fact ?? null;
    if (fact === null || fact === undefined) this.reasons[path] = reason;
  }

  /** A file's text through `parse`; a parse that gives null says that the file does not hold the fact. */
  file(path: string, file: string, parse: (text: string) => Fact | undefined = plain): void {
    const result = readTextOrReason(file, this.root);
    if ('reason' in result) this.set(path, null, result.reason);
    else this.set(path, parse(result.text), `${hostPath(file, '/')}: not in the file`);
  }

  /** Several facts of files `folder/name`. */
  files(
    path: string,
    folder: string,
    names: readonly string[],
    parse: (text: string) => Fact | undefined = plain,
  ): void {
    for (const name of names) {
      const field = name.replace(/[^A-Za-z0-9]+/g, '_');
      this.file(`${path}.${field}`, `${folder}/${name}`, parse);
    }
  }

  /** The nested facts. */
  facts(): Readonly<Record<string, Fact>> {
    return this.#facts as Readonly<Record<string, Fact>>;
  }
}

/** A whole number stays one, all else is text; an empty file tells nothing. */
export function plain(text: string): Fact | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  const number = Number(trimmed);
  return /^-?\d+$/.test(trimmed) && Number.isSafeInteger(number) ? number : trimmed;
}

/** The chosen word of `always [madvise] never`. */
export function chosen(text: string): Fact | undefined {
  return /\[([^\]]+)\]/.exec(text)?.[1];
}
