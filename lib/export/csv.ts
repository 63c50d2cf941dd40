import type { Field, RecordBatch } from '../arrow.ts';
import { type CellKind, cellKind, cellReader, isNull } from './cells.ts';
import type { OutputFile } from './output-file.ts';
import type { Format, TableWriter } from './types.ts';

/** Rows end with CR LF, as RFC 4180 asks. */
const END = '\r\n';
const NEEDS_QUOTES = /[",\r\n]/;

/** A text as RFC 4180 has it; the empty text is quoted, because nothing at all is what a null is. */
export function csvText(text: string): string {
  return text === '' || NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** ISO 8601 in UTC with all nine digits. */
export function isoTimes(): (ns: bigint) => string {
  let second: bigint | null = null;
  let prefix = '';
  return (time) => {
    const ns = BigInt.asUintN(64, ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
    const now = (time - ns) / 1_000_000_000n;
    if (now !== second) {
      prefix = new Date(Number(now) * 1000).toISOString().slice(0, -5);
      second = now;
    }
    return `${prefix}.${String(ns).padStart(9, '0')}Z`;
  };
}

function cellText(kind: CellKind): (cell: unknown) => string {
  if (kind === 'time') return isoTimes() as (cell: unknown) => string;
  if (kind === 'text' || kind === 'words') return (cell) => csvText(cell as string);
  return String;
}

class CsvWriter implements TableWriter {
  readonly #file: OutputFile;
  readonly #columns: readonly {
    readonly kind: CellKind;
    readonly text: (cell: unknown) => string;
  }[];

  constructor(file: OutputFile, fields: readonly Field[]) {
    this.#file = file;
    this.#columns = fields.map((field) => {
      const kind = cellKind(field) as CellKind;
      return { kind, text: cellText(kind) };
    });
  }

  async write(batch: RecordBatch): Promise<void> {
    const columns = this.#columns.map(({ kind, text }, index) => {
      const data = batch.data.children[index];
      if (data === undefined) return () => '';
      const read = cellReader(data, kind);
      return (at: number) => (isNull(data, at) ? '' : text(read(at)));
    });
    let lines = '';
    for (let at = 0; at < batch.numRows; at++) {
      for (let column = 0; column < columns.length; column++) {
        if (column > 0) lines += ',';
        lines += columns[column]?.(at);
      }
      lines += END;
    }
    await this.#file.write(Buffer.from(lines));
  }

  async finish(): Promise<void> {}
}

/** Text for spreadsheets and scripts: RFC 4180, UTF-8, header, one file per table. */
export const csv: Format = {
  extension: 'csv',
  cells: 100_000,
  parts: false,
  takes: (field) => cellKind(field) !== null,
  async prepare(_recording, { schema }) {
    return async (file) => {
      await file.write(Buffer.from(schema.fields.map(({ name }) => csvText(name)).join(',') + END));
      return new CsvWriter(file, schema.fields);
    };
  },
};
