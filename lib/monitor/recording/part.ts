import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordBatch } from '../../arrow.ts';
import { type EnvironmentRecord, environment } from '../../host/index.ts';
import { processStart } from '../../host/process.ts';
import { packageVersion } from '../../version.ts';
import type { SamplerStats, StateRow, TableInfo, TableStats } from '../types.ts';
import { ActionWatch } from './action-watch.ts';
import type { ClockWatch } from './clock-watch.ts';
import { isNameTable } from './known-names.ts';
import {
  bootId,
  ENVIRONMENT_FILE,
  MANIFEST_SCHEMA,
  type Manifest,
  type ManifestTable,
  makeFolder,
  RESERVE_FILE,
  type RecordingEnd,
  writeJson,
  writeManifest,
} from './manifest.ts';
import { MarkInbox } from './mark-inbox.ts';
import { outputError } from './output-error.ts';
import {
  actionRow,
  actionTable,
  clockRow,
  clockTable,
  markRow,
  markTable,
  type OwnTable,
  stateRow,
  stateTable,
} from './own-tables.ts';
import { TableFile } from './table-file.ts';

/** Room for the last manifest on a disk that is full. */
const RESERVE_BYTES = 64 * 1024;
const NAMES_MS = 1000;

export interface PartOptions {
  readonly dir: string;
  readonly tables: readonly TableInfo[];
  readonly utcOffsetNs: bigint;
  readonly batchMs: number;
  readonly holdMs: number;
  readonly argv: readonly string[];
  readonly command: readonly string[] | null;
  readonly part: number | null;
  readonly run: string;
  readonly clocks: ClockWatch;
  /** Counts of the sampler when this part begins: what its manifest says is the difference. */
  readonly before: SamplerStats;
  /** Whether other processes may set marks: not in the dump of a flight recorder. */
  readonly live: boolean;
  /** Told of marks that other processes set. */
  readonly onMark?: ((name: string) => void) | undefined;
}

interface Written {
  readonly info: TableInfo;
  readonly file: TableFile;
  sha256: string | null;
}

const OWN: readonly (() => OwnTable)[] = [clockTable, stateTable, markTable];

/**
 * Longest time that rows of a table wait for more, ms. Marks and states tell about all the rest, so they never wait;
 * names go to the disk with the ids that mean them.
 */
function patienceOf(table: string, holdMs: number): number {
  if (table === 'mark' || table === 'state') return 0;
  return isNameTable(table) ? Math.min(holdMs, NAMES_MS) : holdMs;
}

const fileOf = (table: string): string => `${table}.arrows`;

function countsOf(stats: SamplerStats, table: string): TableStats | null {
  return stats.tables.find((each) => each.table === table) ?? null;
}

const text = (fact: unknown): string | null => (typeof fact === 'string' ? fact : null);

/** Who this machine is, out of its environment record. */
function hostIdentity(record: EnvironmentRecord | null): Manifest['host'] {
  const container = record?.process['container'] as { kind?: unknown } | undefined;
  return {
    hostname: text(record?.host['hostname']),
    machineIdHash: text(record?.host['machine_id_hash']),
    bootId: text(record?.host['boot_id']),
    container: text(container?.kind),
  };
}

/**
 * One folder of a recording: a table file per table, the recorder's own tables, the manifest. Calls must not overlap:
 * the recorder runs one after the other.
 */
export class RecordingPart {
  readonly dir: string;
  readonly #options: PartOptions;
  readonly #started = new Date().toISOString();
  readonly #written = new Map<string, Written>();
  readonly #own = new Map<string, OwnTable>();
  #environment: EnvironmentRecord | null = null;
  #inbox: MarkInbox | null = null;
  #actions: ActionWatch | null = null;

  private constructor(options: PartOptions) {
    this.dir = options.dir;
    this.#options = options;
  }

  /** @throws WarpgaugeError `ERR_OUTPUT`; what was made so far is removed again where it is ours. */
  static async create(options: PartOptions): Promise<RecordingPart> {
    const part = new RecordingPart(options);
    await makeFolder(options.dir, false);
    try {
      await part.#open();
    } catch (cause) {
      await part.#abandon();
      throw outputError(options.dir, cause);
    }
    return part;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { file } of this.#written.values()) bytes += file.bytes;
    return bytes;
  }

