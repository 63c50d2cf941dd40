/** A document of `schemas/`: names in snake_case as in all our JSON. */
export function documentOf(schema: string, command: string, body: object): unknown {
  return {
    schema,
    command,
    time: new Date().toISOString(),
    ...(snakeKeys(body) as object),
  };
}

export function snakeKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeKeys);
  if (value === null || typeof value !== 'object') return value;
  // An error tells itself by toJSON, as it would to JSON.stringify.
  const plain = 'toJSON' in value ? (value.toJSON as () => object)() : value;
  return Object.fromEntries(
    Object.entries(plain).map(([key, each]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snakeKeys(each),
    ]),
  );
}
