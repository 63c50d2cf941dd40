/**
 * Why one page kind is faster or slower than another. The counters of the two cells propose a cause; what that
 * cause costs was measured in the same blocks on mappings of its own (touching, populating or pinning them);
 * and a cause whose cost is not surely half of the gap or more is not the answer: `unexplained`, with the
 * candidate named.
 */
import { formatBytes } from '../../units.ts';
import { bootstrapQuotient, MIN_BLOCKS_FOR_INTERVAL, median } from './bootstrap.ts';
import { timesByBlock } from './comparisons.ts';
import { type Counters, countersOf, faultsInPinning, isPinned, STRAY_FAULTS } from './counters.ts';
import { sibling } from './family.ts';
import { createRandom } from './random.ts';
import {
  type BackendName,
  type Calibration,
  type Cause,
  type Cell,
  type CellKind,
  type Comparison,
  PAGE_BYTES,
  type Sample,
} from './types.ts';

/** The lower end of a share's interval must reach this, or the cause is `unexplained`. */
const MIN_SHARE = 0.5;
/** Share of the raw link rate from which a copy is bound by the link (payload ceiling is about 0.91). */
const LINK_BOUND_SHARE = 0.75;

export interface CauseContext {
  readonly cells: readonly Cell[];
  readonly calibrations: readonly Calibration[];
  readonly backend: BackendName;
  /** Raw one-direction rate of the link, GB/s; null where there is none or it is not known. */
  readonly ceilingGbps: number | null;
  readonly seed: number | string;
  readonly resamples: number;
}

type CauseFields = Pick<
  Comparison,
  'cause' | 'share' | 'share_ci95' | 'share_method' | 'explanation'
>;

const NO_CAUSE: CauseFields = {
  cause: null,
  share: null,
  share_ci95: null,
  share_method: null,
  explanation: null,
};

/** A cause that the counters propose, and the measured cost that has to confirm it. */
interface Candidate {
  readonly cause: Exclude<Cause, 'unexplained' | 'link-bound'>;
  /** What the counters show: the first half of the sentence. */
  readonly seen: string;
  /** The second half, around the share: `touching the pages explains` ... `of the gap`. */
  readonly explains: string;
  readonly share: Share | null;
  readonly method: string;
  /** Why there is no share. */
  readonly missing: string | null;
}

interface Share {
  readonly value: number;
  readonly ci95: readonly [number, number] | null;
}

/**
 * The comparison with its cause, if it has a verdict that needs one: FASTER and SLOWER always get one
 * (`unexplained` included), SAME only where the link of a GPU is the reason.
 */
export function explain(comparison: Comparison, context: CauseContext): Comparison {
  const a = context.cells.find((cell) => cell.id === comparison.a);
  const b = context.cells.find((cell) => cell.id === comparison.b);
  if (!a || !b) return comparison;
  if (comparison.verdict === 'SAME') return { ...comparison, ...linkBound(a, b, context) };
  if (comparison.verdict !== 'FASTER' && comparison.verdict !== 'SLOWER') return comparison;
  return { ...comparison, ...decide(candidates(a, b, comparison, context), a, b) };
}

function decide(proposed: readonly Candidate[], a: Cell, b: Cell): CauseFields {
  const confirmed = proposed.find(({ share }) => (share?.ci95?.[0] ?? 0) >= MIN_SHARE);
  const best = confirmed ?? strongest(proposed);
  if (!best) {
    const explanation = `no counter tells the two apart (${differences(a, b)})`;
    return { ...NO_CAUSE, cause: 'unexplained', explanation };
  }
  const { share } = best;
  const fields = {
    share: share?.value ?? null,
    share_ci95: share?.ci95 ?? null,
    share_method: share ? best.method : null,
  };
  if (confirmed) {
    const explanation = `${best.seen}; ${best.explains} ${shareText(share)}`;
    return { ...fields, cause: best.cause, explanation };
  }
  const why = share
    ? `${best.explains} ${shareText(share)}, not surely half of it or more`
    : `its share is not known: ${best.missing}`;
  const explanation = `${best.seen}; ${best.cause} is the candidate, but ${why}`;
  return { ...fields, cause: 'unexplained', explanation };
}

function strongest(proposed: readonly Candidate[]): Candidate | undefined {
  return [...proposed].sort(
    (x, y) =>
      (y.share?.value ?? Number.NEGATIVE_INFINITY) - (x.share?.value ?? Number.NEGATIVE_INFINITY),
  )[0];
}

function candidates(a: Cell, b: Cell, line: Comparison, context: CauseContext): Candidate[] {
  const before = countersOf(a);
  const after = countersOf(b);
  const difference = Math.abs(before.faults - after.faults);
  if (difference > Math.max(STRAY_FAULTS, 0.02 * Math.max(before.faults, after.faults))) {
    return faultCandidates(a, b, before, after, line, context);
  }
  if (before.faults > STRAY_FAULTS || after.faults > STRAY_FAULTS) return [];
  if (isPinned(before, a.bytes) && isPinned(after, b.bytes)) {
    return [pinningCandidate(a, b, before, after, context)];
  }
  return layoutCandidates(a, b, before, after, line, context);
}

