import { invalidArgument } from '../errors.ts';
import { attributesText } from './attributes.ts';
import { now } from './now.ts';
import { runningSamplers } from './running.ts';

/** A phase that is going on; see {@link span}. */
export interface Span extends Disposable {
  /** Ends it and writes its row. Idempotent. */
  end(): void;
}

/**
 * Begins a phase with a name. When it ends it becomes a row of the table `span` of every sampler that runs then: `time` is
 * its beginning, `duration_ns` its length.
 *
 * @example
 * ```ts
 * {
 *   using phase = monitor.span('prefill', { batch: 8 });
 *   await prefill();
 * }
 * ```
 */
export function span(
  name: string,
  attributes?: Readonly<Record<string, string | number | boolean>>,
): Span {
  if (typeof name !== 'string' || name === '') throw invalidArgument('name', 'a name', name);
  const text = attributesText(attributes);
  const time = now();
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    const row = { time, duration_ns: now() - time, name, attributes: text };
    for (const sampler of runningSamplers()) sampler.endSpan(row);
  };
  return { end, [Symbol.dispose]: end };
}
