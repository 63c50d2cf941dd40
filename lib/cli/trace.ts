import type { Command } from 'commander';
import { invalidArgument, WarpgaugeError } from '../errors.ts';
import { whyNotStartable } from '../monitor/recording/held-command.ts';
import { openRecording } from '../monitor/recording/open-recording.ts';
import { recordWith } from '../monitor/recording/record.ts';
import type { Recording } from '../monitor/recording/recorder.ts';
import { parseSourceSpec } from '../monitor/source-spec.ts';
import { SOURCES } from '../monitor/sources/registry.ts';
import { checkTraceable } from '../monitor/trace/environment.ts';
import { type CudaApi, type CudaKind, checkApi, checkKinds } from '../monitor/trace/kinds.ts';
import { summarizeTrace, type TraceSummary } from '../monitor/trace/summary.ts';
import { traceCommand } from '../monitor/trace/trace-command.ts';
import { checkTraceOptions } from '../monitor/trace/trace-options.ts';
import type { TracedCommand } from '../monitor/trace/traced-command.ts';
import type { SourceSpec } from '../monitor/types.ts';
import { parseBytes } from '../units.ts';
import { renderTrace } from '../view/trace.ts';
import { milliseconds, repeated } from './arguments.ts';
import { complain, OURS_FAILED, reportFailure, USAGE } from './failure.ts';
import { catchInterrupt, type Interrupt } from './interrupt.ts';
import { printJson, renderOptions } from './output.ts';
import { showProgress } from './recording-progress.ts';

interface TraceFlags {
  readonly out?: string;
  readonly kinds?: readonly CudaKind[];
  readonly api?: CudaApi;
  readonly pmSampling?: true;
  readonly source: readonly string[];
  readonly delay?: number;
  readonly duration?: number;
  readonly startMark?: string;
  readonly stopMark?: string;
  readonly buffer?: number;
  readonly traceDir?: string;
  readonly json?: true;
  readonly force?: true;
  readonly pid?: string;
}

/** `warpgauge trace --out DIR [...] -- COMMAND ...` */
export function registerTrace(program: Command): void {
  program
    .command('trace')
    .description(
      'record what a command does with CUDA: every copy, kernel and API call of all its processes',
    )
    .argument('[command...]', 'after --: an unmodified program')
    .option('--out <dir>', 'folder to write; required')
    .option(
      '--kinds <list>',
      'memcpy,memset,kernel,synchronization,overhead,api,unified-memory,external,marker (default: the first six)',
      (text) => checkKinds('--kinds', text.split(',')),
    )
    .option('--api <which>', 'API calls: memcpy (those that copy; default), all, none', (text) =>
      checkApi('--api', text),
    )
    .option('--pm-sampling', 'sample hardware counters too: PCIe and DRAM bytes, SM activity')
    .option(
      '--source <name[:key=value,...]>',
      'sampled beside it on the same clock, such as page-faults; may be repeated',
      repeated,
      [],
    )
    .option('--delay <time>', 'begin to trace after this time', milliseconds('--delay'))
    .option(
      '--duration <time>',
      'trace for this time; the command goes on',
      milliseconds('--duration'),
    )
    .option('--start-mark <name>', 'begin to trace at this mark (warpgauge mark DIR NAME)')
    .option('--stop-mark <name>', 'stop tracing at this mark')
    .option('--buffer <size>', 'memory that records wait in (default 64MiB)', (text) =>
      parseBytes('--buffer', text),
    )
    .option(
      '--trace-dir <dir>',
      'where processes of other users may leave their records (default: the folder for temporary files)',
    )
    .option(
      '--json',
      'print the summary as one JSON document (warpgauge/trace-summary/1); what the command prints goes to standard error',
    )
    .option('--force', 'replace an earlier recording in the folder')
    .option('--pid <pid>', 'not offered: see below')
    .addHelpText(
      'after',
      `
A running process cannot be traced (--pid): CUDA loads the tracing library when a program starts. Start it under warpgauge
trace with --start-mark, and set the mark when it is to begin.

Examples:
  warpgauge trace --out run -- python3 serve.py
  warpgauge trace --out run --source page-faults --source gpu -- ./infer --batch 32
  warpgauge trace --out run --start-mark go -- python3 serve.py     and later: warpgauge mark run go

Exit status: that of the command; 125 warpgauge failed (no driver, another injection, a full disk), 126 and 127 it could
not be started, 128+n it ended by signal n, 2 bad arguments.`,
    )
    .action(async (command: string[], flags: TraceFlags) => {
      const code = await run(command, flags);
      // Not 0 over what a failed write to standard output has set.
      if (code !== 0) process.exitCode = code;
    });
}