function faultCandidates(
  a: Cell,
  b: Cell,
  before: Counters,
  after: Counters,
  line: Comparison,
  context: CauseContext,
): Candidate[] {
  const pinned =
    faultsInPinning(before, a.bytes) === true && faultsInPinning(after, b.bytes) === true;
  const op = pinned ? 'populate' : 'touch';
  const cost = calibratedShare(op, a, b, before, after, context);
  const counts = `${count(before.faults)} -> ${count(after.faults)} faults`;
  const explains = pinned
    ? 'populating such pages explains'
    : 'the first touch of such pages explains';
  const fewer = after.faults < before.faults;
  if (line.verdict === 'SLOWER' && fewer) {
    const zeroed = after.faults * (PAGE_BYTES[b.kind] ?? 0);
    // Fewer faults, no more to zero, and yet slower: no fault explains that.
    if (zeroed <= b.bytes) return [];
    const seen = `${counts}, but ${formatBytes(zeroed)} of pages are zeroed for ${formatBytes(b.bytes)} of data`;
    return [{ cause: 'page-zeroing', seen, explains, ...cost }];
  }
  if (line.verdict === 'FASTER' && !fewer) return [];
  const where = pinned ? ', all inside pinning, where perf sees none' : unseenByPerf(before);
  return [
    { cause: pinned ? 'faults-in-pinning' : 'faults', seen: counts + where, explains, ...cost },
  ];
}

function unseenByPerf({ faultsPerf, pins }: Counters): string {
  return faultsPerf === null && pins === null
    ? ' (perf cannot say whether in user code or in pinning)'
    : '';
}

function pinningCandidate(
  a: Cell,
  b: Cell,
  before: Counters,
  after: Counters,
  context: CauseContext,
): Candidate {
  return {
    cause: 'pinning',
    seen: `no faults, about ${count(before.pins ?? 0)} and ${count(after.pins ?? 0)} pages of 4 KB pinned during the operation`,
    explains: 'pinning such pages explains',
    ...calibratedShare('pin', a, b, before, after, context),
  };
}

function layoutCandidates(
  a: Cell,
  b: Cell,
  before: Counters,
  after: Counters,
  line: Comparison,
  context: CauseContext,
): Candidate[] {
  const split = sibling(context.cells, a, '4k-split');
  const quiet = before.pins === null ? 'no faults (pins cannot be read)' : 'no faults, no pins';
  const shareOfGap = (share: (ta: number, tb: number, tsplit: number) => number) =>
    split && gapShare([a.samples, b.samples, split.samples], share, context, line);
  const missing = split
    ? 'too few blocks have all three cells'
    : `no 4k-split cell of ${formatBytes(a.bytes)} was measured beside it`;
  const layout: Candidate = {
    cause: 'physical-layout',
    seen: quiet,
    explains: '4 KB pages that lie together (4k-split) close',
    share: shareOfGap((ta, _tb, tsplit) => ta - tsplit) ?? null,
    method: '4k-split: (t(4k) - t(4k-split)) / gap',
    missing,
  };
  const walks = dtlbStory(before, after);
  // A larger page never needs more walks: without counts that say otherwise, slower is not translation.
  const moreWalks =
    (after.dtlbMisses ?? 0) > (before.dtlbMisses ?? 0) && before.dtlbMisses !== null;
  if (line.verdict === 'SLOWER' && !moreWalks) return [layout];
  return [
    layout,
    {
      cause: 'translation',
      seen: `${quiet}, ${walks}`,
      explains: 'what remains against contiguous 4 KB pages (4k-split) is',
      share: shareOfGap((_ta, tb, tsplit) => tsplit - tb) ?? null,
      method: '4k-split: (t(4k-split) - t(kind)) / gap',
      missing,
    },
  ];
}

function dtlbStory(before: Counters, after: Counters): string {
  if (before.dtlbMisses !== null && after.dtlbMisses !== null) {
    return `page walks: ${count(before.dtlbMisses)} -> ${count(after.dtlbMisses)} dTLB misses`;
  }
  return `dTLB misses not counted (${before.dtlbWhy ?? after.dtlbWhy ?? 'no reason given'})`;
}

/** Share of the gap that the calibrated cost of the two kinds makes up. */
function calibratedShare(
  op: Calibration['op'],
  a: Cell,
  b: Cell,
  before: Counters,
  after: Counters,
  context: CauseContext,
): Pick<Candidate, 'share' | 'method' | 'missing'> {
  const costA = calibrationFor(op, a.kind, a.bytes, before, context.calibrations);
  const costB = calibrationFor(op, b.kind, b.bytes, after, context.calibrations);
  if (!costA || !costB) {
    const kind = costA ? b.kind : a.kind;
    return { share: null, method: op, missing: `no ${op} calibration of ${kind} in this run` };
  }
  const share = gapShare(
    [a.samples, b.samples, costA.samples, costB.samples],
    (_ta, _tb, x, y) => costA.scale * x - costB.scale * (y as number),
    context,
    { a: a.id, b: b.id },
  );
  const scaled = [costA, costB].filter(({ scale }) => scale !== 1);
  const from = scaled.map(({ bytes, kind }) => `${kind} from ${formatBytes(bytes)}`).join(', ');
  return {
    share,
    method: `${op} of other mappings in the same blocks${from && `, scaled: ${from}`}`,
    missing: share ? null : `too few blocks have both cells and their ${op} calibrations`,
  };
}

