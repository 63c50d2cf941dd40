import { formatBytes } from '../units.ts';

/** Pages added to or taken from one pool. */
export interface PoolChange {
  readonly pageBytes: number;
  readonly node: number | null;
  readonly pages: number;
}

/** `512 x 2 MiB pages on node 0`. */
export function describeChange(change: PoolChange): string {
  const node = change.node === null ? '' : ` on node ${change.node}`;
  return `${change.pages} x ${formatBytes(change.pageBytes)} pages${node}`;
}
