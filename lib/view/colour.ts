import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

/** Paints a text, or returns it unchanged where colour is off. */
export type Paint = (style: Style, text: string) => string;

/** The environment variables that decide about colour. */
export interface TerminalEnvironment {
  readonly NO_COLOR?: string | undefined;
  readonly TERM?: string | undefined;
}

/** A painter for output that is known to want colour or not. */
export function painter(colour: boolean): Paint {
  // validateStream would look at this process's standard output, but the text may go elsewhere.
  return colour
    ? (style, text) => styleText(style, text, { validateStream: false })
    : (_, text) => text;
}

/** Colour only on a terminal, and never where NO_COLOR is set (no-color.org) or the terminal is dumb. */
export function wantsColour(
  stream: { readonly isTTY?: boolean | undefined },
  environment: TerminalEnvironment = process.env,
): boolean {
  const refused = (environment.NO_COLOR ?? '') !== '' || environment.TERM === 'dumb';
  return stream.isTTY === true && !refused;
}
