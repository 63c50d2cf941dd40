/**
 * What lies in a report page between the writer (Node) and the viewer (the browser). Times are ns since the beginning of the
 * piece that is shown; they stay below 2^53.
 */

/** A typed array in a `<script>` element: little-endian bytes, deflated, base64. */
export interface PackedArray {
  /** Number of its element: `data-0`, `data-1`, ... */
  readonly block: number;
  readonly type: 'u8' | 'u16' | 'u32' | 'f32' | 'f64';
  readonly length: number;
  /** Each value is the difference to the one before. */
  readonly delta: boolean;
}

/** A colour on light and on dark paper. */
export type Colours = readonly [light: string, dark: string];

/** A number over time. */
export interface ReportSeries {
  readonly label: string;
  /** Where it comes from: `process minor_faults`. */
  readonly origin: string;
  readonly colours: Colours;
  /**
   * Beginning of each step, which holds until the next one; null: the steps are bins of equal length, and `values` are their
   * means over time.
   */
  readonly times: PackedArray | null;
  readonly binNs: number;
  readonly values: PackedArray;
  /** Least and largest value of each bin; null where every value is there. */
  readonly min: PackedArray | null;
  readonly max: PackedArray | null;
  readonly simulated: boolean;
}

export type Quantity = 'bytes/s' | 'bytes' | 'share' | 'per second' | 'number';

export interface ReportPanel {
  readonly id: string;
  readonly title: string;
  readonly quantity: Quantity;
  readonly unit: string;
  readonly series: readonly ReportSeries[];
}

/** What slices have in common: a direction with its memory kinds, or a stream. */
export interface SliceGroup {
  readonly label: string;
  readonly colours: Colours;
  /** Below the line: from the GPU to the host. */
  readonly down: boolean;
  /** Bytes and busy ns of each bin. Copies have both, kernels the second. */
  readonly bytes: PackedArray | null;
  readonly busy: PackedArray | null;
}

/** Copies or kernels, each with its own beginning and end, in the order of time. */
export interface ReportSlices {
  readonly title: string;
  readonly groups: readonly SliceGroup[];
  /** Facts that many slices share: `async, stream 7, process 4242`. */
  readonly places: readonly string[];
  readonly names: readonly string[];
  readonly binNs: number;
  readonly bins: number;
  readonly start: PackedArray;
  readonly length: PackedArray;
  readonly group: PackedArray;
  readonly place: PackedArray;
  /** Bytes of copies, number of the name of kernels. */
  readonly value: PackedArray;
  readonly simulated: boolean;
  /** Slices that there are; those beyond the first are in the bins alone. */
  readonly total: number;
  /** Ns: until here every slice is there. Infinity is null. */
  readonly until: number | null;
}

export interface ReportMark {
  readonly at: number;
  readonly name: string;
}

export interface ReportMeta {
  readonly schema: 'warpgauge/report/1';
  /** UTC ns of time 0, as text. */
  readonly base: string;
  /** Ns from the start of the recording to time 0. */
  readonly offset: number;
  readonly length: number;
  readonly marks: readonly ReportMark[];
  readonly copies: ReportSlices | null;
  readonly kernels: ReportSlices | null;
  readonly panels: readonly ReportPanel[];
}
