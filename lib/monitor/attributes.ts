import { invalidArgument } from '../errors.ts';

/** Free facts about a mark or span, as the text of its table. */
export function attributesText(
  attributes: Readonly<Record<string, string | number | boolean>> | undefined,
): string | null {
  if (attributes === undefined) return null;
  for (const [name, value] of Object.entries(attributes)) {
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw invalidArgument(`the attribute ${name}`, 'a text, a number or true or false', value);
    }
  }
  return JSON.stringify(attributes);
}
