/**
 * Which comparisons get a verdict. The more lines are read together, the likelier one of them is wrong by
 * chance; so the lines are few, chosen before any time is looked at, and their intervals are corrected
 * together. Everything else is shown with its raw interval and no verdict.
 */
import type { Cell, CellKey, CellKind, Direction, PageKind, PageState, Pin } from './types.ts';

/** Two cells that differ in the page kind alone: `a` on 4 KB pages, `b` on larger ones. */
export interface CellPair {
  readonly a: Cell;
  readonly b: Cell;
}

/** The most lines the verdict table can have. */
export const MAX_FAMILY = 16;
const LARGER_KINDS: readonly PageKind[] = ['thp', '2m', '1g'];

interface Group {
  readonly dir: Direction;
  readonly pin: Pin;
  readonly state: PageState;
}

const COLD_DTOH: Group = { dir: 'DtoH', pin: 'none', state: 'cold' };
const WARM_DTOH: Group = { dir: 'DtoH', pin: 'none', state: 'warm' };
const WARM_HTOD: Group = { dir: 'HtoD', pin: 'none', state: 'warm' };
/** Registration of memory that nobody wrote: the metric of this cell is the registration. */
const COLD_REGISTER: Group = { dir: 'HtoD', pin: 'register', state: 'cold' };
const COLD_VECTOR_ADD: Group = { dir: 'vectorAdd', pin: 'none', state: 'cold' };
const WARM_VECTOR_ADD: Group = { dir: 'vectorAdd', pin: 'none', state: 'warm' };

/** After one size of each group above: more sizes of the same questions, then the rest. */
const FILL: readonly Group[] = [
  COLD_DTOH,
  WARM_DTOH,
  WARM_HTOD,
  COLD_REGISTER,
  { dir: 'DtoH', pin: 'register', state: 'warm' },
  { dir: 'HtoD', pin: 'register', state: 'warm' },
  { dir: 'DtoH', pin: 'register', state: 'cold' },
  COLD_VECTOR_ADD,
  WARM_VECTOR_ADD,
];

/**
 * The verdict lines, most wanted first. Depends on which cells were measured, never on a time.
 *
 * Order: cold DtoH at its largest size; warm DtoH; warm HtoD; vectorAdd; registration of cold memory, each at its
 * largest size; cold DtoH at the largest size that is also measured warm; then the other sizes, from
 * large to small, group by group. Within a group thp, 2m, 1g. "Largest" is the largest of the sizes that most
 * kinds have. It ends at {@link MAX_FAMILY} lines.
 */
export function chooseFamily(cells: readonly Cell[]): CellPair[] {
  const index = new Map(cells.filter(isMeasured).map((cell) => [keyOf(cell), cell]));
  const family = new Map<string, CellPair>();
  const add = (group: Group, bytes: number | undefined) => {
    if (bytes === undefined) return;
    for (const pair of pairsAt(index, group, bytes, LARGER_KINDS)) {
      const id = pairId(pair);
      if (family.size < MAX_FAMILY && !family.has(id)) family.set(id, pair);
    }
  };
  const sizes = (group: Group) => sizesOf(index, group);

  add(COLD_DTOH, sizes(COLD_DTOH)[0]);
  add(WARM_DTOH, sizes(WARM_DTOH)[0]);
  add(WARM_HTOD, sizes(WARM_HTOD)[0]);
  add(COLD_VECTOR_ADD, sizes(COLD_VECTOR_ADD)[0]);
  add(COLD_REGISTER, sizes(COLD_REGISTER)[0]);
  const warm = new Set(sizes(WARM_DTOH));
  add(
    COLD_DTOH,
    sizes(COLD_DTOH).find((bytes) => warm.has(bytes)),
  );
  for (const group of FILL) {
    for (const bytes of sizes(group)) add(group, bytes);
  }
  return [...family.values()];
}

/** Every pair that can be compared: each kind against the 4 KB pages of the same cell, in the order of the cells. */
export function allPairs(cells: readonly Cell[]): CellPair[] {
  const index = new Map(cells.filter(isMeasured).map((cell) => [keyOf(cell), cell]));
  return cells.flatMap((b) => {
    if (!isMeasured(b) || b.kind === '4k' || b.kind === 'driver') return [];
    const a = index.get(keyOf({ ...b, kind: '4k' }));
    return a ? [{ a, b }] : [];
  });
}

/** `a -> b`, as in the `family` of the document. */
export function pairId({ a, b }: CellPair): string {
  return `${a.id} -> ${b.id}`;
}

/** The cell of another kind with the same direction, pin, state and size, if it was measured. */
export function sibling(cells: readonly Cell[], cell: CellKey, kind: CellKind): Cell | undefined {
  const key = keyOf({ ...cell, kind });
  return cells.find((other) => isMeasured(other) && keyOf(other) === key);
}

function isMeasured(cell: Cell): boolean {
  return cell.status === 'ok' && cell.samples.some((sample) => sample.valid);
}

function keyOf({ dir, pin, state, kind, bytes }: CellKey): string {
  return `${dir}/${pin}/${state}/${kind}/${bytes}`;
}

function pairsAt(
  index: ReadonlyMap<string, Cell>,
  group: Group,
  bytes: number,
  kinds: readonly PageKind[],
): CellPair[] {
  const a = index.get(keyOf({ ...group, kind: '4k', bytes }));
  if (!a) return [];
  return kinds.flatMap((kind) => {
    const b = index.get(keyOf({ ...group, kind, bytes }));
    return b ? [{ a, b }] : [];
  });
}

// Most kinds first, then largest: a size that only one kind could be measured at is not the headline.
function sizesOf(index: ReadonlyMap<string, Cell>, group: Group): number[] {
  const sizes = new Set([...index.values()].map((cell) => cell.bytes));
  return [...sizes]
    .map((bytes) => ({ bytes, kinds: pairsAt(index, group, bytes, LARGER_KINDS).length }))
    .filter(({ kinds }) => kinds > 0)
    .sort((a, b) => b.kinds - a.kinds || b.bytes - a.bytes)
    .map(({ bytes }) => bytes);
}
