import type { ListedSource, ListedTable, SourcesList } from '../monitor/sources-list.ts';
import { formatDuration } from '../units.ts';
import { type Paint, painter } from './colour.ts';
import { ABSENT, numberOf, significant } from './numbers.ts';
import { formatTable, printable, wrap } from './table.ts';
import type { RenderOptions } from './terminal.ts';

const duration = (ns: number | null): string => (ns === null ? ABSENT : formatDuration(ns));

function rate(hz: number | null): string {
  if (hz === null) return ABSENT;
  return hz >= 1000 ? `${significant(hz / 1000)} kHz` : `${significant(hz)} Hz`;
}

function tableLines(table: ListedTable, isHere: boolean, paint: Paint, width: number): string[] {
  const { name, kind, grain, simulated, costP50Ns, costP99Ns, highestHz, fields } = table;
  const cost =
    costP50Ns === null
      ? ''
      : `; a tick costs ${duration(costP50Ns)} (p99 ${duration(costP99Ns)}), highest rate ${rate(highestHz)}`;
  const about = `${kind}, ${grain || 'one row per tick'}; ${numberOf(fields.length, 'field')}${cost}`;
  return [
    ...wrap(
      `table ${name}${simulated ? ' (Simulated)' : ''}${isHere ? '' : ' (not here)'}: ${about}`,
      width,
      '  ',
      '    ',
    ),
    ...formatTable(
      [{ title: 'field' }, { title: 'unit' }, { title: 'kind', spare: true }, { title: 'from' }],
      fields.map((field) => ({
        cells: [
          field.name,
          field.unit,
          field.kind,
          field.reason === null || !isHere
            ? field.source
            : { text: `null here: ${field.reason}`, style: 'yellow' as const },
        ],
      })),
      { paint, width, indent: '    ' },
    ),
  ];
}

function sourceLines(source: ListedSource, paint: Paint, width: number): string[] {
  const { name, help, needs, options, unavailable, tables } = source;
  const lines = [`${paint('bold', name)}  ${printable(help)}`];
  if (needs !== '') lines.push(...wrap(`needs: ${needs}`, width, '  '));
  for (const option of options) {
    lines.push(...wrap(`${option.name}=: ${option.help} (${option.expects})`, width, '  ', '    '));
  }
  if (unavailable !== null) {
    lines.push(
      ...wrap(`not here: ${unavailable.message}`, width, '  ', '    ').map((line) =>
        paint('yellow', line),
      ),
    );
    if (unavailable.fix !== null) lines.push(`  fix: ${printable(unavailable.fix)}`);
  }
  return [
    ...lines,
    ...tables.flatMap((table) => tableLines(table, unavailable === null, paint, width)),
  ];
}

/** `warpgauge sources` */
export function renderSources({ sources }: SourcesList, options: RenderOptions): string {
  const paint = painter(options.colour);
  return sources.map((source) => sourceLines(source, paint, options.width).join('\n')).join('\n\n');
}
