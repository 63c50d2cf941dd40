import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const poolFile = (pageKb: number): string =>
  `/sys/kernel/mm/hugepages/hugepages-${pageKb}kB/nr_hugepages`;
const readNumber = (file: string): number => Number(readFileSync(file, 'latin1'));

/**
 * Undoes changes to the machine when the test is over, also after its kill -9: a process of its own waits for the
 * end of a pipe that the kernel closes for the dead, and then runs the shell commands it was given, last one first.
 */
export class Guardian {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static start(t: TestContext): Guardian {
    const script =
      'trap "" INT TERM HUP; all=; while IFS= read -r line; do all="$line\n$all"; done; eval "$all"';
    const guardian = new Guardian(
      spawn('/bin/sh', ['-c', script], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] }),
    );
    t.after(() => guardian.undo());
    return guardian;
  }

  /** To be called before the change that it undoes. */
  onEnd(command: string): void {
    this.#process.stdin?.write(`${command}\n`);
  }

  /** Undoes now; the test is over. */
  async undo(): Promise<void> {
    this.#process.stdin?.end();
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
  }

  /** Writes a file of sysfs and puts the bracketed word, or the content, back at the end. */
  set(file: string, value: string): void {
    const text = readFileSync(file, 'latin1').trim();
    const before = /\[(.*?)\]/.exec(text)?.[1] ?? text;
    this.onEnd(`echo ${quote(before)} > ${file}`);
    writeFileSync(file, value);
  }

  /** Makes a pool larger by `pages`; false when the kernel found fewer. The growth, not the old size, is undone. */
  growPool(pageKb: number, pages: number): boolean {
    const file = poolFile(pageKb);
    const before = readNumber(file);
    // The file beside it says how much there is to take back, so that nothing is taken that was not added.
    const grown = `/tmp/warpgauge-test-grown-${process.pid}-${pageKb}-${Date.now()}`;
    writeFileSync(grown, '0');
    this.onEnd(`echo $(($(cat ${file}) - $(cat ${grown}))) > ${file}; rm ${grown}`);
    writeFileSync(grown, String(pages));
    writeFileSync(file, String(before + pages));
    const granted = readNumber(file) - before;
    writeFileSync(grown, String(granted));
    return granted === pages;
  }
}

/** Free and promised pages of the whole machine. */
export function poolUse(pageKb: number): { free: number; reserved: number; total: number } {
  const folder = `/sys/kernel/mm/hugepages/hugepages-${pageKb}kB`;
  return {
    total: readNumber(`${folder}/nr_hugepages`),
    free: readNumber(`${folder}/free_hugepages`),
    reserved: readNumber(`${folder}/resv_hugepages`),
  };
}
