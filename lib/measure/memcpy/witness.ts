/** What CUPTI saw of the copies of a cell, beside the two timers that the verdicts are made of. */
import type { NativeSample, NativeWitness } from '../../addon.ts';
import { median } from './bootstrap.ts';
import type { PlannedCell } from './design.ts';
import type { Measured } from './runner.ts';
import type { Cell, CuptiWitness } from './types.ts';

/** Operations watched per cell: enough for a median, few enough to cost less than a block. */
export const WITNESSED = 3;

/** Kinds of host memory that a way of pinning may show as. `managed` would be neither. */
const EXPECTED = { none: 'pageable', register: 'pinned', hostalloc: 'pinned' } as const;

/** Said of cells that are not to be watched. */
export const SWITCHED_OFF = 'switched off';
export const NOTHING_COPIED = 'nothing is copied in this cell';
/** Reasons that are no news to who reads the result. */
export const EXPECTED_WHYS: ReadonlySet<string> = new Set([SWITCHED_OFF, NOTHING_COPIED]);

/** Bytes that one operation moves in each direction. */
function movedBytes({
  dir,
  bytes,
}: Pick<PlannedCell, 'dir' | 'bytes'>): [HtoD: number, DtoH: number] {
  if (dir === 'vectorAdd') return [2 * bytes, bytes];
  return dir === 'HtoD' ? [bytes, 0] : [0, bytes];
}

function disagreement(cell: PlannedCell, seen: readonly NativeWitness[]): string | null {
  const [up, down] = movedBytes(cell);
  const wrong = seen.find(({ bytesHtoD, bytesDtoH }) => bytesHtoD !== up || bytesDtoH !== down);
  if (wrong !== undefined) {
    return `CUPTI saw ${wrong.bytesHtoD} bytes to the device and ${wrong.bytesDtoH} back where ${up} and ${down} were copied`;
  }
  const expected = EXPECTED[cell.pin];
  const memory = [...new Set(seen.flatMap((one) => one.memory))];
  return memory.length === 1 && memory[0] === expected
    ? null
    : `CUPTI calls the host memory ${memory.join(' and ')}, not ${expected}`;
}

/** The watched operations of a cell as a part of the document. */
export function witnessOf({
  item,
  witnessed,
  whyNotWitnessed,
}: Measured<PlannedCell>): Pick<Cell, 'cupti' | 'cupti_why'> {
  const samples = witnessed.filter(
    (one): one is NativeSample & { cupti: NativeWitness } => one.cupti !== null,
  );
  if (samples.length === 0) return { cupti: null, cupti_why: whyNotWitnessed };
  const seen = samples.map(({ cupti }) => cupti);
  const events = samples.map(({ eventNs }) => eventNs).filter((ns) => ns !== null);
  const wrong = disagreement(item, seen);
  const witness: CuptiWitness = {
    n: samples.length,
    copy_ns: median(seen.map(({ copyNs }) => copyNs)),
    host_ns: median(samples.map(({ hostNs }) => hostNs)),
    event_ns: events.length === samples.length ? median(events) : null,
    records: median(seen.map(({ records }) => records)),
    bytes: median(seen.map(({ bytesHtoD, bytesDtoH }) => bytesHtoD + bytesDtoH)),
    memory: [...new Set(seen.flatMap((one) => one.memory))].sort(),
    agrees: wrong === null,
    disagreement: wrong,
  };
  return { cupti: witness, cupti_why: null };
}
