/**
 * The last lines of a run: for each direction, in one sentence, whether larger pages help, at which sizes, and how
 * to get it. Said from the verdicts alone: what has no verdict is called undecided, never guessed.
 */
import { formatBytes } from '../../units.ts';
import {
  type Answer,
  type BackendName,
  type Cell,
  type CellKind,
  type Comparison,
  DIRECTIONS,
  type Direction,
  type Verdict,
} from './types.ts';

const VERDICT_WORDS: readonly (readonly [Verdict, string])[] = [
  ['FASTER', 'faster with'],
  ['SLOWER', 'slower with'],
  ['SAME', 'the same with'],
  ['AMBIGUOUS', 'undecided for'],
  ['none', 'without a verdict for'],
];

/** One answer per direction that was asked for, in the order HtoD, DtoH, vectorAdd. */
export function answersOf(
  comparisons: readonly Comparison[],
  cells: readonly Cell[],
  origin: { readonly backend: BackendName; readonly simulated?: boolean },
): Answer[] {
  const asked = new Set(cells.map((cell) => cell.dir));
  const label = labelOf(origin);
  return DIRECTIONS.filter((dir) => asked.has(dir)).map((dir) => {
    const lines = comparisons.filter((line) => line.in_family && line.dir === dir);
    if (lines.length === 0) return { dir, text: `${label}${notCompared(dir, cells)}`, how: null };
    return { dir, text: `${label}${sentence(dir, lines)}`, how: howTo(dir, lines) };
  });
}

// An answer is quoted alone: it says itself what it must not be taken for.
function labelOf({ backend, simulated = false }: { backend: BackendName; simulated?: boolean }) {
  if (backend === 'host') return 'host proxy, no GPU took part: ';
  return simulated ? 'Simulated device, no measurement: ' : '';
}

function notCompared(dir: Direction, cells: readonly Cell[]): string {
  const measured = cells.some((cell) => cell.dir === dir && cell.status === 'ok');
  if (measured) return 'no answer: no two page kinds were measured at the same size';
  // What keeps pageable copies away is the reason asked for; driver memory is a cell of its own.
  const missing = cells.filter((cell) => cell.dir === dir && cell.reason !== null);
  const reason = (missing.find((cell) => cell.kind !== 'driver') ?? missing[0])?.reason;
  return `not measured${reason ? `: ${reason}` : ''}`;
}

function sentence(dir: Direction, lines: readonly Comparison[]): string {
  const groups = groupBy(lines, (line) => `${line.pin}/${line.state}`).map(groupText);
  const parts = [`${opening(lines)}: ${groups.join('; ')}`];
  if (dir === 'DtoH' && lines.some(isColdGain)) {
    parts.push(
      'writing the buffer once beforehand takes this cost out of the copy, whatever the page kind',
    );
  }
  return `${parts.join('; ')}.`;
}

function opening(lines: readonly Comparison[]): string {
  if (lines.some((line) => line.verdict === 'FASTER')) return 'larger pages help';
  const decided = lines.every((line) => line.verdict === 'SAME' || line.verdict === 'SLOWER');
  return decided ? 'nothing to gain here' : 'no gain is proven';
}

function groupText(group: readonly Comparison[]): string {
  const verdicts = VERDICT_WORDS.flatMap(([verdict, words]) => {
    const lines = group.filter((line) => line.verdict === verdict);
    return lines.length > 0 ? [`${words} ${kindsText(lines)}`] : [];
  });
  const decided = group.some((line) => line.verdict !== 'none' && line.verdict !== 'AMBIGUOUS');
  const moment =
    decided && group.some((line) => line.this_moment_only) ? ', at this moment only' : '';
  return `${subject(group[0] as Comparison)} is ${verdicts.join(', ')}${moment}`;
}

/** `thp (4.93x at 1 GiB, 5.60x at 64 MiB) and 2m (5.05x at 1 GiB)` */
function kindsText(lines: readonly Comparison[]): string {
  const kinds = groupBy(lines, (line) => line.kind).map((same) => {
    const sizes = same.map((line) => {
      const size = formatBytes(line.bytes);
      return line.verdict === 'none' ? size : `${line.speedup.toPrecision(3)}x at ${size}`;
    });
    return `${(same[0] as Comparison).kind} (${sizes.join(', ')})`;
  });
  const last = kinds.pop() as string;
  return kinds.length > 0 ? `${kinds.join(', ')} and ${last}` : last;
}

function subject({ dir, pin, state }: Comparison): string {
  const memory = state === 'cold' ? 'memory never written' : 'written memory';
  if (dir === 'vectorAdd') {
    const result = state === 'cold' ? 'a result vector never written' : 'a written result vector';
    return `vectorAdd into ${result}${pin === 'register' ? ', registered' : ''}`;
  }
  if (pin === 'register' && dir === 'HtoD' && state === 'cold') return `registering ${memory}`;
  const way = dir === 'DtoH' ? 'into' : 'from';
  return `copying ${way} ${memory}${pin === 'register' ? ' after registering it' : ''}`;
}

function howTo(dir: Direction, lines: readonly Comparison[]): string | null {
  const gains = lines.filter((line) => line.verdict === 'FASTER');
  if (gains.length === 0) return null;
  const kinds = groupBy(gains, (line) => line.kind);
  const kind = pick(kinds.map((same) => [(same[0] as Comparison).kind, same.length]));
  const allocate = `mitigate.allocate({ bytes, pages: '${kind}' })`;
  const way =
    kind === 'thp'
      ? `${allocate}, or madvise(p, bytes, MADV_HUGEPAGE) on a 2 MiB aligned buffer before its first touch`
      : `${allocate}, with pages of that size in the pool (warpgauge pages status)`;
  const touch =
    dir === 'DtoH' && gains.some(isColdGain)
      ? '; or, on any pages, write the buffer once before the first copy'
      : '';
  return way + touch;
}

// The kind with the most gains; of equals the one that asks least of the machine.
function pick(counts: readonly (readonly [CellKind, number])[]): CellKind {
  const ease = ['thp', '2m', '1g'];
  const sorted = [...counts].sort(
    ([kindA, a], [kindB, b]) => b - a || ease.indexOf(kindA) - ease.indexOf(kindB),
  );
  return (sorted[0] as readonly [CellKind, number])[0];
}

function isColdGain(line: Comparison): boolean {
  return line.verdict === 'FASTER' && line.state === 'cold' && line.pin === 'none';
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}