async function run(command: readonly string[], flags: TraceFlags): Promise<number> {
  const refuse = (error: unknown): number => {
    const code = reportFailure(error);
    return code === USAGE ? USAGE : OURS_FAILED;
  };
  let sources: SourceSpec[];
  try {
    sources = checkFlags(command, flags);
    checkTraceable(process.env);
  } catch (error) {
    return refuse(error);
  }
  const why = whyNotStartable(command[0] as string);
  if (why !== null) {
    complain(why.message);
    return why.code;
  }
  const interrupt = catchInterrupt();
  try {
    return await trace(command, flags, sources, interrupt);
  } catch (error) {
    return refuse(error);
  } finally {
    interrupt.close();
  }
}

/** What is wrong or does not go together, told before anything is made; the sources beside the trace. */
function checkFlags(command: readonly string[], flags: TraceFlags): SourceSpec[] {
  const { out, pid, delay, duration, startMark, stopMark, pmSampling } = flags;
  if (pid !== undefined) {
    throw new WarpgaugeError(
      'ERR_INVALID_ARGUMENT',
      `Expected a command to start but received --pid ${pid}: a running process cannot be traced, for CUDA loads the tracing library when a program starts`,
      {
        fix: 'warpgauge trace --out DIR --start-mark go -- COMMAND, and later: warpgauge mark DIR go',
      },
    );
  }
  if (command.length === 0) throw invalidArgument('trace', 'a command after --', 'none');
  if (out === undefined) throw invalidArgument('--out', 'a folder', out);
  checkTraceOptions({
    command,
    ...(delay === undefined ? {} : { delayMs: delay }),
    ...(duration === undefined ? {} : { durationMs: duration }),
    ...(startMark === undefined ? {} : { startMark }),
    ...(stopMark === undefined ? {} : { stopMark }),
  });
  const named = flags.source.map((text) => parseSourceSpec(text));
  if (named.some(({ source }) => source === 'cuda')) {
    throw invalidArgument('--source', 'sources besides cuda, which is there anyway', 'cuda');
  }
  if (!pmSampling) return named;
  if (!SOURCES.some(({ name }) => name === 'pm-sampling')) {
    throw new WarpgaugeError('ERR_UNAVAILABLE', 'This build has no source pm-sampling');
  }
  return [...named, parseSourceSpec('pm-sampling')];
}

async function trace(
  command: readonly string[],
  flags: TraceFlags,
  sources: readonly SourceSpec[],
  { signal }: Interrupt,
): Promise<number> {
  const out = flags.out as string;
  const { kinds, api, buffer, delay, duration, startMark, stopMark, traceDir, json } = flags;
  let traced: Awaited<ReturnType<typeof traceCommand>> | null = null;
  const recording = await recordWith(
    async ({ sources: beside, ...sampling }) => {
      traced = await traceCommand({
        ...sampling,
        command,
        sources: beside,
        ...(json ? { output: 'stderr' as const } : {}),
        ...(kinds === undefined ? {} : { kinds }),
        ...(api === undefined ? {} : { api }),
        ...(buffer === undefined ? {} : { bufferBytes: buffer }),
        ...(delay === undefined ? {} : { delayMs: delay }),
        ...(duration === undefined ? {} : { durationMs: duration }),
        ...(startMark === undefined ? {} : { startMark }),
        ...(stopMark === undefined ? {} : { stopMark }),
        ...(traceDir === undefined ? {} : { traceDir }),
      });
      return traced;
    },
    { out, sources, command, argv: process.argv.slice(2), force: flags.force ?? false },
    (name) => traced?.seeMark(name),
  );
  const running = traced as unknown as TracedCommand;
  // The command is told the signal and ends by itself: what it does until then is recorded too.
  const onAbort = (): void => running.kill((signal.reason as NodeJS.Signals) ?? 'SIGTERM');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const end = running.ended.then(() => recording.close(signal.aborted ? 'interrupted' : 'command'));
  end.catch(() => undefined); // told by done
  const status = showProgress(recording, out);
  try {
    await recording.done;
  } catch (error) {
    // Observing changes nothing: a command that runs is not ended because its recording failed.
    reportFailure(error);
    await running.ended;
    return OURS_FAILED;
  } finally {
    status.close();
    await recording.close().catch(() => undefined); // told by done
  }
  await showEnd(recording, json === true);
  return (await running.ended).code;
}

/** The summary; on standard error, because standard output belongs to the command, unless JSON was asked for. */
async function showEnd({ dir }: Recording, json: boolean): Promise<void> {
  const summary = (await summarizeTrace(await openRecording(dir))) as TraceSummary;
  if (json) printJson(summary);
  else process.stderr.write(`${renderTrace(summary, renderOptions(process.stderr))}\n`);
}