interface CalibratedCost {
  readonly samples: readonly Sample[];
  readonly kind: CellKind;
  readonly bytes: number;
  /** Faults (for pins: bytes) of the cell over those of the calibration. */
  readonly scale: number;
}

// The calibration of the same size; else the nearest, scaled by the number of faults it stands for.
function calibrationFor(
  op: Calibration['op'],
  kind: CellKind,
  bytes: number,
  counters: Counters,
  calibrations: readonly Calibration[],
): CalibratedCost | null {
  const distance = (calibration: Calibration) => Math.abs(Math.log(calibration.bytes / bytes));
  const nearest = calibrations
    .filter(
      (c) => c.op === op && c.kind === kind && c.status === 'ok' && c.samples.some((s) => s.valid),
    )
    .sort((x, y) => distance(x) - distance(y))[0];
  if (!nearest) return null;
  const measured = countersOf(nearest).faults;
  let scale = op === 'pin' ? bytes / nearest.bytes : counters.faults / measured;
  if (!Number.isFinite(scale)) return null;
  if (Math.abs(scale - 1) <= 0.02) scale = 1;
  return { samples: nearest.samples, kind, bytes: nearest.bytes, scale };
}

// Series 0 and 1 are the two cells; the gap is their difference. Runs are averaged before the division, so
// that a run whose gap is small does not decide.
function gapShare(
  series: readonly (readonly Sample[])[],
  part: (ta: number, tb: number, x: number, y: number | undefined) => number,
  { seed, resamples }: CauseContext,
  { a, b }: Pick<Comparison, 'a' | 'b'>,
): Share | null {
  const strata = timesByBlock(series);
  const width = series.length;
  if (strata.length === 0) return null;
  const enough = strata.every((run) => (run[0]?.length ?? 0) >= MIN_BLOCKS_FOR_INTERVAL);
  const { estimate, ci } = bootstrapQuotient(
    strata,
    (medians) => {
      let explained = 0;
      let gap = 0;
      for (let i = 0; i < medians.length; i += width) {
        const [ta, tb, x] = [
          medians[i] as number,
          medians[i + 1] as number,
          medians[i + 2] as number,
        ];
        explained += part(ta, tb, x, medians[i + 3]);
        gap += ta - tb;
      }
      return [explained, gap];
    },
    { resamples, random: createRandom(`${seed}/share/${a} -> ${b}`), alpha: 0.05 },
  );
  if (!Number.isFinite(estimate)) return null;
  return { value: estimate, ci95: enough ? ci : null };
}

function linkBound(a: Cell, b: Cell, { backend, ceilingGbps }: CauseContext): CauseFields {
  if (backend !== 'cuda' || ceilingGbps === null || a.metric !== 'copy') return NO_CAUSE;
  const shares = [a, b].map((cell) => {
    const times = cell.samples.filter((sample) => sample.valid).map((sample) => sample.t_host_ns);
    return cell.bytes / median(times) / ceilingGbps;
  });
  if (!shares.every((share) => share >= LINK_BOUND_SHARE)) return NO_CAUSE;
  const [shareA, shareB] = shares.map((share) => `${Math.round(100 * share)} %`);
  const explanation = `both run at the link (${shareA} and ${shareB} of ${ceilingGbps} GB/s): pages have nothing left to change`;
  return { ...NO_CAUSE, cause: 'link-bound', explanation };
}

/** `93 % [88, 98] of the gap`; a share above 1 is noise around all of it, and its numbers are shown too. */
function shareText(share: Share | null): string {
  if (!share) return 'an unknown part of the gap';
  const percent = (value: number) => String(Math.round(100 * value));
  const ci = share.ci95 ? ` [${percent(share.ci95[0])}, ${percent(share.ci95[1])}]` : '';
  if (share.value >= 1) return `all of the gap (${percent(share.value)} %${ci})`;
  return `${percent(share.value)} %${ci} of the gap`;
}

function differences(a: Cell, b: Cell): string {
  const [before, after] = [countersOf(a), countersOf(b)];
  const pair = (x: number | null, y: number | null) =>
    x === null || y === null ? 'not readable' : `${count(x)} -> ${count(y)}`;
  return [
    `faults ${pair(before.faults, after.faults)}`,
    `pins ${pair(before.pins, after.pins)}`,
    `dTLB misses ${pair(before.dtlbMisses, after.dtlbMisses)}`,
  ].join(', ');
}

function count(value: number): string {
  return String(Math.round(value));
}
