import { once } from 'node:events';
import type { Command } from 'commander';
import { invalidArgument } from '../errors.ts';
import { aim, defaultSources, type Target } from '../monitor/default-sources.ts';
import { HeldCommand, whyNotStartable } from '../monitor/recording/held-command.ts';
import { openRecording } from '../monitor/recording/open-recording.ts';
import { record } from '../monitor/recording/record.ts';
import { type ByteSink, streamArrow, streamRows } from '../monitor/recording/row-stream.ts';
import { summarize } from '../monitor/recording/summary.ts';
import { sample } from '../monitor/sampler.ts';
import { nameInstances, parseSourceSpec } from '../monitor/source-spec.ts';
import type { SourceSpec, StateRow } from '../monitor/types.ts';
import { parseBytes } from '../units.ts';
import { renderRecording, stateLine } from '../view/recording.ts';
import { milliseconds, repeated, wholeNumber } from './arguments.ts';
import { complain, INTERRUPTED, OURS_FAILED, reportFailure } from './failure.ts';
import { catchInterrupt, type Interrupt } from './interrupt.ts';
import { renderOptions } from './output.ts';
import { showProgress } from './recording-progress.ts';

interface RecordFlags {
  readonly out?: string;
  readonly source: readonly string[];
  readonly pid?: number;
  readonly cgroup?: string;
  readonly duration?: number;
  readonly jsonl?: true;
  readonly force?: true;
  readonly maxBytes?: number;
  readonly rotate?: number;
  readonly keep?: number;
  readonly last?: number;
}

/** `warpgauge record [...] [-- COMMAND ...]` */
export function registerRecord(program: Command): void {
  program
    .command('record')
    .description('sample counters of the machine, a process, a cgroup or a command into a folder')
    .argument(
      '[command...]',
      'after --: sampled with all that it starts, from before its first instruction',
    )
    .option(
      '--out <dir>',
      'folder to write; - streams one table as Arrow (default: warpgauge-TIME)',
    )
    .option(
      '--source <name[:key=value,...]>',
      'such as vmstat:interval=10ms; may be repeated (see: warpgauge sources)',
      repeated,
      [],
    )
    .option('--pid <pid>', 'watch this process', wholeNumber('--pid'))
    .option('--cgroup <path>', 'watch this cgroup')
    .option('--duration <time>', 'end after this time, such as 10s', milliseconds('--duration'))
    .option('--jsonl', 'print rows as JSON lines instead of writing a folder')
    .option('--force', 'replace an earlier recording in the folder')
    .option(
      '--max-bytes <size>',
      'end at this size; with --rotate: remove the oldest parts',
      (text) => parseBytes('--max-bytes', text),
    )
    .option(
      '--rotate <time>',
      'begin a new folder below --out after this time',
      milliseconds('--rotate'),
    )
    .option('--keep <n>', 'keep the last n of those folders', wholeNumber('--keep'))
    .option(
      '--last <time>',
      'flight recorder: keep this much in memory, write it on SIGUSR2 and at the end',
      milliseconds('--last'),
    )
    .addHelpText(
      'after',
      `
Without --source: vmstat, meminfo, hugepages, pressure, cpu, disk, net, gpu and perf (page faults, context switches),
as far as the machine has them.

Examples:
  warpgauge record --duration 10s                               the machine, ten seconds
  warpgauge record --source perf:events=page-faults,interval=100us --source vmstat -- ./infer --batch 32
  warpgauge record --source vmstat --jsonl | jq .pgfault        rows as they come

Exit status: 0 recorded, 1 failed (what was written is kept), 2 bad arguments, 130 interrupted. With a COMMAND: its
own; 125 warpgauge failed, 126 and 127 it could not be started, 128+n it ended by signal n.`,
    )
    .action(async (command: string[], flags: RecordFlags) => {
      const code = command.length > 0 ? await recordCommand(command, flags) : await run(flags);
      // Not 0 over what a failed write to standard output has set.
      if (code !== 0) process.exitCode = code;
    });
}

/** Everything that goes wrong on our side is 125: its other codes belong to the command. */
async function recordCommand(command: readonly string[], flags: RecordFlags): Promise<number> {
  const why = whyNotStartable(command[0] as string);
  if (why !== null) {
    complain(why.message);
    return why.code;
  }
  const interrupt = catchInterrupt();
  let held: HeldCommand | null = null;
  try {
    checkFlags(flags, command);
    const child = await HeldCommand.start(command);
    held = child;
    const onAbort = (): void =>
      child.kill((interrupt.signal.reason as NodeJS.Signals) ?? 'SIGTERM');
    interrupt.signal.addEventListener('abort', onAbort, { once: true });
    const target = { command: child.pid };
    if (toStdout(flags)) {
      await stream(flags, target, interrupt, child);
    } else {
      await recordFolder(flags, target, interrupt, { child, command });
    }
    return (await child.ended).code;
  } catch (error) {
    reportFailure(error);
    // Observing changes nothing: a command that runs is not ended because its recording failed.
    held?.abandon();
    await held?.ended;
    return OURS_FAILED;
  } finally {
    interrupt.close();
  }
}

async function run(flags: RecordFlags): Promise<number> {
  checkFlags(flags, null);
  const interrupt = catchInterrupt();
  const target: Target = {
    ...(flags.pid === undefined ? {} : { pid: flags.pid }),
    ...(flags.cgroup === undefined ? {} : { cgroup: flags.cgroup }),
  };
  try {
    if (toStdout(flags)) await stream(flags, target, interrupt, null);
    else await recordFolder(flags, target, interrupt, null);
    return interrupt.signal.aborted ? INTERRUPTED : 0;
  } finally {
    interrupt.close();
  }
}

