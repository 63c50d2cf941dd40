import { readFileSync } from 'node:fs';
import type { ListedSource, ListedTable, SourcesList } from './sources-list.ts';

let known: SourcesList | undefined;

/**
 * The tables that a source has where nothing is lacking, as fields that are null for `reason`: for a machine that does not
 * have the source. Made by scripts/known-sources.mjs; of sources whose fields the kernel names (vmstat, meminfo) those of one
 * kernel.
 */
export function knownTables(source: string, reason: string): ListedTable[] {
  known ??= JSON.parse(
    readFileSync(new URL('../../schemas/known-sources.json', import.meta.url), 'utf8'),
  ) as SourcesList;
  const tables: ListedSource['tables'] =
    known.sources.find(({ name }) => name === source)?.tables ?? [];
  return tables.map((table) => ({
    ...table,
    fields: table.fields.map((field) => ({ ...field, reason })),
  }));
}
