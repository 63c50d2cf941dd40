/** One option of a source: how its text is checked, and what it means. */
export interface SourceOption {
  /** One sentence, shown by `warpgauge sources`; with the default. */
  readonly help: string;
  /** What is expected, for the error: "a pid", "names separated by +". */
  readonly expects: string;
  /** Throws WarpgaugeError or returns the normalized text that native code reads. */
  readonly parse: (text: string) => string;
}

/**
 * What the library knows of a source before opening it: native code knows the tables. One file per source in this
 * folder; `registry.ts` lists them.
 */
export interface SourceDescriptor {
  readonly name: string;
  /** One sentence for `warpgauge sources`. */
  readonly help: string;
  readonly defaultIntervalMs: number;
  readonly options: Readonly<Record<string, SourceOption>>;
  /** Options without which it cannot be opened, as the default set and `warpgauge sources` choose them. */
  readonly standard?: Readonly<Record<string, string>>;
  /** What it needs beyond being run: "root", "cgroup v2", "NVIDIA driver"; empty for nothing. */
  readonly needs: string;
}
