/**
 * SVG as text: no DOM, no script, no style sheet, so that a plot looks the same in a browser, in a document
 * and in the HTML report. Every colour is explicit because the page behind may be dark.
 */

/** One finished plot. */
export interface Plot {
  /** File name without extension; also the prefix of its element ids. */
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

export const INK = '#1a1a1a';
export const MUTED = '#595959';
export const GRID = '#e3e3e3';
export const PAPER = '#ffffff';
export const ALARM = '#b00020';

export type Attributes = Readonly<Record<string, string | number | null>>;

export function escapeXml(text: string): string {
  const names: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return (
    text
      // Control characters are not allowed in XML 1.0, not even as references.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, ' ')
      .replace(/[&<>"']/g, (character) => names[character] ?? character)
  );
}

/** An element; attributes that are `null` are left out, numbers lose needless digits. */
export function element(
  name: string,
  attributes: Attributes,
  children: string | readonly string[] = '',
): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== null)
    .map(
      ([key, value]) =>
        ` ${key}="${typeof value === 'number' ? coordinate(value) : escapeXml(value ?? '')}"`,
    )
    .join('');
  const inside = typeof children === 'string' ? children : children.join('');
  return inside === '' ? `<${name}${written}/>` : `<${name}${written}>${inside}</${name}>`;
}

export function coordinate(value: number): string {
  return String(Math.round(value * 100) / 100);
}

export interface TextStyle {
  readonly size?: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly fill?: string;
  readonly weight?: 'bold';
  /** Degrees around the text's own point. */
  readonly rotate?: number;
}

export function label(x: number, y: number, text: string, style: TextStyle = {}): string {
  const { size = 12, anchor = 'start', fill = INK, weight = null, rotate } = style;
  return element(
    'text',
    {
      x,
      y,
      'font-size': size,
      'text-anchor': anchor,
      fill,
      'font-weight': weight,
      transform:
        rotate === undefined ? null : `rotate(${rotate} ${coordinate(x)} ${coordinate(y)})`,
    },
    escapeXml(text),
  );
}

/** Width of a text in pixels, on the safe side for the common sans-serif fonts. */
export function textWidth(text: string, size = 12): number {
  return text.length * size * 0.58;
}

/** Lines of a text that fit into `width` pixels. */
export function wrapText(text: string, width: number, size = 12): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && textWidth(`${last} ${word}`, size) <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export interface Sheet {
  readonly name: string;
  readonly title: string;
  /** What the picture shows, for people who cannot see it. */
  readonly description: string;
  /** Where the numbers come from: "host proxy", "Simulated". */
  readonly labels: readonly string[];
  readonly width: number;
  /** Height of `body`, which starts below the title. */
  readonly bodyHeight: number;
  readonly body: string;
  /** Sentences below the picture. */
  readonly notes?: readonly string[];
}

export const SHEET_WIDTH = 980;
export const MARGIN = 24;
const HEAD = 52;
const NOTE_LINE = 17;

/** Title, body and notes on white paper. */
export function sheet(options: Sheet): Plot {
  const { name, title, description, labels, width, bodyHeight, body, notes = [] } = options;
  const full = labels.length === 0 ? title : `${title} (${labels.join(', ')})`;
  const lines = notes.flatMap((note) => wrapText(note, width - 2 * MARGIN));
  const height = HEAD + bodyHeight + lines.length * NOTE_LINE + MARGIN;
  const svg = element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${coordinate(width)} ${coordinate(height)}`,
      width,
      height,
      role: 'img',
      'aria-labelledby': `${name}-title ${name}-description`,
      'font-family': "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif",
    },
    [
      element('title', { id: `${name}-title` }, escapeXml(full)),
      element('desc', { id: `${name}-description` }, escapeXml(description)),
      element('rect', { width, height, fill: PAPER }),
      label(MARGIN, 32, full, { size: 18, weight: 'bold' }),
      element('g', { transform: `translate(0 ${HEAD})` }, body === '' ? ' ' : body),
      ...lines.map((line, index) =>
        label(MARGIN, HEAD + bodyHeight + 14 + index * NOTE_LINE, line, { fill: MUTED }),
      ),
    ],
  );
  return { name, title: full, svg };
}

/** A sheet that says why there is nothing to draw. */
export function emptySheet(
  name: string,
  title: string,
  labels: readonly string[],
  reason: string,
): Plot {
  const text = `No data: ${reason}.`;
  return sheet({
    name,
    title,
    labels,
    description: text,
    width: SHEET_WIDTH,
    bodyHeight: 60,
    body: label(MARGIN, 30, text, { size: 14, fill: MUTED }),
  });
}
