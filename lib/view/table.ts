import type { Paint, Style } from './colour.ts';
import { ABSENT } from './numbers.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Left out where the table would be wider than the terminal. */
  readonly spare?: boolean;
}

export type TableCell = string | { readonly text: string; readonly style: Style };

/** One row of a table; `below` are lines of prose that belong to it. */
export interface Row {
  readonly cells: readonly TableCell[];
  readonly below?: readonly string[];
}

export interface TableLayout {
  readonly paint: Paint;
  readonly width: number;
  readonly indent?: string;
}

const textOf = (cell: TableCell | undefined): string =>
  printable(typeof cell === 'object' ? cell.text : (cell ?? ''));

/** Names and reasons come from drivers and the kernel: control characters must not reach the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

/** Lines of at most `width` columns; a single longer word (a path, a command) stays whole. */
export function wrap(text: string, width: number, indent = '', hanging: string = indent): string[] {
  const lines: string[] = [];
  let line = indent;
  let empty = true;
  for (const word of printable(text).split(/ +/)) {
    if (word === '') continue;
    if (!empty && line.length + 1 + word.length > width) {
      lines.push(line);
      line = hanging;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return empty ? lines : [...lines, line];
}

/**
 * Aligned columns, two spaces apart, as wide as their contents. The last left-aligned column takes what is
 * left of the width and wraps below itself. A column without any content is left out, and the columns move
 * closer together where the table would be wider than the terminal.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly Row[],
  layout: TableLayout,
): string[] {
  const { paint, width, indent = '  ' } = layout;
  const filled = columns
    .map((column, index) => ({ ...column, index }))
    .filter(({ index }) => rows.some((row) => ![ABSENT, ''].includes(textOf(row.cells[index]))));
  const widthOf = ({ title, index }: { title: string; index: number }): number =>
    Math.max(title.length, ...rows.map((row) => textOf(row.cells[index]).length));
  // The last column may wrap: it needs no more than 20.
  const needed = filled.reduce(
    (sum, column) =>
      sum + 1 + (column === filled.at(-1) ? Math.min(widthOf(column), 20) : widthOf(column)),
    indent.length - 1,
  );
  const shown = needed > width ? filled.filter(({ spare }) => spare !== true) : filled;
  const last = shown.at(-1);
  if (last === undefined) return [];
  const widths = shown.map(widthOf);
  const all = widths.reduce((sum, each) => sum + each + 2, indent.length - 2);
  const titleRoom = Math.min(widths.at(-1) ?? 0, 20);
  const gap = all - (widths.at(-1) ?? 0) + titleRoom > width ? 1 : 2;
  const before = indent.length + widths.slice(0, -1).reduce((sum, each) => sum + each + gap, 0);
  const room = Math.max(width - before, 20);

  const compose = (texts: readonly TableCell[]): string[] => {
    const parts = shown.slice(0, -1).map(({ align, index }, at) => {
      const cell = texts[index];
      const text = textOf(cell);
      const padding = ' '.repeat((widths[at] ?? 0) - text.length);
      const painted = typeof cell === 'object' ? paint(cell.style, text) : text;
      return align === 'right' ? padding + painted : painted + padding;
    });
    const tail = texts[last.index];
    const text = textOf(tail);
    const lines = last.align === 'right' ? [text.padStart(widths.at(-1) ?? 0)] : wrap(text, room);
    const painted = lines.map((line) =>
      typeof tail === 'object' ? paint(tail.style, line) : line,
    );
    const first = `${indent}${[...parts, painted[0] ?? ''].join(' '.repeat(gap))}`.trimEnd();
    return [first, ...painted.slice(1).map((line) => ' '.repeat(before) + line)];
  };

  const header = compose(columns.map(({ title }) => ({ text: title, style: 'dim' as const })));
  return [
    ...header,
    ...rows.flatMap((row) => [
      ...compose(row.cells),
      ...(row.below ?? []).map((line) => indent + line),
    ]),
  ];
}
