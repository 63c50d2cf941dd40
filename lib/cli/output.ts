import { wantsColour } from '../view/colour.ts';
import type { RenderOptions } from '../view/terminal.ts';

/** Results go to standard output, explanations to standard error. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line on standard error, beside the result. */
export function explain(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One JSON document. */
export function printJson(document: unknown): void {
  print(JSON.stringify(document, null, 2));
}

/** Colour and width of a stream; 100 columns where it is no terminal. */
export function renderOptions(stream: NodeJS.WriteStream = process.stdout): RenderOptions {
  return { colour: wantsColour(stream), width: stream.columns ?? 100 };
}