const toStdout = ({ out, jsonl }: RecordFlags): boolean => jsonl === true || out === '-';

/** What does not go together, told before anything is started. */
function checkFlags(flags: RecordFlags, command: readonly string[] | null): void {
  const { pid, cgroup, out, jsonl, rotate, keep, last, maxBytes, force } = flags;
  const targets = [
    pid === undefined ? null : '--pid',
    cgroup === undefined ? null : '--cgroup',
    command && 'COMMAND',
  ].filter((name) => name !== null);
  if (targets.length > 1) {
    throw invalidArgument('record', 'one of --pid, --cgroup and COMMAND', targets.join(' and '));
  }
  if (jsonl && out !== undefined && out !== '-') {
    throw invalidArgument('--jsonl', 'no --out DIR beside it', out);
  }
  if (keep !== undefined && rotate === undefined) {
    throw invalidArgument('--keep', '--rotate beside it', String(keep));
  }
  if (last !== undefined && rotate !== undefined) {
    throw invalidArgument('--last', 'no --rotate beside it', 'both');
  }
  const foldersOnly = { rotate, last, 'max-bytes': maxBytes, force };
  const [name] = Object.entries(foldersOnly).find(([, value]) => value !== undefined) ?? [];
  if (name !== undefined && toStdout(flags)) {
    throw invalidArgument(`--${name}`, 'a folder (--out DIR)', jsonl ? '--jsonl' : '--out -');
  }
}

function sourcesOf({ source }: RecordFlags, target: Target): SourceSpec[] {
  const named = source.map((text) => parseSourceSpec(text));
  if (named.some((spec) => spec.source === 'cuda')) {
    // It would trace the recorder itself.
    throw invalidArgument('--source', 'no cuda: of a command, warpgauge trace records it', 'cuda');
  }
  return nameInstances(aim(named.length > 0 ? named : defaultSources(target), target));
}

/** Writes to standard output with its back-pressure; false when its reader went away or its disk is full. */
function outputSink(): ByteSink {
  const { stdout } = process;
  // A file stays writable after an error: without this every batch would fail anew.
  let failed = false;
  stdout.once('error', () => {
    failed = true;
  });
  const isOpen = (): boolean => !failed && stdout.writable && !stdout.destroyed;
  return async (bytes) => {
    if (!isOpen()) return false;
    if (stdout.write(bytes)) return true;
    await Promise.race([once(stdout, 'drain'), once(stdout, 'close')]).catch(() => undefined);
    return isOpen();
  };
}

async function stream(
  flags: RecordFlags,
  target: Target,
  { signal }: Interrupt,
  child: HeldCommand | null,
): Promise<void> {
  const sampler = await sample({
    sources: sourcesOf(flags, target),
    keepAlive: true,
    signal,
    ...(flags.duration === undefined ? {} : { durationMs: flags.duration }),
  });
  tellStates(sampler.states);
  child?.release();
  child?.ended.then(() => sampler.close()).catch(reportFailure);
  await (flags.jsonl ? streamRows : streamArrow)(sampler, outputSink());
}

const defaultFolder = (): string =>
  `warpgauge-${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`;

async function recordFolder(
  flags: RecordFlags,
  target: Target,
  { signal }: Interrupt,
  watched: { readonly child: HeldCommand; readonly command: readonly string[] } | null,
): Promise<void> {
  const out = flags.out ?? defaultFolder();
  const { duration, force, maxBytes, rotate, keep, last } = flags;
  const recording = await record({
    out,
    sources: sourcesOf(flags, target),
    argv: process.argv.slice(2),
    force: force ?? false,
    // A command is told the signal and ends by itself: what it does until then is recorded too.
    ...(watched === null ? { signal } : { command: watched.command }),
    ...(duration === undefined ? {} : { durationMs: duration }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(rotate === undefined ? {} : { rotateMs: rotate }),
    ...(keep === undefined ? {} : { keep }),
    ...(last === undefined ? {} : { lastMs: last }),
  });
  const dump = (): void => {
    recording.dump().then(
      (dir) => process.stderr.write(`wrote ${dir}\n`),
      (error) => reportFailure(error),
    );
  };
  if (last !== undefined) process.on('SIGUSR2', dump);
  tellStates(recording.states);
  const status = showProgress(recording, out);
  try {
    if (watched !== null) {
      watched.child.release();
      const ended = watched.child.ended.then(() =>
        recording.close(signal.aborted ? 'interrupted' : 'command'),
      );
      ended.catch(() => undefined); // told by done
    }
    const { parts } = await recording.done;
    status.close();
    await showEnd(parts, watched === null);
  } finally {
    process.off('SIGUSR2', dump);
    status.close();
    await recording.close().catch(() => undefined); // told by done
  }
}

/** What could not be had, or not at the asked rate. */
function tellStates(states: readonly StateRow[]): void {
  // A GPU may tell of many fields; all states are in the recording and at its end.
  const told = states.filter(({ state, field }) => state !== 'ok' && field === '');
  for (const state of told) {
    process.stderr.write(`${stateLine({ ...state, table: state.table || state.source })}\n`);
  }
}

/** The summary; on standard error where standard output belongs to the command. */
async function showEnd(parts: readonly string[], ours: boolean): Promise<void> {
  const stream = ours ? process.stdout : process.stderr;
  const last = parts.at(-1);
  if (last === undefined) return;
  const summary = await summarize(await openRecording(last));
  stream.write(`${renderRecording(summary, renderOptions(stream))}\n`);
}