  /** Rows written of the tables of sources. */
  get rows(): number {
    let rows = 0;
    for (const [name, { file }] of this.#written) if (!this.#own.has(name)) rows += file.rows;
    return rows;
  }

  /** Appends a batch of a table of the sampler. */
  async write(table: string, batch: RecordBatch): Promise<void> {
    await this.#written.get(table)?.file.write(batch);
  }

  /** States of the time before this part: it is to be understood without the others. */
  async state(rows: readonly StateRow[]): Promise<void> {
    await this.#append('state', rows.map(stateRow));
  }

  /** Each `tickMs`: clocks, marks of other processes, what was held back long enough, the manifest. */
  async tick(stats: SamplerStats, tickMs: number): Promise<void> {
    await this.#readClocks();
    await this.#takeMarks();
    await this.#takeActions();
    for (const { file } of this.#written.values()) await file.flushOld(tickMs);
    await writeManifest(this.dir, this.#manifest(stats, 'running', null, null));
  }

  /** Ends all files and writes the last manifest. */
  async close(stats: SamplerStats, end: RecordingEnd): Promise<void> {
    await this.#readClocks();
    await this.#takeMarks();
    await this.#takeActions();
    for (const written of this.#written.values()) written.sha256 = await written.file.close();
    await this.#inbox?.close();
    await writeManifest(this.dir, this.#manifest(stats, end, new Date().toISOString(), null));
    await rm(join(this.dir, RESERVE_FILE), { force: true });
  }

  /**
   * After a failed write: every file ends with its last whole batch, and the manifest says what happened, as far
   * as the disk still takes it. Never throws.
   */
  async fail(stats: SamplerStats, error: { code: string; message: string }): Promise<void> {
    const ended = new Date().toISOString();
    await rm(join(this.dir, RESERVE_FILE), { force: true }).catch(() => undefined);
    for (const { file } of this.#written.values()) await file.abandon();
    await this.#inbox?.close().catch(() => undefined);
    await writeManifest(this.dir, this.#manifest(stats, 'failed', ended, error)).catch(
      () => undefined,
    );
  }

  async #open(): Promise<void> {
    const { dir, tables, holdMs, live } = this.#options;
    this.#environment = await environment();
    await writeFile(join(dir, RESERVE_FILE), Buffer.alloc(RESERVE_BYTES, 0x20));
    await writeJson(join(dir, ENVIRONMENT_FILE), this.#environment);
    for (const make of OWN) {
      const table = make();
      this.#own.set(table.info.name, table);
    }
    for (const info of [...tables, ...[...this.#own.values()].map((own) => own.info)]) {
      if (this.#written.has(info.name)) continue; // the sampler has marks and states too
      // A flight recorder keeps what it dumps, and every recorder the names that its next part needs.
      const ownsBatches = live && !isNameTable(info.name);
      const options = { holdMs: patienceOf(info.name, holdMs), ownsBatches };
      const file = await TableFile.create(join(dir, fileOf(info.name)), info.schema, options);
      this.#written.set(info.name, { info, file, sha256: null });
    }
    if (live) {
      this.#inbox = await MarkInbox.create(dir);
      this.#actions = new ActionWatch();
    }
    await this.#readClocks();
    await writeManifest(dir, this.#manifest(this.#options.before, 'running', null, null));
  }

  async #abandon(): Promise<void> {
    for (const { file } of this.#written.values()) {
      await file.abandon();
      await rm(file.path, { force: true }).catch(() => undefined);
    }
    await this.#inbox?.close().catch(() => undefined);
    for (const name of [ENVIRONMENT_FILE, RESERVE_FILE]) {
      await rm(join(this.dir, name), { force: true }).catch(() => undefined);
    }
  }

  async #append(
    table: string,
    rows: readonly Parameters<OwnTable['batch']>[0][number][],
  ): Promise<void> {
    const own = this.#own.get(table);
    if (rows.length > 0 && own !== undefined) await this.write(table, own.batch(rows));
  }

  async #readClocks(): Promise<void> {
    const { clocks, utcOffsetNs, live } = this.#options;
    if (!live) return;
    const { anchor, events } = clocks.anchor(utcOffsetNs);
    await this.#append('clock', [clockRow(anchor, utcOffsetNs)]);
    await this.#append('mark', events.map(markRow));
  }

  async #takeMarks(): Promise<void> {
    const marks = (await this.#inbox?.take(this.#options.utcOffsetNs)) ?? [];
    for (const { name } of marks) this.#options.onMark?.(name);
    await this.#append('mark', marks.map(markRow));
  }

  /** The table is made with its first row: most recordings see no change. */
  async #takeActions(): Promise<void> {
    const rows = this.#actions?.take() ?? [];
    if (rows.length === 0) return;
    if (!this.#own.has('action')) {
      const own = actionTable();
      const path = join(this.dir, fileOf('action'));
      const file = await TableFile.create(path, own.info.schema, {
        holdMs: 0,
        ownsBatches: false,
      });
      this.#own.set('action', own);
      this.#written.set('action', { info: own.info, file, sha256: null });
    }
    await this.#append(
      'action',
      rows.map((row) => actionRow(row, this.#options.utcOffsetNs)),
    );
  }

  #manifest(
    stats: SamplerStats,
    end: RecordingEnd,
    ended: string | null,
    error: { code: string; message: string } | null,
  ): Manifest {
    const { utcOffsetNs, batchMs, holdMs, argv, command, part, run, tables } = this.#options;
    return {
      schema: MANIFEST_SCHEMA,
      run,
      tool: { version: packageVersion(), node: process.version },
      argv,
      command,
      host: hostIdentity(this.#environment),
      recorder: { pid: process.pid, startTicks: processStart(process.pid), bootId: bootId() },
      started: this.#started,
      ended,
      end,
      error,
      part,
      clock: { utcOffsetNs: String(utcOffsetNs) },
      batchMs,
      holdMs,
      simulated: tables.some((info) => info.simulated),
      tables: [...this.#written.values()].map((written) => this.#tableOf(written, stats)),
    };
  }

  #tableOf({ info, file, sha256 }: Written, stats: SamplerStats): ManifestTable {
    const counts = countsOf(stats, info.name);
    const before = countsOf(this.#options.before, info.name);
    const ticking = counts !== null && info.kind === 'sample';
    return {
      name: info.name,
      source: info.source,
      file: fileOf(info.name),
      kind: info.kind,
      grain: info.grain,
      keys: info.keys,
      intervalMs: info.intervalMs,
      rows: file.rows,
      bytes: file.bytes,
      ticks: ticking ? counts.ticks - (before?.ticks ?? 0) : null,
      missed: ticking ? counts.missed - (before?.missed ?? 0) : null,
      dropped: counts === null ? 0 : counts.droppedRows - (before?.droppedRows ?? 0),
      simulated: info.simulated,
      sha256,
    };
  }
}

export const newRun = (): string => randomUUID();
