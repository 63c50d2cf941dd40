import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { outputError } from '../monitor/recording/output-error.ts';

/** What a file is called until it is whole. */
export const PART_SUFFIX = '.part';

/** A file that has its name only when it is whole: whoever sees the name can read all of it. */
export class OutputFile {
  readonly path: string;
  bytes = 0;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  /** @throws WarpgaugeError `ERR_OUTPUT` */
  static async create(path: string): Promise<OutputFile> {
    try {
      // 'w': what an export that was killed left behind is of no use to anybody.
      return new OutputFile(path, await open(path + PART_SUFFIX, 'w'));
    } catch (cause) {
      throw outputError(path, cause);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        // The kernel may take less than it was given: the rest tells why.
        const { bytesWritten } = await this.#file.write(bytes, at);
        at += bytesWritten;
        this.bytes += bytesWritten;
      }
    } catch (cause) {
      throw outputError(this.path, cause);
    }
  }

  async writeMany(chunks: readonly Uint8Array[]): Promise<void> {
    await this.write(Buffer.concat(chunks));
  }

  /** The file is on the disk and gets its name. */
  async finish(): Promise<void> {
    try {
      await this.#file.sync();
      await this.#file.close();
      await rename(this.path + PART_SUFFIX, this.path);
    } catch (cause) {
      throw outputError(this.path, cause);
    }
  }

  /** Removes what was written. Never throws; harmless after `finish`. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.path + PART_SUFFIX, { force: true }).catch(() => undefined);
  }
}
